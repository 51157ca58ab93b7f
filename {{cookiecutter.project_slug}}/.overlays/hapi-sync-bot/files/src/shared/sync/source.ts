// Reads the source: what Medplum holds now.
import type { OperationOutcome, Resource, ResourceType } from '@medplum/fhirtypes';
import { clock, withTimeout } from '../retry.ts';
import { codeOfError, SyncError } from './errors.ts';
import type { SyncErrorCode } from './errors.ts';
import type { SyncContext } from './target.ts';

const REQUEST_MS = 10_000;

/** How to read one resource. */
export interface ReadOptions {
  /**
   * Whether an event said that it was deleted. Only then a 404 counts as a deletion: to a client
   * that lost the right to read, every resource is 404, and that must never empty the target. A 410
   * always counts.
   */
  isDeletionKnown: boolean;
  /** Whether to ask the database, past the server's cache. */
  askDatabase: boolean;
}

/**
 * Reads the current state of a resource, past the client's cache, and on demand past the server's
 * cache.
 *
 * Medplum answers a GET from a cache, and a read that overlaps a deletion puts the deleted resource
 * back there: it reads as living for a day (5.1.26: so did 29 of 50 patients that were deleted
 * within 50 ms of an update). A search asks the database; in a cluster perhaps a replica that lags
 * behind. So the newer of the two answers counts.
 *
 * @param context - What the sync works with.
 * @param type - The FHIR type.
 * @param id - The id.
 * @param options - What is known already, and how sure the answer must be.
 * @returns The resource; undefined if it was deleted.
 * @throws SyncError; `not-found` if a 404 proves no deletion.
 */
export async function readSource(
  context: SyncContext,
  type: ResourceType,
  id: string,
  { isDeletionKnown, askDatabase }: ReadOptions,
): Promise<Resource | undefined> {
  try {
    const cached = await requestMedplum(context, `GET ${type}/${id} from Medplum`, (options) =>
      context.medplum.readResource(type, id, { ...options, cache: 'reload' }),
    );
    const stored = askDatabase ? (await readMany(context, type, [id])).get(id) : cached;
    if (stored) {
      return stored;
    }
    const tombstone = (await readMany(context, type, [id], '&_elements=id&_deleted=true')).get(id);
    if (tombstone && timeOf(tombstone) >= timeOf(cached)) {
      return undefined;
    }
  } catch (error) {
    const code = codeOfError(error);
    if (code === 'gone' || (isDeletionKnown && code === 'not-found')) {
      return undefined;
    }
    throw error;
  }
  throw new SyncError('conflict', `${type}/${id} is not in Medplum's database yet`);
}

function timeOf({ meta }: Resource): number {
  return Date.parse(meta?.lastUpdated ?? '');
}

/**
 * Reads many resources from Medplum's database, in one search.
 *
 * @param context - What the sync works with.
 * @param type - The FHIR type.
 * @param ids - Their ids.
 * @param query - More search parameters: `&_elements=id` for the versions alone, `&_deleted=true`
 *   for tombstones.
 * @returns Resources by id; what is deleted, unknown or not readable is missing.
 * @throws SyncError.
 */
export async function readMany(
  context: SyncContext,
  type: ResourceType,
  ids: string[],
  query = '',
): Promise<Map<string, Resource>> {
  if (ids.length === 0) {
    return new Map();
  }
  const search = `_id=${ids.join(',')}&_count=${ids.length}${query}`;
  const { entry = [] } = await requestMedplum(context, `GET ${type} from Medplum`, (options) =>
    context.medplum.search(type, search, { ...options, cache: 'reload' }),
  );
  const found = entry.flatMap(({ resource }) => resource ?? []);
  return new Map(found.map((resource) => [resource.id ?? '', resource]));
}

/**
 * Whether a resource belongs on the target.
 *
 * @param context - What the sync works with.
 * @param source - The resource as Medplum has it; undefined if it was deleted.
 * @returns False if it was deleted, or if the configuration leaves it out.
 */
export function isWanted(
  { config }: SyncContext,
  source: Resource | undefined,
): source is Resource {
  return source !== undefined && (config.inScope?.(source) ?? true);
}

/** Request options that each call of MedplumClient must pass on. */
export interface ClientOptions {
  signal: AbortSignal;
  /**
   * None by the client itself: while the quota is spent, every request it repeats would only
   * prolong the block.
   */
  maxRetries: 0;
}

/**
 * Sends a request to Medplum, with a time limit.
 *
 * @param context - Only its deadline is used.
 * @param what - For the error: verb, type and id.
 * @param work - The request; passes the options on to MedplumClient.
 * @returns What the request returned.
 * @throws SyncError. Of Medplum's answer, its message holds only the code.
 */
export async function requestMedplum<T>(
  { deadline }: Pick<SyncContext, 'deadline'>,
  what: string,
  work: (options: ClientOptions) => Promise<T>,
): Promise<T> {
  const timeoutMs = Math.max(1, Math.min(REQUEST_MS, deadline - clock.now()));
  let timedOut = false;
  try {
    return await withTimeout(timeoutMs, async (signal) => {
      try {
        return await work({ signal, maxRetries: 0 });
      } catch (error) {
        timedOut = signal.aborted;
        throw error;
      }
    });
  } catch (error) {
    // Not `instanceof OperationOutcomeError`: on vmcontext, the client's errors belong to another
    // realm.
    const { outcome } = error as { outcome?: OperationOutcome };
    const medplumCode = outcome?.id ?? outcome?.issue?.[0]?.code ?? 'no-answer';
    const code = timedOut ? 'timeout' : (CODES[medplumCode] ?? 'unavailable');
    const waitMs = code === 'throttled' ? throttledFor(outcome) : undefined;
    throw new SyncError(code, `${what}: ${medplumCode}`, { waitMs });
  }
}

/** What Medplum calls it, and what the sync calls it. */
const CODES: Record<string, SyncErrorCode> = {
  'not-found': 'not-found',
  gone: 'gone',
  forbidden: 'denied',
  unauthorized: 'denied',
  'precondition-failed': 'conflict',
  conflict: 'conflict',
  'too-many-requests': 'throttled',
  throttled: 'throttled',
};

const RATE_LIMIT_RESET = 'https://medplum.com/fhir/StructureDefinition/rate-limit-reset';

/** Medplum counts the quota by the minute. */
const LONGEST_BLOCK_MS = 60_000;

/**
 * How long Medplum's quota stays spent: in the diagnostics (5.1), or in an extension, in seconds
 * (since 5.2).
 */
function throttledFor(outcome: OperationOutcome | undefined): number {
  const seconds = outcome?.extension?.find(({ url }) => url === RATE_LIMIT_RESET)?.valueUnsignedInt;
  if (seconds !== undefined) {
    return seconds * 1000;
  }
  try {
    const { _msBeforeNext: ms } = JSON.parse(outcome?.issue?.[0]?.diagnostics ?? '') as {
      _msBeforeNext?: unknown;
    };
    return typeof ms === 'number' ? ms : LONGEST_BLOCK_MS;
  } catch {
    return LONGEST_BLOCK_MS;
  }
}
