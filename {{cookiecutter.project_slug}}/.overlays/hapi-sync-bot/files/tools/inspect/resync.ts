// `npm run resync`: syncs resources by hand, compares everything, or says what failed last.
import type { OperationOutcome } from '@medplum/fhirtypes';
import { UserError, green, main, readArgs, red, table, yellow } from '../cli.ts';
import { loadConfig } from '../config.ts';
import { ownBots, readActual } from '../deploy/actual.ts';
import { RequestError, connect } from '../deploy/server.ts';
import type { Server } from '../deploy/server.ts';
import { readEnvironment } from '../env.ts';
import { readRuns } from './logs.ts';

const USAGE = 'Write: npm run resync -- Patient/<id> …, or --failed, or --full [--dry-run]';

/** What the sync bots log of a failure: `SYNC Patient/<id> failed: HTTP 409 …`. */
const FAILURE = /^[A-Z]{3,6} ([A-Z][A-Za-z]+\/[A-Za-z0-9.-]+) failed: (.*)$/gm;

await main(async () => {
  const flags = { failed: { type: 'boolean' }, full: { type: 'boolean' }, 'dry-run': { type: 'boolean' } } as const;
  const options = { env: { type: 'string' }, ...flags } as const;
  const { values, positionals: references } = readArgs({ allowPositionals: true, options });
  const wrong = references.find((reference) => !/^[A-Z][A-Za-z]+\/[A-Za-z0-9.-]{1,64}$/.test(reference));
  if (wrong || [references.length > 0, values.failed, values.full].filter(Boolean).length !== 1) {
    throw new UserError(USAGE);
  }
  const environment = readEnvironment(values.env);
  const server = await connect(environment);
  const own = ownBots((await readActual(server)).bots, loadConfig().identifierSystem, environment.name);
  const idOf = (wanted: string): string => {
    const found = own.find(({ name }) => name === wanted);
    if (!found) throw new UserError(`${wanted} is not deployed to ${environment.name}. Deploy it: npm run setup:bots`);
    return found.bot.id;
  };
  if (values.failed) return listFailed(server, [idOf('hapi-sync-bot')]);
  if (values.full) {
    const input = { mode: 'full', dryRun: values['dry-run'] === true };
    const { complete, counts } = await execute<{ complete: boolean; counts: object }>(
      server,
      idOf('hapi-reconcile-bot'),
      input,
    );
    console.log(
      table(
        ['found', 'resources'],
        Object.entries(counts).map(([name, count]) => [name, String(count)]),
      ),
    );
    if (!complete) console.log(yellow('Its time was up: the next run goes on from there.'));
    return 0;
  }
  let failures = 0;
  for (const reference of references) {
    const [resourceType, id] = reference.split('/');
    try {
      const { action } = await execute<{ action: string }>(server, idOf('hapi-sync-bot'), { resourceType, id });
      console.log(`${green(action)}  ${reference}`);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      failures++;
      console.log(`${red('failed')}  ${reference}  see: npm run logs -- hapi-sync-bot --failed`);
    }
  }
  return failures > 0 ? 1 : 0;
});

async function execute<T>(server: Server, id: string, input: unknown): Promise<T> {
  const result = await server.send<T | OperationOutcome>('POST', `Bot/${id}/$execute`, input);
  if ((result as OperationOutcome).resourceType === 'OperationOutcome') {
    throw new UserError('The bot gave no result: see npm run logs');
  }
  return result as T;
}

/** The last failure of each resource, newest first. */
async function listFailed(server: Server, ids: string[]): Promise<void> {
  const found = new Map<string, [string, string, string]>();
  for (const { recorded, outcomeDesc } of await readRuns(server, ids, '_count=200&outcome=4,8')) {
    for (const [, reference = '', reason = ''] of outcomeDesc?.matchAll(FAILURE) ?? []) {
      if (!found.has(reference)) found.set(reference, [recorded, reference, reason]);
    }
  }
  console.log(found.size > 0 ? table(['when', 'resource', 'why'], [...found.values()]) : 'Nothing failed.');
}
