// Many resources of one type at once. It is a faster way to the same end as `sync`, which does what
// a batch cannot.
import type { BundleEntryResponse, Resource } from '@medplum/fhirtypes';
import { logExternalRequest } from '../http-helpers.ts';
import { HTTP_VERBS, isRequestFailure, isTransient } from '../http-request.ts';
import { clock } from '../retry.ts';
import { isSame } from './compare.ts';
import { isInactive } from './delete.ts';
import { codeOfError, SyncError } from './errors.ts';
import { referencesOf } from './rules.ts';
import { readMany } from './source.ts';
import { sync } from './sync.ts';
import { readTargets } from './target.ts';
import type { SyncContext, TargetState } from './target.ts';
import type { SyncedType } from './types.ts';
import { copyFor, isInScope, postBatch, postTransaction, provenEntry, sourceUrl } from './write.ts';
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
  /** There was no time for them: the next run looks at them. */
  postponed: number;
  /** Could not be synced. */
  failed: number;
}

/** What one batch found and did. */
export interface BatchResult {
  counts: Counts;
  /** The code of the error for each id that could not be synced. */
  failed: Map<string, string>;
  /** Ids that there was no time for. */
  postponed: string[];
}

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

/** One resource may take so long by itself; in the meantime, others wait. */
const SINGLE_MS = 5_000;

const MOST_OUTAGES_IN_A_ROW = 20;

/**
 * Compares some resources of one type on both sides, and syncs those that differ.
 *
 * The order is that of `sync`: read the targets, read the sources, write behind the fence, read the
 * versions again. What needs more than a PUT, or whose PUT was refused, is left to `sync`, each for
 * itself: whatever is wrong with one of them (a refusal, a 5xx, a bug) is that one's failure.
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
  const states = await readAllTargets(context, type, ids, dryRun);
  if (!states) {
    const singles = await syncEach(context, type, ids, knowledge);
    return resultOf(ids, { differing: singles.changed, leftover: 0 }, singles);
  }
  const sources = await readMany(context, type, ids);
  const comparison = await compareAll(context, type, ids, states, sources, knowledge);
  const { differing, leftover, unsettled } = comparison;
  if (dryRun) {
    const none = { changed: 0, failed: new Map<string, string>(), postponed: [] };
    return resultOf(
      ids,
      { differing: differing.length + unsettled.length, leftover: leftover.length },
      none,
    );
  }
  const unwritten =
    differing.length > 0 ? await writeMany(context, type, differing, knowledge) : [];
  const written = differing.length - unwritten.length;
  const singles = await syncEach(context, type, [...unwritten, ...unsettled], knowledge);
  const removed = await syncEach(context, type, leftover, knowledge);
  return resultOf(
    ids,
    { differing: written + singles.changed + singles.failed.size, leftover: leftover.length },
    {
      changed: 0,
      failed: new Map([...singles.failed, ...removed.failed]),
      postponed: [...singles.postponed, ...removed.postponed],
    },
  );
}

function resultOf(
  ids: string[],
  found: { differing: number; leftover: number },
  singles: Singles,
): BatchResult {
  const unreadable = [...singles.failed]
    .filter(([, code]) => code === 'not-found')
    .map(([id]) => id);
  unreadable.forEach((id) => singles.failed.delete(id));
  const { failed, postponed } = singles;
  const counts = {
    checked: ids.length,
    ...found,
    unreadable: unreadable.length,
    postponed: postponed.length,
    failed: failed.size,
  };
  return { counts, failed, postponed };
}

/**
 * Undefined if the search fails for a reason that may lie in one of the resources: then each is
 * looked at by itself.
 */
async function readAllTargets(
  context: SyncContext,
  type: SyncedType,
  ids: string[],
  dryRun: boolean,
): Promise<Map<string, TargetState> | undefined> {
  try {
    return await readTargets(context, type, ids);
  } catch (error) {
    if (dryRun || isUnauthorized(error)) {
      throw error;
    }
    return undefined;
  }
}

/** A resource that is to be written, with the source that its copy was made of. */
interface Difference extends PlannedWrite {
  source: Resource;
}

