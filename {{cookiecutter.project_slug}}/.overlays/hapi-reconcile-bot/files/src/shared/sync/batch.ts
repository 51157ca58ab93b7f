// Many resources of one type at once: what is equal needs two searches, what differs one
// transaction. Whatever a batch cannot do is left to `sync`, resource by resource.
import type { BundleEntryResponse, Resource, ResourceType } from '@medplum/fhirtypes';
import { logExternalRequest } from '../http-helpers.ts';
import { HTTP_VERBS, isRequestFailure, isTransient } from '../http-request.ts';
import { clock } from '../retry.ts';
import { isSame } from './compare.ts';
import { isInactive } from './delete.ts';
import { codeOfError, SyncError } from './errors.ts';
import { isWanted, readMany } from './source.ts';
import { sync } from './sync.ts';
import { pathOf, readTargets, typeAndId } from './target.ts';
import type { SyncContext, TargetState } from './target.ts';
import type { SyncedType } from './types.ts';
import { copyFor, provenEntry, putAll, referencesIn } from './write.ts';
import type { PlannedWrite } from './write.ts';

/** What was found; with a dry run, nothing else happens. */
export interface Counts {
  /** Looked at. */
  checked: number;
  /** Missing on the target, or different there. */
  differing: number;
  /** Still on the target, but deleted on Medplum, or out of scope. */
  leftover: number;
  /**
   * On the target, but 404 on Medplum. Reported, never deleted: perhaps this bot lost the right to
   * read.
   */
  unreadable: number;
}

/** What one batch found and did. */
export interface BatchResult {
  counts: Counts;
  /**
   * The code of the error for each id that could not be synced; `no-time` for what the next run
   * must look at.
   */
  failed: Map<string, string>;
}

/** The code of what there was no time for. */
export const NO_TIME = 'no-time';

/** What is known of the target from earlier batches of the same run. */
export interface Knowledge {
  /** `Type/id` of resources that are on the target. */
  existing: Set<string>;
  /**
   * Counts resources that failed one after the other because the target did not answer or was
   * broken.
   */
  outagesInARow: number;
}

/** One resource may take so long by itself; in the meantime, others wait. */
const SINGLE_MS = 5_000;

const MOST_OUTAGES_IN_A_ROW = 20;

/**
 * Tells whether so many resources failed one after the other that this run should not try more:
 * perhaps the target takes no writes at the moment. The next run goes on behind them.
 *
 * @param knowledge - What the run knows.
 * @returns True if it should end.
 */
export function isGivenUp({ outagesInARow }: Knowledge): boolean {
  return outagesInARow >= MOST_OUTAGES_IN_A_ROW;
}

/**
 * Compares some resources of one type on both sides, and syncs those that differ.
 *
 * The order is that of `sync`: read the targets, read the sources, write behind the fence, read the
 * versions again. What needs more than a PUT, or whose PUT was refused, is left to `sync`, each for
 * itself: what is wrong with one of them (a refusal, a 5xx, a bug) is recorded as its failure.
 *
 * @param context - What the sync works with.
 * @param type - The FHIR type.
 * @param ids - Ids on Medplum; at most 50 make a good batch.
 * @param knowledge - Shared by all batches of a run.
 * @param dryRun - Whether to count only.
 * @returns What was found, and what could not be synced.
 * @throws SyncError if one of the servers is down, or refuses this bot: going on would not help.
 */
export async function syncBatch(
  context: SyncContext,
  type: SyncedType,
  ids: string[],
  knowledge: Knowledge,
  dryRun: boolean,
): Promise<BatchResult> {
  const counts = { checked: ids.length, differing: 0, leftover: 0, unreadable: 0 };
  const failed = new Map<string, string>();
  const { together, alone, leftover } = await compareAll(context, type, ids, knowledge, dryRun);
  counts.leftover = leftover.length;
  if (dryRun) {
    counts.differing = together.length + alone.length;
    return { counts, failed };
  }
  const unwritten = together.length > 0 ? await writeAll(context, type, together, knowledge) : [];
  counts.differing = together.length - unwritten.length;
  for (const id of [...unwritten, ...alone, ...leftover]) {
    const outcome = await syncOne(context, type, id, knowledge);
    if (outcome.code === 'not-found') {
      counts.unreadable++;
    } else if (outcome.code) {
      failed.set(id, outcome.code);
    }
    if (outcome.isChange && !leftover.includes(id)) {
      counts.differing++;
    }
  }
  return { counts, failed };
}

