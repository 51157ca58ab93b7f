// `npm run dev`: local servers with all bots deployed, and each deployed again as soon as its
// bundle changes.
import { Command } from 'commander';
import { describeKeys, listenToKeys, openInBrowser } from '../dev/keys.ts';
import type { Key } from '../dev/keys.ts';
import { DevSession } from '../dev/session.ts';
import { runLines } from '../dev/show-run.ts';
import { watchSources } from '../dev/source-watcher.ts';
import { SELF_TRIGGER_LIMIT } from '../medplum/triggers/self-triggers.ts';
import { addServerOptions, describe, startServers } from '../local-servers.ts';
import type { LocalServers, ServerOptions } from '../local-servers.ts';
import type { Run } from '../medplum/bot-runs.ts';
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
      'Secrets of the bots are read from .env.local.secrets (NAME=value); a bot that lacks one waits.',
      'Other commands find this server by themselves, on any port.',
      '',
      'Example: npm run dev -- --seed tests/data/patients.json',
    ].join('\n'),
  )
  .action(dev);

async function dev(options: ServerOptions): Promise<void> {
  const servers = await startServers(options, SELF_TRIGGER_LIMIT);
  console.log(`${describe(servers)}\n`);
  const maps = new BundleMaps();
  servers.medplum.runs.on('started', (run) => maps.remember(run.bot.name ?? '', run.code));
  servers.medplum.runs.on('ended', (run) => showRun(run, maps));
  const session = new DevSession(servers);
  await Promise.all([session.update([]), watchSources((paths) => session.update(paths))]);
  const keys = createKeys(servers, maps);
  listenToKeys(keys);
  console.log(dim('Watching src/ and medplum.config.json; end with Ctrl+C.'));
  if (process.stdin.isTTY) {
    console.log(describeKeys(keys));
  }
}

function showRun(run: Run, maps: BundleMaps): void {
  console.log(runLines(run, maps).join('\n'));
}

function createKeys({ medplum }: LocalServers, maps: BundleMaps): Key[] {
  return [
    { key: 'o', label: 'open the page', press: () => openInBrowser(medplum.baseUrl) },
    { key: 'r', label: 'run the last event again', press: () => runLastAgain(medplum) },
    {
      key: 'f',
      label: 'show failures',
      press: () => {
        const failed = medplum.runs.list().filter(({ state }) => state === 'failed');
        failed.toReversed().forEach((run) => showRun(run, maps));
        console.log(dim(`${failed.length} failed.`));
      },
    },
    { key: 'c', label: 'clear the screen', press: () => console.clear() },
    { key: 'q', label: 'quit', press: () => process.exit(0) },
  ];
}

/** Runs the bot of the latest run again, on the same event, with the code that it has now. */
async function runLastAgain({ runs, repository, execute }: LocalServers['medplum']): Promise<void> {
  const [last] = runs.list();
  const latest = last && repository.state.store.latest('Bot', last.bot.id);
  if (!last || !latest || latest.deleted) {
    console.log(dim('Nothing has run yet.'));
    return;
  }
  const bot = latest.resource as Run['bot'];
  await execute({ ...last.request, bot }).catch((error: Error) => console.error(error.message));
}