interface Comparison {
  /** What a PUT can bring up to date. */
  differing: Difference[];
  /** Ids of what is on the target and should not be. */
  leftover: string[];
  /** Ids of what differs, and refers to something that must be written with it. */
  unsettled: string[];
}

async function compareAll(
  context: SyncContext,
  type: SyncedType,
  ids: string[],
  states: Map<string, TargetState>,
  sources: Map<string, Resource>,
  knowledge: Knowledge,
): Promise<Comparison> {
  const leftover: string[] = [];
  const candidates: Difference[] = [];
  const broken: string[] = [];
  for (const id of ids) {
    const state = states.get(id) ?? { type, id, version: '0', resource: undefined };
    const source = sources.get(id);
    try {
      if (!source || !isInScope(context, source)) {
        if (state.resource && !isFinallyInactive(context, state.resource)) {
          leftover.push(id);
        }
        continue;
      }
      const copy = copyFor(context, state, source, () => true);
      if (state.resource && isSame(copy.body, state.resource)) {
        knowledge.existing.add(`${type}/${id}`);
      } else {
        candidates.push({ state, source, copy });
      }
    } catch {
      // a bug that this resource brings to light: `sync` meets it again, and reports it
      broken.push(id);
    }
  }
  const settled = await settleReferences(context, type, candidates, knowledge);
  return { leftover, differing: settled.differing, unsettled: [...broken, ...settled.unsettled] };
}

/** Nothing is left to do about a resource that should go, if it is deactivated. */
function isFinallyInactive({ config }: SyncContext, resource: Resource): boolean {
  return config.onDelete === 'deactivate' && isInactive(resource);
}

/**
 * Decides for each candidate how its references are written. What the target does not have and what
 * does not live on Medplum is left out. What lives on Medplum is written with the resource: here,
 * if it is in the same batch.
 */
async function settleReferences(
  context: SyncContext,
  type: SyncedType,
  candidates: Difference[],
  knowledge: Knowledge,
): Promise<Pick<Comparison, 'differing' | 'unsettled'>> {
  const differing: Difference[] = [];
  const unsettled: string[] = [];
  const missing = await missingReferences(context, candidates, knowledge);
  if (!missing) {
    return { differing, unsettled: candidates.map(({ state }) => state.id) };
  }
  const inThisBatch = new Set(candidates.map(({ state }) => `${type}/${state.id}`));
  for (const candidate of candidates) {
    const { state, source } = candidate;
    const own = referencesOf(source, context.config, sourceUrl(context)).filter((found) =>
      missing.has(found),
    );
    if (own.every((reference) => inThisBatch.has(reference))) {
      differing.push(candidate);
      continue;
    }
    const reduced = copyFor(
      context,
      state,
      source,
      (found) => !missing.has(found) || inThisBatch.has(found),
    );
    if (state.resource && isSame(reduced.body, state.resource)) {
      continue; // the target has all of it that it can have
    }
    if (
      own.some((reference) => missing.get(reference) === 'living' && !inThisBatch.has(reference))
    ) {
      unsettled.push(state.id);
    } else {
      differing.push({ state, source, copy: reduced });
    }
  }
  return { differing, unsettled };
}

/**
 * What the candidates refer to and the target does not have, and whether it lives on Medplum.
 * Undefined if the search fails for a reason that may lie in one of the resources.
 */
