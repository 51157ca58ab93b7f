// The marks that the sync leaves on what it writes: a tag on each resource, and the source
// identifier where there is room.
import type { Coding, Identifier, Meta, Resource } from '@medplum/fhirtypes';
import { optionalSecret } from '../secrets.ts';
import type { Secrets } from '../secrets.ts';
import { rulesOf } from './types.ts';

/** What the marks depend on: a part of SyncConfig. */
interface MarkConfig {
  authority: string;
}

/**
 * What the marks of this Medplum project begin with; see SyncConfig.authority.
 *
 * @param secrets - `event.secrets`, perhaps with `HAPI_SOURCE_SYSTEM`.
 * @returns A URI.
 * @throws Error if the secret is no URI, or contains what has a meaning in FHIR searches: the marks
 *   would not be found again.
 */
export function authorityIn(secrets: Secrets): string {
  const authority = optionalSecret(secrets, 'HAPI_SOURCE_SYSTEM') ?? 'https://medplum.com';
  if (!/^[a-z][a-z0-9+.-]*:[^\s|,$\\]+$/i.test(authority)) {
    throw new Error(
      'Secret HAPI_SOURCE_SYSTEM is not an address such as https://clinic.example.org ' +
        '(or contains a space, or one of | , $ \\)',
    );
  }
  return authority;
}

/**
 * The tag on every resource that the sync wrote, also of types that have no list of identifiers.
 *
 * @param config - The configuration.
 * @returns The tag.
 */
export function syncTag({ authority }: MarkConfig): { system: string; code: string } {
  return { system: `${authority}/sync`, code: 'synced' };
}

/**
 * The system of the identifiers that hold Medplum's ids.
 *
 * @param config - The configuration.
 * @param type - The FHIR type.
 * @returns E.g. `https://medplum.com/patient-id`.
 */
export function sourceSystem({ authority }: MarkConfig, type: string): string {
  return `${authority}/${type.toLowerCase()}-id`;
}

/**
 * The meta of a copy: security labels, tags and profiles cross, and our tag is added. A label or a
 * tag without a code means nothing, and HAPI drops it.
 *
 * @param config - The configuration.
 * @param meta - The meta of the resource, as Medplum has it.
 * @returns The meta to write.
 */
export function markedMeta(config: MarkConfig, meta: Meta = {}): Meta {
  const ours = syncTag(config);
  const others = withCode(meta.tag).filter(
    ({ system, code }) => system !== ours.system || code !== ours.code,
  );
  const security = withCode(meta.security);
  return {
    ...(meta.profile?.length ? { profile: meta.profile } : {}),
    ...(security.length > 0 ? { security } : {}),
    tag: [...others, ours],
  };
}

function withCode(codings: Coding[] = []): Coding[] {
  return codings.filter(({ code }) => code !== undefined);
}

/**
 * A copy with the source identifier, if its type has a list of identifiers.
 *
 * An identifier of our system with another id comes with data that was imported again: it does not
 * cross, or the copy would look like a merged one. But what was merged on the target stays merged:
 * without the identifier of the other patient, a deletion of this one would delete the record for
 * both.
 *
 * @param config - The configuration.
 * @param copy - What is to be written.
 * @param existing - The resource as the target has it, if it is there.
 * @returns The copy with its own identifiers, the source identifier, and those that were merged.
 */
export function withSourceIdentifier(
  config: MarkConfig,
  copy: Resource,
  existing: Resource | undefined,
): Resource {
  if (rulesOf(copy.resourceType).identifier !== 'list') {
    return copy;
  }
  const system = sourceSystem(config, copy.resourceType);
  const own = identifiersOf(copy).filter((identifier) => identifier.system !== system);
  const ids = new Set([copy.id ?? '', ...(existing ? sourceIdsOf(config, existing) : [])]);
  const identifier: Identifier[] = [...own, ...[...ids].map((value) => ({ system, value }))];
  return { ...copy, identifier } as Resource;
}

/**
 * Tells whether this sync wrote a resource of the target: only then it may be deleted.
 *
 * @param config - The configuration.
 * @param resource - A resource of the target.
 * @returns True if it carries the tag, or its own source identifier (the tag may have been removed
 *   there).
 */
export function isOurs(config: MarkConfig, resource: Resource): boolean {
  return isTagged(config, resource) || sourceIdsOf(config, resource).includes(resource.id ?? '');
}

/**
 * Tells whether a resource of the target carries the tag of this sync.
 *
 * @param config - The configuration.
 * @param resource - A resource of the target.
 * @returns True if it does.
 */
export function isTagged(config: MarkConfig, { meta }: Resource): boolean {
  const { system, code } = syncTag(config);
  return meta?.tag?.some((tag) => tag.system === system && tag.code === code) ?? false;
}

/**
 * The Medplum ids that a resource of the target stands for: its own, and others if it was merged
 * there.
 *
 * @param config - The configuration.
 * @param resource - A resource of the target.
 * @returns The values of its source identifiers.
 */
export function sourceIdsOf(config: MarkConfig, resource: Resource): string[] {
  const system = sourceSystem(config, resource.resourceType);
  return identifiersOf(resource).flatMap(({ system: found, value }) =>
    found === system && value ? [value] : [],
  );
}

/** A resource's list of identifiers; empty if the type has no identifier, or a single one. */
function identifiersOf(resource: Resource): Identifier[] {
  const { identifier } = resource as { identifier?: Identifier[] };
  return Array.isArray(identifier) ? identifier : [];
}
