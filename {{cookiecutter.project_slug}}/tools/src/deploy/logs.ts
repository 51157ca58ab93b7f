// The runs of bots, with stack traces in terms of the sources.
import type { AuditEvent, Bot } from '@medplum/fhirtypes';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadConfig } from '../config/config.ts';
import { readEnvironment } from '../config/environment.ts';
import { suggest } from '../terminal/suggest.ts';
import { UserError } from '../terminal/user-error.ts';
import type { FailureExplanation } from '../runtime/explain-failure.ts';
import { findSettings } from '../runtime/bot-settings.ts';
import { explainRun } from './explain-run.ts';
import { readOwnBots } from './find-own-bot.ts';
import { readHistory } from './history.ts';
import { tagOf } from './identity.ts';
import type { OwnBot } from './identity.ts';
import { FAILED, hasFailed, inputOf, isOf, parseTime, readRuns, timeOf } from './runs.ts';
import { connect } from './server.ts';
import type { Server } from './server.ts';
import { describeWithSources, readMap } from './stack-traces.ts';
import type { Stored } from './stored.ts';

export { readRuns } from './runs.ts';

export interface LogOptions {
  /** Whose `.env.<environment>` is read; `local` if left out. */
  env?: string;
  /** Only runs that failed. */
  failed?: boolean;
  /** `10m`, `2h`, `3d` or a date. */
  since?: string;
  until?: string;
  /** Only runs whose log or resource contains this text, in any case. */
  search?: string;
  /** How many of the newest runs. */
  limit?: string;
  /** Go on with each new run. */
  follow?: boolean;
}

/** One run, ready to be printed. */
export interface LogEntry {
  id: string;
  time: string;
  bot: string;
  hasFailed: boolean;
  /** What it ran for, such as `Patient/<id>`. */
  resource: string | undefined;
  /** The sha256 of the code that ran. */
  code: string | undefined;
  /** Why the run failed, where its log says so. */
  failure: FailureExplanation | undefined;
  /** What the bot logged, and its error with places in the sources. */
  log: string;
  /** Why the places are those of the bundle. */
  note: string | undefined;
}

const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 10_000;

/** How long `--follow` waits between two questions, in milliseconds. */
const POLL_INTERVAL = 2000;

/**
 * Gives each run to `print`, oldest first; with `follow` it goes on with new ones.
 *
 * @param wanted - the name of a bot; without it the runs of all bots of this repository
 * @returns how many runs were printed
 * @throws UserError if there is no such bot, or an option is wrong
 */
export async function readLogs(
  wanted: string | undefined,
  options: LogOptions,
  print: (entry: LogEntry) => void,
): Promise<number> {
  const limit = parseLimit(options.limit);
  const query = queryOf(options);
  const { identifierSystem: system } = loadConfig();
  const server = await connect(readEnvironment(options.env));
  const bots = await chooseBots(server, system, wanted);
  const reader = new LogReader(server, system, bots, options.search);
  const newest = await readRuns(server, reader.ids, query, searchLimit(options, limit));
  const runs = newest.filter((run) => reader.isWanted(run)).slice(0, limit);
  await printAll(runs, reader, print);
  if (options.follow) {
    await follow(reader, query, newest, print);
  }
  return runs.length;
}

/** A text is searched for here, so more runs have to be looked at. */
function searchLimit({ search }: LogOptions, limit: number): number {
  return search === undefined ? limit : MAX_LIMIT;
}

async function printAll(
  newestFirst: readonly AuditEvent[],
  reader: LogReader,
  print: (entry: LogEntry) => void,
): Promise<void> {
  for (const run of newestFirst.toReversed()) {
    print(await reader.describe(run));
  }
}

