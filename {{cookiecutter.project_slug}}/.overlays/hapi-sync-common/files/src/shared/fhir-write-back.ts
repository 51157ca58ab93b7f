// The one thing that a sync writes to Medplum: the id that the external server has given (identity `identifier`).
import type { Resource } from '@medplum/fhirtypes';
import { onMedplum } from './fhir-source.ts';
import { identifiersOf } from './fhir-target.ts';
import type { SyncContext } from './fhir-target.ts';

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
