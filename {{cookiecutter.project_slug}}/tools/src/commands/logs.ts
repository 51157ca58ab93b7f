// `npm run logs -- [bot] [--failed]`: the last runs, with stack traces in terms of the sources.
import { Command } from 'commander';
import { printLogs } from '../deploy/logs.ts';

export const command = new Command('logs')
  .description('Show the last runs of the bots, with stack traces that point into the sources')
  .argument('[bot]', 'the name of a bot (default: all)')
  .option('--failed', 'only runs that failed')
  .option('--env <name>', 'the environment whose .env.<name> is read (default: local)')
  .addHelpText('after', '\nExample: npm run logs -- hapi-sync-bot --failed --env production')
  .action(printLogs);
