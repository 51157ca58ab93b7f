// `npm run logs -- [bot]`: the runs of deployed bots, with stack traces that point into the
// sources.
import { Command } from 'commander';
import { readLogs } from '../deploy/logs.ts';
import type { LogEntry, LogOptions } from '../deploy/logs.ts';
import { failureLines } from '../dev/show-failure.ts';
import { dim, green, printable, red } from '../terminal/output.ts';

export const command = new Command('logs')
  .description('Show the last runs of the bots, with stack traces that point into the sources')
  .argument('[bot]', 'the name of a bot (default: all)')
  .option('--failed', 'only runs that failed')
  .option('--since <time>', 'only runs after 10m, 2h, 3d ago, or after a date')
  .option('--until <time>', 'only runs before such a time')
  .option('--search <text>', 'only runs whose log or resource contains this text')
  .option('--limit <number>', 'how many of the newest runs (default: 20)')
  .option('--follow', 'go on with each new run; end with Ctrl+C')
  .option('--json', 'print one JSON object a line')
  .option('--env <name>', 'the environment whose .env.<name> is read (default: local)')
  .addHelpText(
    'after',
    '\nExample: npm run logs -- hapi-sync-bot --failed --env production\n' +
      'Example: npm run logs -- --follow --search timeout',
  )
  .action(showLogs);

async function showLogs(
  bot: string | undefined,
  { json, ...options }: LogOptions & { json?: boolean },
): Promise<void> {
  const print = json ? printJson : printText;
  const count = await readLogs(bot, options, print);
  if (count === 0 && !json) {
    console.log(options.failed ? 'No failed runs.' : 'No runs yet.');
  }
}

function printJson(entry: LogEntry): void {
  console.log(JSON.stringify(entry));
}

function printText(entry: LogEntry): void {
  const { time, bot, hasFailed, resource, code, failure, log, note } = entry;
  const outcome = hasFailed ? red('failed') : green('ok');
  const details = dim([code?.slice(0, 16), resource].filter(Boolean).join('  '));
  console.log(`${time}  ${bot}  ${outcome}  ${details}`);
  if (failure) {
    failureLines(failure).forEach((line) => console.log(`  ${line}`));
  }
  if (log) {
    log.split('\n').forEach((line) => console.log(`  ${printable(line)}`));
  }
  if (note) {
    console.log(dim(`  ${note}`));
  }
}