async function missingReferences(
  context: SyncContext,
  candidates: Difference[],
  { existing }: Knowledge,
): Promise<Map<string, 'living' | 'gone'> | undefined> {
  const references = candidates.flatMap(({ source }) =>
    referencesOf(source, context.config, sourceUrl(context)),
  );
  const unknown = [...new Set(references)].filter((reference) => !existing.has(reference));
  const missing = new Map<string, 'living' | 'gone'>();
  for (const type of new Set(unknown.map((reference) => reference.split('/')[0] as SyncedType))) {
    const ids = unknown
      .filter((reference) => reference.startsWith(`${type}/`))
      .map((found) => found.split('/')[1] ?? '');
    const states = await readTargets(context, type, ids, '_elements=id').catch(() => undefined);
    if (!states) {
      return undefined;
    }
    const absent = ids.filter((id) => !states.has(id));
    const sources =
      absent.length > 0 ? await readMany(context, type, absent) : new Map<string, Resource>();
    ids.filter((id) => states.has(id)).forEach((id) => existing.add(`${type}/${id}`));
    for (const id of absent) {
      const source = sources.get(id);
      missing.set(`${type}/${id}`, source && isInScope(context, source) ? 'living' : 'gone');
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
async function writeMany(
  context: SyncContext,
  type: SyncedType,
  writes: Difference[],
  { existing }: Knowledge,
): Promise<string[]> {
  const ids = writes.map(({ state }) => state.id);
  const responses =
    (await attemptBundle(() => postTransaction(context, writes))) ??
    (await attemptBundle(() => postBatch(context, writes)));
  if (!responses || responses === 'no answer') {
    return ids;
  }
  const sources = await readMany(context, type, ids, '&_elements=id');
  const isSettled = ({ state, source }: Difference, index: number): boolean => {
    const isUnchanged = sources.get(state.id)?.meta?.versionId === source.meta?.versionId;
    return isUnchanged && isProven(responses[index], state);
  };
  const settled = writes.filter(isSettled).map(({ state }) => state.id);
  settled.forEach((id) => existing.add(`${type}/${id}`));
  return ids.filter((id) => !settled.includes(id));
}

/** Undefined if the Bundle was refused, perhaps for one of its entries. */
async function attemptBundle(
  post: () => Promise<(BundleEntryResponse | undefined)[]>,
): Promise<(BundleEntryResponse | undefined)[] | 'no answer' | undefined> {
  try {
    return await post();
  } catch (error) {
    if (!(error instanceof SyncError) || isUnauthorized(error)) {
      throw error;
    }
    return error.cause?.status === 0 ? 'no answer' : undefined;
  }
}

function isProven(response: BundleEntryResponse | undefined, state: TargetState): boolean {
  try {
    return Boolean(provenEntry(response, state));
  } catch {
    return false;
  }
}

/** What came of resources that were synced one by one. */
interface Singles {
  /** How many were not the same before. */
  changed: number;
  failed: Map<string, string>;
  postponed: string[];
}

async function syncEach(
  context: SyncContext,
  type: SyncedType,
  ids: string[],
  knowledge: Knowledge,
): Promise<Singles> {
  const result: Singles = { changed: 0, failed: new Map(), postponed: [] };
  for (const id of ids) {
    const deadline = clock.now() + SINGLE_MS;
    if (deadline > context.deadline || isGivenUp(knowledge)) {
      result.postponed.push(id);
      continue;
    }
    try {
      const { action } = await sync({ ...context, deadline }, type, id);
      result.changed += action === 'unchanged' || action === 'absent' ? 0 : 1;
      if (action !== 'absent' && action !== 'deleted') {
        knowledge.existing.add(`${type}/${id}`);
      }
      knowledge.outagesInARow = 0;
    } catch (error) {
      logExternalRequest(`SYNC ${type}`, id, false, error);
      result.failed.set(id, codeOfError(error) ?? 'bug');
      await assertServersWork(context, error, knowledge);
    }
  }
  return result;
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

/** Whether the target answers at all, whatever it answers. */
async function answers({ target }: SyncContext): Promise<boolean> {
  try {
    await target.send(HTTP_VERBS.GET, 'metadata?_elements=fhirVersion');
    return true;
  } catch (error) {
    return isRequestFailure(error) && !isTransient(error.status);
  }
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
  const isTargetTrouble = error.code === 'unavailable' || error.code === 'timeout';
  knowledge.outagesInARow = isTargetTrouble ? knowledge.outagesInARow + 1 : 0;
  const isRefused = isUnauthorized(error) || (error.code === 'denied' && error.cause === undefined);
  const isMedplumTrouble =
    error.code === 'throttled' || (isTargetTrouble && error.cause === undefined);
  if (isRefused || isMedplumTrouble || (isTargetTrouble && !(await answers(context)))) {
    throw error;
  }
}
