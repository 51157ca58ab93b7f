// Medplum's side of a sync: the current state of a resource, and the one thing that is written back.
import type { OperationOutcome, Resource, ResourceType } from '@medplum/fhirtypes';
import { identifiersOf } from './fhir-target.ts';
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
 * Reads the current state on Medplum, past every cache.
 *
 * @param context - What the sync works with.
 * @param type - The FHIR type.
 * @param id - The id.
 * @param deleted - Whether somebody said that it was deleted. Only then a 404 counts: to a client that lost the right
 *   to read, everything is 404, and that must never empty the external server. A 410 always counts.
 * @returns The resource; undefined where it was deleted.
 * @throws Error, as onMedplum.
 */
export async function readSource(
  context: SyncContext,
  type: ResourceType,
  id: string,
  deleted: boolean,
): Promise<Resource | undefined> {
  try {
    return await onMedplum(context, `GET ${type}/${id} from Medplum`, (signal) =>
      context.medplum.readResource(type, id, { cache: 'reload', signal }),
    );
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === 'gone' || (deleted && code === 'not-found')) {
      return undefined;
    }
    throw error;
  }
}

/**
 * Writes the external server's id back as an identifier, where it is not there yet (identity `identifier`).
 *
 * The JSON Patch tests the version itself: Medplum ignores a stale `If-Match` on PATCH, and would store it twice.
 *
 * @param context - What the sync works with.
 * @param source - The resource, as just read.
 * @param targetId - Its id on the external server.
 * @returns The version of the resource from now on.
 * @throws Error, as onMedplum; also when somebody changed the resource meanwhile.
 */
export async function writeBack(context: SyncContext, source: Resource, targetId: string): Promise<string | undefined> {
  const system = context.config.targetSystem;
  const identifiers = identifiersOf(source);
  const index = identifiers.findIndex((identifier) => identifier.system === system);
  const id = source.id;
  if (!id || identifiers[index]?.value === targetId) {
    return source.meta?.versionId;
  }
  const value = { system, value: targetId };
  const patched = await onMedplum(context, `PATCH ${source.resourceType}/${id} on Medplum`, (signal) =>
    context.medplum.patchResource(
      source.resourceType,
      id,
      [
        { op: 'test', path: '/meta/versionId', value: source.meta?.versionId },
        index >= 0
          ? { op: 'replace', path: `/identifier/${index}`, value }
          : { op: 'add', path: '/identifier', value: [...identifiers, value] },
      ],
      { signal },
    ),
  );
  return patched.meta?.versionId;
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
