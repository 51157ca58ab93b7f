// `npm run local`: the local servers, until they are stopped.
import { Command } from 'commander';
import { addServerOptions, describe, startServers } from '../local-servers.ts';
import type { ServerOptions } from '../local-servers.ts';
import { dim } from '../terminal/output.ts';

export const command = addServerOptions(new Command('local'))
  .description('Start local servers without deploying anything')
  .addHelpText('after', '\nExample: npm run local -- --port 8104')
  .action(async (options: ServerOptions) => {
    console.log(describe(await startServers(options)));
    const data = options.persist
      ? 'Resources are kept for the next start with --persist.'
      : 'Everything is in memory, and gone with Ctrl+C.';
    console.log(dim(`${data} "npm run dev" also deploys and watches.`));
  });
