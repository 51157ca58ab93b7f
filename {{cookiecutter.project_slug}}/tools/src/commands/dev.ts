// `npm run dev`: local servers with all bots deployed, and each deployed again as soon as its
// bundle changes.
import { Command } from 'commander';
import { createKeys } from '../dev/dev-keys.ts';
import { describeKeys, listenToKeys } from '../dev/keys.ts';
import { DevSession, startBuild } from '../dev/session.ts';
import { runLines } from '../dev/show-run.ts';
import { watchSources } from '../dev/source-watcher.ts';
import { SELF_TRIGGER_LIMIT } from '../medplum/triggers/self-triggers.ts';
import { addServerOptions, describe, startServers } from '../local-servers.ts';
import type { ServerOptions } from '../local-servers.ts';
import { BundleMaps } from '../runtime/bundle-maps.ts';
import { dim } from '../terminal/output.ts';

export const command = addServerOptions(new Command('dev'))
  .description(
    'Start local servers, deploy all bots, and deploy each again when its source changes',
  )
  .addHelpText(
    'after',
    [
      '',
      'Secrets of the bots are read from .env.local.secrets (NAME=value); ' +
        'a bot that lacks one waits.',
      'Other commands find this server by themselves, on any port.',
      '',
      'Example: npm run dev -- --seed tests/data/patients.json',
    ].join('\n'),
  )
  .action(dev);

async function dev(options: ServerOptions): Promise<void> {
  // What is saved while the servers start is deployed when the session is there.
  let begin: (session: DevSession) => void = () => undefined;
  const later = new Promise<DevSession>((resolve) => {
    begin = resolve;
  });
  const watching = watchSources(async (paths) => (await later).update(paths));
  const { build } = await startBuild();
  const servers = await startServers(options, SELF_TRIGGER_LIMIT).catch(async (error) => {
    await (await watching).close();
    throw error;
  });
  console.log(`${describe(servers)}\n`);
  const maps = new BundleMaps();
  servers.medplum.runs.on('started', (run) => maps.remember(run.bot.name ?? '', run.code));
  servers.medplum.runs.on('ended', (run) => console.log(runLines(run, maps).join('\n')));
  const session = new DevSession(servers, build);
  begin(session);
  await Promise.all([session.update([]), watching]);
  const keys = createKeys(servers.medplum, maps);
  listenToKeys(keys);
  console.log(dim('Watching src/ and medplum.config.json; end with Ctrl+C.'));
  if (process.stdin.isTTY) {
    console.log(describeKeys(keys));
  }
}
