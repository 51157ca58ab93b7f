// Many resources of one type at once. Each takes the steps of `sync`, and the requests of a step
// are sent as one; whatever that cannot do is left to `sync`, resource by resource.
import { logExternalRequest } from '../http-helpers.ts';
import { HTTP_VERBS, isRequestFailure, isTransient } from '../http-request.ts';
import { clock } from '../retry.ts';
import { inBundle, together } from './bundle.ts';
import { isSame } from './compare.ts';
import { isInactive } from './delete.ts';
import { codeOfError, SyncError } from './errors.ts';
import { copyOf, referencesOf } from './rules.ts';
import { isWanted, readMany } from './source.ts';
import { sync } from './sync.ts';
import { pathOf, readTargets, typeAndId } from './target.ts';
import type { SyncContext, TargetState } from './target.ts';
import type { SyncedType } from './types.ts';
import { put } from './write.ts';

/**
 * What was found: `differing` is missing on the target, or different there; `leftover` is still on
 * the target, but deleted on Medplum or out of scope, or not readable.
 */
export type Found = 'same' | 'differing' | 'leftover';

/** What came of one resource. */
export interface Outcome {
  found: Found;
  /**
   * The code of the error if it could not be synced; `no-time` for what the next run must look at;
   * `not-found` for what is 404 on Medplum, and is never deleted: perhaps this bot lost the right
   * to read.
   */
  code?: string;
}

/** The code of what there was no time for. */
export const NO_TIME = 'no-time';

/** What a run has learnt from its earlier batches. */
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
 * What is equal costs two searches for all of them, what differs also a transaction. What is wrong
 * with one of them (a refusal, a 5xx, a bug) is recorded as its failure.
 *
 * @param context - What the sync works with.
 * @param type - The FHIR type.
 * @param ids - Ids on Medplum; at most 50 make a good batch.
 * @param knowledge - Shared by all batches of a run.
 * @param dryRun - Whether to compare only.
 * @returns What came of each id.
 * @throws SyncError if one of the servers is down, or refuses this bot: going on would not help.
 */
export async function syncBatch(
  context: SyncContext,
  type: SyncedType,
  ids: string[],
  knowledge: Knowledge,
  dryRun: boolean,
): Promise<Map<string, Outcome>> {
  const requests = sharedRequests(context, type, ids, knowledge.existing);
  const attempts = await Promise.all(
    ids.map((id) =>
      attemptTogether(context, requests, type, id, dryRun).catch((error: unknown) => {
        if (isServerTrouble(error) || (dryRun && error instanceof SyncError)) {
          throw error;
        }
        return DIFFERING; // `sync` says what is wrong with it
      }),
    ),
  );
  const outcomes = new Map<string, Outcome>();
  for (const [index, id] of ids.entries()) {
    const { found, isDone } = attempts[index] ?? DIFFERING;
    const isOver = isDone || dryRun;
    outcomes.set(id, isOver ? { found } : await syncAlone(context, type, id, found, knowledge));
  }
  return outcomes;
}

/** What came of a resource, and whether `sync` need not look at it by itself. */
interface Attempt {
  found: Found;
  isDone: boolean;
}

const SAME: Attempt = { found: 'same', isDone: true };
const DIFFERING: Attempt = { found: 'differing', isDone: false };

/**
 * One attempt of `sync` whose requests are sent together with those of the others: read the target,
 * read the source, write behind the fence, read the version again. It ends where a resource needs
 * more than a PUT.
 */
async function attemptTogether(
  context: SyncContext,
  requests: SharedRequests,
  type: SyncedType,
  id: string,
  dryRun: boolean,
): Promise<Attempt> {
  const states = await requests.readTargets(id);
  const state = states.get(id) ?? { type, id, version: '0', resource: undefined };
  const source = (await requests.readSources(id)).get(id);
  if (!isWanted(context, source)) {
    return isLeftover(context, state) ? { found: 'leftover', isDone: false } : SAME;
  }
  const whole = copyOf(context, source, state.resource, () => true);
  if (isSame(whole.body, state.resource)) {
    return SAME;
  }
  const references = referencesOf(context, source);
  const missing = await requests.readMissing(references);
  const { body } = copyOf(context, source, state.resource, (path) => !missing.has(path));
  if (isSame(body, state.resource)) {
    return SAME; // the target has all of it that it can have
  }
  // What lives on Medplum must be written first, and only `sync` does that.
  if (dryRun || references.some((reference) => missing.get(reference) === 'living')) {
    return DIFFERING;
  }
  await put({ target: requests.target }, state, body);
  const stored = (await requests.readVersions(id)).get(id);
  return { found: 'differing', isDone: stored?.meta?.versionId === source.meta?.versionId };
}