/** Asks again and again for runs that came after those that are known. Ends with the process. */
async function follow(
  reader: LogReader,
  query: string,
  known: readonly AuditEvent[],
  print: (entry: LogEntry) => void,
): Promise<never> {
  const seen = new Set(known.map(({ id }) => id));
  // By the server's clock: this machine's may be ahead, and new runs would be taken for old ones.
  let since = known[0]?.meta?.lastUpdated;
  for (;;) {
    await sleep(POLL_INTERVAL);
    const newer = since === undefined ? query : `${query}&_lastUpdated=ge${since}`;
    const runs = await readRuns(reader.server, reader.ids, newer, MAX_LIMIT);
    const unseen = runs.filter(({ id }) => !seen.has(id));
    unseen.forEach(({ id }) => seen.add(id));
    since = runs[0]?.meta?.lastUpdated ?? since;
    await printAll(
      unseen.filter((run) => reader.isWanted(run)),
      reader,
      print,
    );
  }
}

function parseLimit(text: string | undefined): number {
  if (text === undefined) {
    return DEFAULT_LIMIT;
  }
  const limit = Number(text);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw new UserError(`--limit ${text}: give a number from 1 to ${MAX_LIMIT}.`);
  }
  return limit;
}

function queryOf({ failed, since, until }: LogOptions): string {
  const parts: string[] = [];
  if (failed) {
    parts.push(FAILED);
  }
  if (since !== undefined) {
    parts.push(`_lastUpdated=ge${parseTime(since, '--since')}`);
  }
  if (until !== undefined) {
    parts.push(`_lastUpdated=le${parseTime(until, '--until')}`);
  }
  return parts.join('&');
}

async function chooseBots(
  server: Server,
  system: string,
  wanted: string | undefined,
): Promise<OwnBot[]> {
  const own = await readOwnBots(server, system);
  const bots = own.filter(({ name }) => wanted === undefined || name === wanted);
  if (bots.length === 0) {
    const { name: environment } = server.environment;
    if (wanted === undefined) {
      throw new UserError(`No bot of this repository is deployed to ${environment}.`);
    }
    const names = own.map(({ name }) => name);
    throw new UserError(`${wanted} is not deployed to ${environment}.${suggest(wanted, names)}`);
  }
  return bots;
}

/** Turns AuditEvents into entries; reads the history of each bot once, to know which code ran. */
class LogReader {
  readonly server: Server;
  readonly ids: readonly string[];
  private readonly system: string;
  private readonly bots: readonly OwnBot[];
  private readonly text: string | undefined;
  private readonly histories = new Map<string, Promise<Stored<Bot>[]>>();

  constructor(server: Server, system: string, bots: readonly OwnBot[], text: string | undefined) {
    this.server = server;
    this.system = system;
    this.bots = bots;
    this.ids = bots.map(({ bot }) => bot.id);
    this.text = text?.toLowerCase();
  }

  isWanted(run: AuditEvent): boolean {
    const references = (run.entity ?? []).map(({ what }) => what?.reference ?? '');
    const text = [run.outcomeDesc ?? '', ...references].join('\n').toLowerCase();
    return this.text === undefined || text.includes(this.text);
  }

  async describe(run: AuditEvent): Promise<LogEntry> {
    const own = this.bots.find(({ bot }) => isOf(run, bot.id));
    const id = own?.bot.id ?? '';
    const name = own?.name ?? 'unknown';
    const version = await this.versionAt(id, timeOf(run));
    const code = tagOf(version, `${this.system}/deployed`);
    const commit = tagOf(version, `${this.system}/commit`);
    const log = run.outcomeDesc ?? '';
    const { text, note } = describeWithSources(log, name, code, commit);
    const failure = hasFailed(run)
      ? explainRun(log, findSettings(name, this.server.environment.name), readMap(name, code))
      : undefined;
    return {
      id: run.id ?? '',
      time: timeOf(run),
      bot: name,
      hasFailed: hasFailed(run),
      resource: inputOf(run, id),
      code,
      failure,
      log: text,
      note,
    };
  }

  /** What ran: the newest version of the Bot that is older than the run. */
  private async versionAt(id: string, time: string): Promise<Stored<Bot> | undefined> {
    const history = this.histories.get(id) ?? readHistory<Bot>(this.server, `Bot/${id}`);
    this.histories.set(id, history);
    return (await history).find(({ meta }) => (meta?.lastUpdated ?? '') <= time);
  }
}
