// `npm run logs -- [bot] [--failed]`: the last runs, with stack traces in terms of the sources.
import type { AuditEvent, Bot, Bundle } from '@medplum/fhirtypes';
import { existsSync, readFileSync } from 'node:fs';
import type { Manifest } from '../bundling/manifest.ts';
import { mapStack, namesBundlePlace } from '../runtime/source-maps.ts';
import { dim, green, red } from '../terminal/output.ts';
import { suggest } from '../terminal/suggest.ts';
import { UserError } from '../terminal/user-error.ts';
import { loadConfig } from '../config/config.ts';
import { readActual } from './actual.ts';
import { ownBots, tagOf } from './identity.ts';
import { connect } from './server.ts';
import type { Server } from './server.ts';
import { readEnvironment } from '../config/environment.ts';

export interface LogOptions {
  /** Whose `.env.<environment>` is read; `local` if left out. */
  env?: string;
  /** Only runs that failed. */
  failed?: boolean;
}

/**
 * Prints the last runs, oldest first.
 *
 * @param wanted - the name of a bot; without it the runs of all bots of this repository
 * @throws UserError
 */
export async function printLogs(wanted: string | undefined, values: LogOptions): Promise<void> {
  const { identifierSystem: system } = loadConfig();
  const environment = readEnvironment(values.env);
  const server = await connect(environment);
  const own = ownBots((await readActual(server)).bots, system, environment.name);
  const bots = own.filter(({ name }) => !wanted || name === wanted);
  if (bots.length === 0) {
    const names = own.map(({ name }) => name);
    const hint = suggest(wanted ?? '', names);
    throw new UserError(
      `${wanted ?? 'No bot of this repository'} is not deployed to ${environment.name}.${hint}`,
    );
  }
  const ids = bots.map(({ bot }) => bot.id);
  const events = await readRuns(server, ids, `_count=20${values.failed ? '&outcome=4,8' : ''}`);
  if (events.length === 0) console.log(values.failed ? 'No failed runs.' : 'No runs yet.');
  const histories = new Map<string, Promise<Bundle<Bot>>>();
  for (const event of events.toReversed()) {
    const { name, bot } = bots.find((one) => isOf(event, one.bot.id))!;
    if (!histories.has(bot.id))
      histories.set(bot.id, server.send('GET', `Bot/${bot.id}/_history?_count=1000`));
    const { entry = [] } = await histories.get(bot.id)!;
    // What ran: the newest version of the Bot that is older than the run.
    const version = entry.find(
      ({ resource }) => (resource?.meta?.lastUpdated ?? '') <= event.recorded,
    )?.resource;
    const sha256 = tagOf(version, `${system}/deployed`);
    const outcome = event.outcome === '0' ? green('ok') : red('failed');
    console.log(`${event.recorded}  ${name}  ${outcome}  ${dim(sha256?.slice(0, 16) ?? '')}`);
    const text = event.outcomeDesc?.trimEnd() ?? '';
    const map = namesBundlePlace(text) ? readMap(name, sha256) : undefined;
    const readable = map ? mapStack(text, map) : text;
    for (const line of readable ? readable.split('\n') : []) {
      console.log(`  ${line}`);
    }
    if (!map && namesBundlePlace(text)) {
      const commit = tagOf(version, `${system}/commit`)?.replace('-dirty', '');
      const cure = commit
        ? ` For the sources: git checkout ${commit} && npm run build -- --production`
        : '';
      console.log(
        dim(`  (Lines of the bundle: dist/ holds another build than the one that ran.${cure})`),
      );
    }
  }
}

/**
 * @param ids - of bots
 * @param more - of the query
 * @returns the AuditEvents of their runs, newest first
 */
export async function readRuns(server: Server, ids: string[], more: string): Promise<AuditEvent[]> {
  const type = 'https://medplum.com/CodeSystem/audit-event|execute';
  const query = `type=${type}&entity=${ids.map((id) => `Bot/${id}`).join(',')}&_sort=-_lastUpdated&${more}`;
  const { entry = [] } = await server.send<Bundle<AuditEvent>>('GET', `AuditEvent?${query}`);
  return entry.flatMap(({ resource }) => resource ?? []);
}

/** Whether a run was this bot's. */
export function isOf({ entity }: AuditEvent, id: string): boolean {
  return entity?.some(({ what }) => what?.reference === `Bot/${id}`) === true;
}

/** The map of the build that ran, where dist/ still holds it. No server gets maps. */
function readMap(name: string, sha256: string | undefined): string | undefined {
  const file = `dist/bots/${name}.js.map`;
  if (!existsSync('dist/manifest.json') || !existsSync(file)) return undefined;
  const { bots } = JSON.parse(readFileSync('dist/manifest.json', 'utf8')) as Manifest;
  return bots[name]?.sha256 === sha256 ? readFileSync(file, 'utf8') : undefined;
}