/** A resource that is to be written, with the source that its copy is made of. */
interface Difference extends PlannedWrite {
  source: Resource;
}

interface Comparison {
  /** What can be written in one Bundle. */
  together: Difference[];
  /** Ids of what must be looked at by itself. */
  alone: string[];
  /** Ids of what is on the target and should not be. */
  leftover: string[];
}

async function compareAll(
  context: SyncContext,
  type: SyncedType,
  ids: string[],
  knowledge: Knowledge,
  dryRun: boolean,
): Promise<Comparison> {
  const states = await readTargets(context, type, ids).catch((error: unknown) => {
    if (dryRun || isUnauthorized(error)) {
      throw error;
    }
    return undefined; // the reason may lie in one of the resources
  });
  if (!states) {
    return { together: [], alone: ids, leftover: [] };
  }
  const sources = await readMany(context, type, ids);
  const differing: Difference[] = [];
  const broken: string[] = [];
  const leftover: string[] = [];
  for (const id of ids) {
    const state = states.get(id) ?? { type, id, version: '0', resource: undefined };
    const source = sources.get(id);
    try {
      if (isWanted(context, source)) {
        const { body } = copyFor(context, state, source, () => true);
        if (state.resource && isSame(body, state.resource)) {
          knowledge.existing.add(pathOf(state));
        } else {
          differing.push({ state, source, body });
        }
      } else if (isLeftover(context, state)) {
        leftover.push(id);
      }
    } catch {
      // a bug that this resource brings to light: `sync` meets it again, and reports it
      broken.push(id);
    }
  }
  const { together, alone } = await settleReferences(context, differing, knowledge);
  return { together, alone: [...broken, ...alone], leftover };
}

/** Nothing is left to do about a resource that should go, if it is deactivated. */
function isLeftover({ config }: SyncContext, { resource }: TargetState): boolean {
  return resource !== undefined && !(config.onDelete === 'deactivate' && isInactive(resource));
}

/**
 * Decides how references to what the target does not have are written. What is written in the same
 * Bundle will be there. What does not live on Medplum is left out. Anything else must be written
 * first, and only `sync` does that.
 */
async function settleReferences(
  context: SyncContext,
  differing: Difference[],
  knowledge: Knowledge,
): Promise<Pick<Comparison, 'together' | 'alone'>> {
  const missing = await readMissing(context, differing, knowledge).catch(() => undefined);
  if (!missing) {
    return { together: [], alone: differing.map(({ state }) => state.id) };
  }
  differing.forEach(({ state }) => missing.delete(pathOf(state)));
  const together: Difference[] = [];
  const alone: string[] = [];
  for (const difference of differing) {
    const { state, source } = difference;
    const left = referencesIn(context, source).filter((reference) => missing.has(reference));
    if (left.length === 0) {
      together.push(difference);
      continue;
    }
    const { body } = copyFor(context, state, source, (reference) => !missing.has(reference));
    if (state.resource && isSame(body, state.resource)) {
      continue; // the target has all of it that it can have
    }
    if (left.some((reference) => missing.get(reference) === 'living')) {
      alone.push(state.id);
    } else {
      together.push({ state, source, body });
    }
  }
  return { together, alone };
}

/** What some resources refer to and the target does not have, and whether it lives on Medplum. */
async function readMissing(
  context: SyncContext,
  differing: Difference[],
  { existing }: Knowledge,
): Promise<Map<string, 'living' | 'gone'>> {
  const references = new Set(differing.flatMap(({ source }) => referencesIn(context, source)));
  const idsByType = new Map<ResourceType, string[]>();
  for (const reference of [...references].filter((path) => !existing.has(path))) {
    const [type, id] = typeAndId(reference);
    idsByType.set(type, [...(idsByType.get(type) ?? []), id]);
  }
  const missing = new Map<string, 'living' | 'gone'>();
  for (const [type, ids] of idsByType) {
    const states = await readTargets(context, type, ids, '&_elements=id');
    states.forEach((state) => existing.add(pathOf(state)));
    const absent = ids.filter((id) => !states.has(id));
    const sources = await readMany(context, type, absent);
    for (const id of absent) {
      missing.set(`${type}/${id}`, isWanted(context, sources.get(id)) ? 'living' : 'gone');
    }
  }
  return missing;
}