/** Nothing is left to do about a resource that should go, if it is deactivated. */
function isLeftover({ config }: SyncContext, { resource }: TargetState): boolean {
  return resource !== undefined && !(config.onDelete === 'deactivate' && isInactive(resource));
}

/** The requests of a batch: each is called for one resource, and answers for all. */
type SharedRequests = ReturnType<typeof sharedRequests>;

function sharedRequests(
  context: SyncContext,
  type: SyncedType,
  ids: string[],
  existing: Set<string>,
) {
  const batch = new Set(ids.map((id) => `${type}/${id}`));
  return {
    readTargets: together(async (wanted: string[]) => {
      const states = await readTargets(context, type, wanted);
      states.forEach((state) => existing.add(pathOf(state)));
      return states;
    }),
    readSources: together((wanted: string[]) => readMany(context, type, wanted)),
    readVersions: together((wanted: string[]) => readMany(context, type, wanted, '&_elements=id')),
    readMissing: together((references: string[][]) => {
      // What is written in the same Bundle will be there.
      const others = references.flat().filter((reference) => !batch.has(reference));
      return readMissing(context, others, existing);
    }),
    target: inBundle(context.target, { isAtomic: false }),
  };
}

/** What of the references the target lacks, and whether it lives on Medplum. */
async function readMissing(
  context: SyncContext,
  references: string[],
  existing: Set<string>,
): Promise<Map<string, 'living' | 'gone'>> {
  const unknown = new Set(references.filter((path) => !existing.has(path)));
  const missing = new Map<string, 'living' | 'gone'>();
  for (const type of new Set([...unknown].map((path) => typeAndId(path)[0]))) {
    const ids = [...unknown].map(typeAndId).flatMap(([of, id]) => (of === type ? id : []));
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

async function syncAlone(
  context: SyncContext,
  type: SyncedType,
  id: string,
  found: Found,
  knowledge: Knowledge,
): Promise<Outcome> {
  const deadline = clock.now() + SINGLE_MS;
  if (deadline > context.deadline || isGivenUp(knowledge)) {
    return { found: found === 'leftover' ? found : 'same', code: NO_TIME };
  }
  try {
    const { action } = await sync({ ...context, deadline }, type, id);
    knowledge.outagesInARow = 0;
    const isChange = action !== 'unchanged' && action !== 'absent';
    return { found: isChange || found === 'leftover' ? found : 'same' };
  } catch (error) {
    logExternalRequest(`SYNC ${type}`, id, false, error);
    knowledge.outagesInARow = isOutage(error) ? knowledge.outagesInARow + 1 : 0;
    if (await endsRun(context, error)) {
      throw error;
    }
    return { found, code: codeOfError(error) ?? 'bug' };
  }
}

/**
 * Tells whether an error is not about one resource or one list, so that going on would not help:
 * Medplum or the target is down, Medplum's quota is spent, or the target accepts no credentials
 * (401; a 403 may be about one resource).
 *
 * @param context - What the sync works with.
 * @param error - Anything thrown.
 * @returns True if the run should end.
 */
export async function endsRun(context: SyncContext, error: unknown): Promise<boolean> {
  return isServerTrouble(error) || (isOutage(error) && !(await answers(context)));
}

/** What endsRun can tell without asking the target. */
function isServerTrouble(error: unknown): boolean {
  if (!(error instanceof SyncError)) {
    return false;
  }
  // An error without a failed request to the target is one of Medplum.
  return error.cause ? error.cause.status === 401 : error.code === 'throttled' || isOutage(error);
}

function isOutage(error: unknown): boolean {
  return ['unavailable', 'timeout'].includes(codeOfError(error) ?? '');
}

/**
 * Whether the target answers at all, whatever it answers: a 5xx alone may be about one resource or
 * one search, and will always be.
 */
async function answers({ target }: SyncContext): Promise<boolean> {
  try {
    await target.send(HTTP_VERBS.GET, 'metadata?_elements=fhirVersion');
    return true;
  } catch (error) {
    return isRequestFailure(error) && !isTransient(error.status);
  }
}
