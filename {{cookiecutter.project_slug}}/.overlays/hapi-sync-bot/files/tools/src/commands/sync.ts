// `npm run sync -- status`: how far the sync is, in numbers.
import { Argument, Command } from 'commander';
import type { Basic } from '@medplum/fhirtypes';
import { loadConfig } from '../config/config.ts';
import { readEnvironment } from '../config/environment.ts';
import { readActual } from '../deploy/actual.ts';
import { ownBots } from '../deploy/identity.ts';
import { connect } from '../deploy/server.ts';
import type { Server } from '../deploy/server.ts';
import { table } from '../terminal/output.ts';
import { UserError } from '../terminal/user-error.ts';

const RECONCILE_BOT = 'hapi-reconcile-bot';
/**
 * The identifier system, and the extension, of the Basic resource in which hapi-reconcile-bot keeps
 * its progress.
 */
const PROGRESS = 'urn:medplum-bots:reconcile-progress';

/** What hapi-reconcile-bot keeps; see src/shared/sync/progress.ts. */
interface Progress {
  types: string[];
  watermark?: string;
  run?: { mode: string; started: string };
  failed: Record<string, { code: string; since: string }>;
  lastRuns?: Record<string, { ended: string; counts: Record<string, number> }>;
}

export const command = new Command('sync')
  .description('Show how far the sync is: the last complete runs, what failed, and since when')
  .addArgument(new Argument('<action>', 'what to do').choices(['status']))
  .option('--env <name>', 'the environment whose .env.<name> is read (default: local)')
  .option('--json', 'print the numbers as JSON, for a monitor')
  .addHelpText('after', '\nExample: npm run sync -- status --env production')
  .action(showStatus);

async function showStatus(
  _action: string,
  options: { env?: string; json?: boolean },
): Promise<void> {
  const environment = readEnvironment(options.env);
  const server = await connect(environment);
  const { bots } = await readActual(server);
  const own = ownBots(bots, loadConfig().identifierSystem, environment.name);
  const bot = own.find(({ name }) => name === RECONCILE_BOT)?.bot;
  if (!bot) {
    throw new UserError(
      `${RECONCILE_BOT} is not deployed to ${environment.name}, so nothing is counted. ` +
        'Deploy it: npm run setup:bots',
    );
  }
  const all = await readProgress(server, bot.id);
  if (options.json) {
    console.log(JSON.stringify(all.map(numbersOf), null, 2));
  } else if (all.length === 0) {
    console.log(`${RECONCILE_BOT} has not run yet.`);
  } else {
    all.forEach(print);
  }
}

/** One progress for each target that the bot has had. */
async function readProgress(server: Server, botId: string): Promise<Progress[]> {
  const query = `identifier=${encodeURIComponent(`${PROGRESS}|`)}&_count=100`;
  const { entry = [] } = await server.send<{ entry?: { resource: Basic }[] }>(
    'GET',
    `Basic?${query}`,
  );
  return entry.flatMap(({ resource }) => {
    const isOfBot = resource.identifier?.some(({ value }) => value?.startsWith(`${botId}-`));
    const text = resource.extension?.find(({ url }) => url === PROGRESS)?.valueString;
    return isOfBot && text ? [JSON.parse(text) as Progress] : [];
  });
}

/** The numbers that a monitor wants. */
function numbersOf({ failed, lastRuns = {}, run, watermark }: Progress): Record<string, unknown> {
  const failures: Record<string, number> = {};
  for (const { code } of Object.values(failed)) {
    failures[code] = (failures[code] ?? 0) + 1;
  }
  const [oldest] = Object.values(failed)
    .map(({ since }) => since)
    .toSorted();
  return {
    lastRuns: Object.entries(lastRuns).map(([mode, last]) => ({ mode, ...last })),
    underWay: run,
    seenUntil: watermark,
    failures,
    oldestFailure: oldest,
  };
}

function print(progress: Progress): void {
  const { failed, lastRuns = {}, run, watermark, types } = progress;
  console.log(`Types: ${types.join(', ')}`);
  const runs = Object.entries(lastRuns).map(([mode, { ended, counts }]) => {
    return [mode, ended, counts['checked'] ?? 0, counts['differing'] ?? 0, counts['leftover'] ?? 0];
  });
  console.log(
    runs.length > 0
      ? table(['last complete run', 'ended', 'checked', 'differing', 'leftover'], runs)
      : 'No run has come to its end yet.',
  );
  if (run) {
    console.log(`Under way: a run of mode "${run.mode}", since ${run.started}`);
  }
  console.log(`Every change until ${watermark ?? '(none)'} was seen.`);
  const failures = Object.entries(failed);
  if (failures.length === 0) {
    console.log('Nothing waits to be synced.');
    return;
  }
  const oldest = failures.toSorted(([, a], [, b]) => a.since.localeCompare(b.since)).slice(0, 20);
  const rows = oldest.map(([reference, { code, since }]) => [reference, code, since]);
  console.log(table(['waits to be synced', 'because', 'since'], rows));
  if (failures.length > oldest.length) {
    console.log(`and ${failures.length - oldest.length} more`);
  }
}
