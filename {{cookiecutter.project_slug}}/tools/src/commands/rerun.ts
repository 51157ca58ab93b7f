// `npm run rerun -- <bot>`: runs a deployed bot again, after a failure or for existing resources.
import { Command } from 'commander';
import { loadConfig } from '../config/config.ts';
import { commandFor, readEnvironment } from '../config/environment.ts';
import { confirm } from '../deploy/confirm.ts';
import { findOwnBot } from '../deploy/find-own-bot.ts';
import { chooseInputs, runAgain } from '../deploy/rerun.ts';
import type { RerunOptions } from '../deploy/rerun.ts';
import { connect } from '../deploy/server.ts';
import { green, printable, red } from '../terminal/output.ts';
import { UserError } from '../terminal/user-error.ts';

/** How many resources the plan names. */
const SHOWN = 20;

interface Options extends RerunOptions {
  env?: string;
  yes?: boolean;
  dryRun?: boolean;
}

export const command = new Command('rerun')
  .description('Run a deployed bot again: for failed events, or for the resources of a search')
  .argument('<bot>', 'the name of the bot')
  .option('--failed', 'resources whose last run failed, of the last day or of --since')
  .option('--since <time>', 'resources it ran for after 10m, 2h, 3d ago, or after a date')
  .option('--run <id>', 'the resource of one run; ids are shown by logs --json')
  .option('--query <search>', 'the resources that a search finds, such as "Patient?active=true"')
  .option('--dry-run', 'only show what would be run')
  .option('--env <name>', 'the environment whose .env.<name> is read (default: local)')
  .option('--yes', 'do not ask before running')
  .addHelpText(
    'after',
    '\nExample: npm run rerun -- hapi-sync-bot --failed --env production\n' +
      'Example: npm run rerun -- hapi-sync-bot --query "Patient?_lastUpdated=gt2026-11-01"',
  )
  .action(rerun);

async function rerun(name: string, options: Options): Promise<void> {
  const { identifierSystem: system } = loadConfig();
  const server = await connect(readEnvironment(options.env));
  const bot = await findOwnBot(server, system, name);
  const inputs = await chooseInputs(server, bot, options);
  if (inputs.length === 0) {
    console.log('Nothing to run again.');
    return;
  }
  const what =
    inputs.length === 1 ? '1 resource, as it is' : `${inputs.length} resources, as they are`;
  console.log(`${name} would run for ${what} now:`);
  inputs.slice(0, SHOWN).forEach((input) => console.log(`  ${input}`));
  if (inputs.length > SHOWN) {
    console.log(`  and ${inputs.length - SHOWN} more`);
  }
  if (options.dryRun) {
    return;
  }
  await confirm(options, server, `run ${name} ${inputs.length} times`);
  const results = await runAgain(server, bot, inputs, ({ input, error }) => {
    const sign = error === undefined ? green('✓') : red('x');
    console.log(`${sign} ${input}${error === undefined ? '' : `: ${printable(error)}`}`);
  });
  const failed = results.filter(({ error }) => error !== undefined);
  if (failed.length > 0) {
    const logs = commandFor(server.environment.name, 'logs', name, '--failed');
    throw new UserError(`${failed.length} of ${results.length} failed again. See: ${logs}`);
  }
  console.log(`Done: ${results.length}.`);
}
