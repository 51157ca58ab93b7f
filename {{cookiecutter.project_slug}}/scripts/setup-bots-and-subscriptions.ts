// `npm run setup:bots`: builds the bots, deploys them and their subscriptions to Medplum, and says
// what it did and why. Safe to run again at any time: it writes only what differs. The parts are in
// tools/src/deploy/.
import '../tools/bin/require-environment.cjs'; // what is imported from here on needs Node 24
const { Command } = await import('commander');
const { runCommandLine } = await import('../tools/src/command-line.ts');
const { UserError } = await import('../tools/src/terminal/user-error.ts');

interface Options {
  build?: boolean;
  env?: string;
  only?: string;
  prune?: boolean;
  force?: boolean;
  skipFailed?: boolean;
  yes?: boolean;
  concurrency: string;
}

const command = new Command('npm run setup:bots --')
  .description('Deploy the bots of dist/ and their subscriptions; writes only what differs')
  .option('--build', 'build them first, as npm run setup:bots does')
  .option('--env <name>', 'the environment whose .env.<name> is read (default: local)')
  .option(
    '--only <pattern>',
    'only bots, and files of resources/, whose name matches; * stands for any characters',
  )
  .option('--prune', 'remove from the server what medplum.config.json no longer has')
  .option('--force', 'deploy the code again, also if it is unchanged')
  .option('--skip-failed', 'deploy the other bots if one lacks a secret or a usable bundle')
  .option('--yes', 'do not ask before writing')
  .option('--concurrency <number>', 'bots that are deployed at the same time', '8')
  .addHelpText('after', '\nExample: npm run setup:bots -- --env staging --only "hapi-*"')
  .action(setupBots);

async function setupBots({ build, env, concurrency, ...options }: Options): Promise<void> {
  if (!/^[1-9]\d?$/.test(concurrency)) {
    throw new UserError(`--concurrency ${concurrency}: give a number from 1 to 99.`);
  }
  if (build) {
    const { buildForDeployment } = await import('../tools/src/deploy/build.ts');
    buildForDeployment(options, env);
  }
  const { deploy } = await import('../tools/src/deploy/deploy.ts');
  const { changed, failed } = await deploy({
    ...options,
    ...(env !== undefined && { environment: env }),
    concurrency: Number(concurrency),
  });
  if (failed.length > 0) {
    throw new UserError(failed.map(({ name, message }) => `${name}: ${message}.`).join('\n'));
  }
  const done = changed.length > 20 ? `${changed.length} bots` : changed.join(', ');
  console.log(done ? `Done: ${done}.` : 'Nothing to do.');
}

await runCommandLine(() => command);