/**
 * Writes what differs in one request, each PUT behind its own fence: as a transaction, which is
 * three times as fast as single PUTs (HAPI 8.8), or, if one of them makes that fail, as a batch, in
 * which each counts for itself.
 *
 * @returns The ids that were not written, or whose source changed in the meantime.
 */
async function writeAll(
  context: SyncContext,
  type: SyncedType,
  writes: Difference[],
  { existing }: Knowledge,
): Promise<string[]> {
  const responses = await sendAll(context, writes);
  const ids = writes.map(({ state }) => state.id);
  const sources = responses
    ? await readMany(context, type, ids, '&_elements=id')
    : new Map<string, Resource>();
  const unwritten: string[] = [];
  writes.forEach(({ state, source }, index) => {
    const isUnchanged = sources.get(state.id)?.meta?.versionId === source.meta?.versionId;
    if (isUnchanged && isProven(responses?.[index], state)) {
      existing.add(pathOf(state));
    } else {
      unwritten.push(state.id);
    }
  });
  return unwritten;
}

/** Undefined if neither a transaction nor a batch was answered, perhaps because of one entry. */
async function sendAll(
  context: SyncContext,
  writes: Difference[],
): Promise<(BundleEntryResponse | undefined)[] | undefined> {
  for (const type of ['transaction', 'batch'] as const) {
    try {
      return await putAll(context, type, writes);
    } catch (error) {
      if (!(error instanceof SyncError) || isUnauthorized(error)) {
        throw error;
      }
      if (error.cause?.status === 0) {
        break; // no answer
      }
    }
  }
  return undefined;
}

function isProven(response: BundleEntryResponse | undefined, state: TargetState): boolean {
  try {
    return Boolean(provenEntry(response, state));
  } catch {
    return false;
  }
}

/** What came of a resource that was synced by itself. */
interface Outcome {
  /** Whether it was not the same before. */
  isChange: boolean;
  /** The code of the error. */
  code?: string;
}

async function syncOne(
  context: SyncContext,
  type: SyncedType,
  id: string,
  knowledge: Knowledge,
): Promise<Outcome> {
  const deadline = clock.now() + SINGLE_MS;
  if (deadline > context.deadline || isGivenUp(knowledge)) {
    return { isChange: false, code: NO_TIME };
  }
  try {
    const { action } = await sync({ ...context, deadline }, type, id);
    if (action !== 'absent' && action !== 'deleted') {
      knowledge.existing.add(`${type}/${id}`);
    }
    knowledge.outagesInARow = 0;
    return { isChange: action !== 'unchanged' && action !== 'absent' };
  } catch (error) {
    logExternalRequest(`SYNC ${type}`, id, false, error);
    await assertServersWork(context, error, knowledge);
    return { isChange: true, code: codeOfError(error) ?? 'bug' };
  }
}

/**
 * Tells whether the target does not accept the credentials (401). A 403, in contrast, may be about
 * one resource.
 *
 * @param error - Anything thrown.
 * @returns True for a 401 of the target.
 */
export function isUnauthorized(error: unknown): boolean {
  return error instanceof SyncError && error.cause?.status === 401;
}

/**
 * Ends the run if the failure is not that of one resource: a server that is down or refuses this
 * bot, a spent quota.
 */
async function assertServersWork(
  context: SyncContext,
  error: unknown,
  knowledge: Knowledge,
): Promise<void> {
  if (!(error instanceof SyncError)) {
    return;
  }
  const { code, cause } = error;
  const isOutage = code === 'unavailable' || code === 'timeout';
  knowledge.outagesInARow = isOutage ? knowledge.outagesInARow + 1 : 0;
  // An error without a failed request to the target is one of Medplum.
  const isMedplumTrouble = code === 'throttled' || (!cause && (isOutage || code === 'denied'));
  if (isUnauthorized(error) || isMedplumTrouble || (isOutage && !(await answers(context)))) {
    throw error;
  }
}

/** Whether the target answers at all, whatever it answers. */
async function answers({ target }: SyncContext): Promise<boolean> {
  try {
    await target.send(HTTP_VERBS.GET, 'metadata?_elements=fhirVersion');
    return true;
  } catch (error) {
    return isRequestFailure(error) && !isTransient(error.status);
  }
}
