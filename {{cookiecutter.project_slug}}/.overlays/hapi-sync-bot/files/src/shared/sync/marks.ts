// The marks that the sync leaves on what it writes: a tag on each resource, and the source
// identifier where there is room.
import type { Coding, Identifier, Resource } from '@medplum/fhirtypes';
import type { SyncConfig } from './config.ts';

/**
 * The tag on every resource that the sync wrote, also of types that have no list of identifiers.
 *
 * @param config - The configuration.
 * @returns The tag.
 */
export function syncTag({ authority }: SyncConfig): { system: string; code: string } {
  return { system: `${authority}/sync`, code: 'synced' };
}

/**
 * The system of the identifiers that hold Medplum's ids.
 *
 * @param config - The configuration.
 * @param type - The FHIR type.
 * @returns E.g. `https://medplum.com/patient-id`.
 */
export function sourceSystem({ authority }: SyncConfig, type: string): string {
  return `${authority}/${type.toLowerCase()}-id`;
}

/**
 * Tells whether this sync wrote a resource of the target: only then it may be deleted.
 *
 * @param config - The configuration.
 * @param resource - A resource of the target.
 * @returns True if it carries the tag, or its own source identifier (the tag may have been removed
 *   there).
 */
export function isOurs(config: SyncConfig, resource: Resource): boolean {
  const { system, code } = syncTag(config);
  const hasTag = (resource.meta?.tag ?? []).some(
    (tag: Coding) => tag.system === system && tag.code === code,
  );
  return hasTag || sourceIdsOf(config, resource).includes(resource.id ?? '');
}

/**
 * The Medplum ids that a resource of the target stands for: its own, and others if it was merged
 * there.
 *
 * @param config - The configuration.
 * @param resource - A resource of the target.
 * @returns The values of its source identifiers.
 */
export function sourceIdsOf(config: SyncConfig, resource: Resource): string[] {
  const system = sourceSystem(config, resource.resourceType);
  return identifiersOf(resource).flatMap(({ system: found, value }) =>
    found === system && value ? [value] : [],
  );
}

/**
 * A resource's list of identifiers.
 *
 * @param resource - A resource of any type.
 * @returns The list; empty if the type has no identifier, or a single one.
 */
export function identifiersOf(resource: Resource): Identifier[] {
  const { identifier } = resource as { identifier?: Identifier[] };
  return Array.isArray(identifier) ? identifier : [];
}
