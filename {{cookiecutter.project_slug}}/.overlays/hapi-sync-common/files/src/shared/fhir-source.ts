// Medplum's side of a sync: the current state of a resource.
import type { OperationOutcome, Resource, ResourceType } from '@medplum/fhirtypes';
import type { SyncContext } from './fhir-target.ts';
import { clock, withTimeout } from './retry.ts';

const REQUEST_MS = 10_000;

/** Trying again does not help against these. */
const NOT_ALLOWED = ['not-found', 'forbidden', 'unauthorized'];

/**
 * An error after which the same may succeed: `sync` begins anew.
 *
 * @param message - What happened; nothing about the patient.
 * @returns The error, to throw.
 */
export function again(message: string): Error & { again: boolean } {
  return Object.assign(new Error(message), { again: true });
}

/**
 * Reads the current state on Medplum, past the client's cache; where it matters, past the server's too.
 *
 * Medplum answers a GET from a cache, and a read that overlaps a deletion puts back there what is being deleted: it
 * reads as living for a day (tried on 5.1.26: so were 29 of 50 patients that were deleted within 50 ms of an update).
 * Searches ask the database; in a cluster perhaps a copy of it that is late, so the newer of both counts.
 *
 * @param context - What the sync works with.
 * @param type - The FHIR type.
 * @param id - The id.
 * @param deleted - Whether somebody said that it was deleted. Only then a 404 counts: to a client that lost the right
 *   to read, everything is 404, and that must never empty the external server. A 410 always counts.
 * @param sure - Whether the database is to be asked.
 * @returns The resource; undefined where it was deleted.
 * @throws Error, as onMedplum.
 */
export async function readSource(
  context: SyncContext,
  type: ResourceType,
  id: string,
  deleted: boolean,
  sure = deleted,
): Promise<Resource | undefined> {
  try {
    const cached = await onMedplum(context, `GET ${type}/${id} from Medplum`, (signal) =>
      context.medplum.readResource(type, id, { cache: 'reload', signal }),
    );
    const stored = sure ? (await readMany(context, type, [id])).get(id) : cached;
    if (stored) {
      return stored;
    }
    const tombstone = (await readMany(context, type, [id], '&_elements=id&_deleted=true')).get(id);
    if (tombstone && timeOf(tombstone) >= timeOf(cached)) {
      return undefined;
    }
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === 'gone' || (deleted && code === 'not-found')) {
      return undefined;
    }
    throw error;
  }
  throw again(`${type}/${id} is not in Medplum's database yet`);
}

/**
 * What Medplum's database has of many resources.
 *
 * @param context - What the sync works with.
 * @param type - The FHIR type.
 * @param ids - Their ids.
 * @param more - `&_elements=id` for the versions alone, `&_deleted=true` for tombstones.
 * @returns Resources by id; none for what is deleted, unknown or not readable.
 * @throws Error, as onMedplum.
 */
export async function readMany(
  context: SyncContext,
  type: ResourceType,
  ids: string[],
  more = '',
): Promise<Map<string, Resource>> {
  const query = `_id=${ids.join(',')}&_count=${ids.length}${more}`;
  const { entry = [] } = await onMedplum(context, `GET ${type} from Medplum`, (signal) =>
    context.medplum.search(type, query, { cache: 'reload', signal }),
  );
  return new Map(entry.flatMap(({ resource }) => (resource?.id ? [[resource.id, resource]] : [])));
}

function timeOf({ meta }: Resource): number {
  return Date.parse(meta?.lastUpdated ?? '');
}

/**
 * Asks Medplum for something, in time.
 *
 * @param context - What the sync works with; nothing runs beyond its deadline.
 * @param what - For the error: verb, type and id.
 * @param work - The request; hands the signal on to MedplumClient.
 * @returns What the request returned.
 * @throws Error with a code, and `again` where another try may help; of Medplum's answer nothing but the code.
 */
export async function onMedplum<T>(
  context: Pick<SyncContext, 'deadline'>,
  what: string,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  try {
    return await withTimeout(Math.max(1, Math.min(REQUEST_MS, context.deadline - clock.now())), work);
  } catch (error) {
    const { outcome } = error as { outcome?: OperationOutcome };
    const code = outcome?.id ?? outcome?.issue?.[0]?.code ?? 'no-answer';
    throw Object.assign(new Error(`${what}: ${code}`), { code, again: !NOT_ALLOWED.includes(code) });
  }
}
