// `npm run resync`: syncs resources by hand, compares everything, or says what failed last.
import { Command } from 'commander';
import { green, red, table, yellow } from '../terminal/output.ts';
import { UserError } from '../terminal/user-error.ts';
import { loadConfig } from '../config/config.ts';
import { readActual } from '../deploy/actual.ts';
import { ownBots } from '../deploy/identity.ts';
import { RequestError, connect } from '../deploy/server.ts';
import type { Server } from '../deploy/server.ts';
import { readEnvironment } from '../config/environment.ts';
import { readRuns } from '../deploy/logs.ts';

const USAGE = 'Write: npm run resync -- Patient/<id> …, or --failed, or --full [--dry-run]';

/** What the sync bots log of a failure: `SYNC Patient/<id> failed: HTTP 409 …`. */
const FAILURE = /^[A-Z]{3,6} ([A-Z][A-Za-z]+\/[A-Za-z0-9.-]+) failed: (.*)$/gm;

interface ResyncOptions {
  env?: string;
  failed?: boolean;
  full?: boolean;
  dryRun?: boolean;
}

export const command = new Command('resync')
  .description('Sync resources by hand, compare everything, or show what failed last')
  .argument('[references...]', 'such as Patient/<id>')
  .option('--failed', 'show the last failure of each resource')
  .option('--full', 'compare everything and repair what differs')
  .option('--dry-run', 'with --full: only count what differs')
  .option('--env <name>', 'the environment whose .env.<name> is read (default: local)')
  .addHelpText('after', '\nExample: npm run resync -- --full --env production')
  .action(resync);

async function resync(references: string[], values: ResyncOptions): Promise<void> {
  const wrong = references.find(
    (reference) => !/^[A-Z][A-Za-z]+\/[A-Za-z0-9.-]{1,64}$/.test(reference),
  );
  if (wrong || [references.length > 0, values.failed, values.full].filter(Boolean).length !== 1) {
    throw new UserError(USAGE);
  }
  const environment = readEnvironment(values.env);
  const server = await connect(environment);
  const own = ownBots(
    (await readActual(server)).bots,
    loadConfig().identifierSystem,
    environment.name,
  );
  const idOf = (wanted: string): string => {
    const found = own.find(({ name }) => name === wanted);
    if (!found)
      throw new UserError(
        `${wanted} is not deployed to ${environment.name}. Deploy it: npm run setup:bots`,
      );
    return found.bot.id;
  };
  if (values.failed) return listFailed(server, [idOf('hapi-sync-bot')]);
  if (values.full) return compareAll(server, idOf('hapi-reconcile-bot'), values.dryRun === true);
  let failures = 0;
  for (const reference of references) {
    const [resourceType, id] = reference.split('/');
    try {
      const { action } = await execute<{ action: string }>(server, idOf('hapi-sync-bot'), {
        resourceType,
        id,
      });
      console.log(`${green(action)}  ${reference}`);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      failures++;
      console.log(`${red('failed')}  ${reference}  What it says: npm run logs -- --failed`);
    }
  }
  process.exitCode = failures > 0 ? 1 : 0;
}

/** Runs the reconcile bot until it has seen everything; each run shorter than a request may take. */
async function compareAll(server: Server, id: string, dryRun: boolean): Promise<void> {
  const sums = new Map<string, number>();
  for (let complete = false; !complete;) {
    const input = { mode: 'full', dryRun, ms: 90_000 };
    const result = await execute<{ complete: boolean; counts: Record<string, number> }>(
      server,
      id,
      input,
    );
    Object.entries(result.counts).forEach(([name, count]) =>
      sums.set(name, (sums.get(name) ?? 0) + count),
    );
    if (!result.complete && dryRun) console.log(yellow('Its time was up: this is not everything.'));
    complete = result.complete || dryRun;
  }
  console.log(table(['found', 'resources'], [...sums]));
}

async function execute<T>(server: Server, id: string, input: unknown): Promise<T> {
  try {
    return await server.send<T>('POST', `Bot/${id}/$execute`, input);
  } catch (error) {
    throw error instanceof RequestError
      ? new UserError('The bot failed. What it says: npm run logs -- --failed')
      : error;
  }
}

/** The last failure of each resource, newest first. */
async function listFailed(server: Server, ids: string[]): Promise<void> {
  const found = new Map<string, [string, string, string]>();
  for (const { recorded, outcomeDesc } of await readRuns(server, ids, '_count=200&outcome=4,8')) {
    for (const [, reference = '', reason = ''] of outcomeDesc?.matchAll(FAILURE) ?? []) {
      if (!found.has(reference)) found.set(reference, [recorded, reference, reason]);
    }
  }
  console.log(
    found.size > 0 ? table(['when', 'resource', 'why'], [...found.values()]) : 'Nothing failed.',
  );
}
