// Runs a bot again: for events that failed, for all events since a time, or for the resources of a
// search.
import type { AuditEvent, Bot, Resource } from '@medplum/fhirtypes';
import { UserError } from '../terminal/user-error.ts';
import { readHistory } from './history.ts';
import { hasFailed, inputOf, parseTime, readRuns, timeOf } from './runs.ts';
import { search } from './search.ts';
import { RequestError } from './server.ts';
import type { Server } from './server.ts';
import type { Stored } from './stored.ts';

export interface RerunOptions {
  /** Runs whose newest result for their resource is a failure. */
  failed?: boolean;
  /** Runs after `10m`, `2h`, `3d` ago, or after a date. */
  since?: string;
  /** The id of one run, as `logs --json` shows it. */
  run?: string;
  /** A search, such as `Patient?active=true`: a run for each resource it finds. */
  query?: string;
}

/** The most resources that one call runs a bot for. */
const MAX_RERUNS = 10_000;

/** Runs at the same time: the workers of a server are shared by all bots. */
const CONCURRENT_RUNS = 4;

/** How far back failures are looked for if no time is given. */
const DEFAULT_SINCE = '1d';

/**
 * @returns the references of the resources that the bot is to run for, oldest run first, each once
 * @throws UserError if no or several choices are given, or if a run names no resource
 */
export async function chooseInputs(
  server: Server,
  bot: Stored<Bot>,
  { failed, since, run, query }: RerunOptions,
): Promise<string[]> {
  const choices = [run, query, failed ?? since].filter((choice) => choice !== undefined);
  if (choices.length !== 1) {
    throw new UserError(
      'Choose what to run again: --failed (with or without --since), --since, --run or --query.',
    );
  }
  if (query !== undefined) {
    return resourcesOf(server, query);
  }
  if (run !== undefined) {
    return [await inputOfRun(server, bot, run)];
  }
  const after = parseTime(since ?? DEFAULT_SINCE, '--since');
  const runs = await readRuns(server, [bot.id], `_lastUpdated=ge${after}`, MAX_RERUNS);
  const newest = new Map<string, AuditEvent>();
  for (const event of runs) {
    const input = inputOf(event, bot.id);
    if (input !== undefined && !newest.has(input)) {
      newest.set(input, event);
    }
  }
  return [...newest]
    .filter(([, event]) => !failed || hasFailed(event))
    .toSorted(([, a], [, b]) => timeOf(a).localeCompare(timeOf(b)))
    .map(([input]) => input);
}

async function resourcesOf(server: Server, query: string): Promise<string[]> {
  if (!/^[A-Z][A-Za-z]+(\?.*)?$/.test(query)) {
    throw new UserError(`--query ${query}: give a search such as "Patient?active=true".`);
  }
  const [resourceType, parameters = ''] = query.split('?');
  const count = parameters.includes('_count=') ? '' : '&_count=1000';
  const path = `${resourceType}?${parameters}${count}&_elements=id`;
  const found = await search(server, path, MAX_RERUNS);
  return found.map(({ id }) => `${resourceType}/${id}`);
}

async function inputOfRun(server: Server, bot: Stored<Bot>, id: string): Promise<string> {
  const path = `AuditEvent/${encodeURIComponent(id)}`;
  const event = await server.send<AuditEvent>('GET', path);
  const input = inputOf(event, bot.id);
  if (input === undefined) {
    throw new UserError(`The run ${id} names no resource, so its event is not known.`);
  }
  return input;
}

export interface RerunResult {
  input: string;
  /** Why it failed; undefined if it did not. */
  error: string | undefined;
}

/**
 * Runs the bot on the server for each resource as it is now. For one that is deleted it gets the
 * event of a deletion.
 *
 * @param done - told after each run
 */
export async function runAgain(
  server: Server,
  bot: Stored<Bot>,
  inputs: readonly string[],
  done: (result: RerunResult) => void,
): Promise<RerunResult[]> {
  const queue = inputs.values();
  const results: RerunResult[] = [];
  const worker = async (): Promise<void> => {
    for (const input of queue) {
      const error = await runOnce(server, bot, input).then(
        () => undefined,
        (reason: Error) => reason.message,
      );
      const result = { input, error };
      results.push(result);
      done(result);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENT_RUNS }, worker));
  return results;
}

async function runOnce(server: Server, bot: Stored<Bot>, input: string): Promise<void> {
  const { body, headers } = await eventFor(server, input);
  await server.execute(`Bot/${bot.id}/$execute`, body, headers);
}

/** The input and the headers that a subscription would give the bot. */
async function eventFor(
  server: Server,
  input: string,
): Promise<{ body: unknown; headers: Record<string, string> }> {
  try {
    const resource = await server.send<Resource>('GET', input);
    return { body: resource, headers: { 'X-Medplum-Interaction': 'update' } };
  } catch (error) {
    if (!(error instanceof RequestError) || error.status !== 410) {
      throw error;
    }
    const [deletedResource = {}] = await readHistory(server, input);
    const headers = { 'X-Medplum-Interaction': 'delete', 'X-Medplum-Deleted-Resource': input };
    return { body: { deletedResource }, headers };
  }
}
