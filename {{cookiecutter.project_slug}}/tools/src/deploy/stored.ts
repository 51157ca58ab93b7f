// Resources as a server returns them, and how a stored resource is compared with what is wanted.
import type { Resource } from '@medplum/fhirtypes';
import { isDeepStrictEqual } from 'node:util';

/** A resource as a server returns it. */
export type Stored<T extends Resource = Resource> = T & { id: string };

/**
 * New values by member of a resource; undefined removes the member. `meta.tag` stands for the tags, the only part of
 * `meta` that a deployment writes.
 */
export type Fields = Record<string, unknown>;

/**
 * @param existing - a resource, or undefined if there is none yet
 * @param wanted - values by member
 * @returns the wanted values that the resource does not have
 */
export function differences(existing: Resource | undefined, wanted: Fields): Fields {
  const stored: Fields = { ...existing, 'meta.tag': existing?.meta?.tag };
  return Object.fromEntries(
    Object.entries(wanted).filter(([member, value]) => !isDeepStrictEqual(stored[member], value)),
  );
}

/** A resource with these members, for a request that creates it. */
export function toResource(resourceType: Resource['resourceType'], fields: Fields): Resource {
  const { 'meta.tag': tag, ...members } = fields;
  const resource: Fields = { resourceType, ...members };
  if (tag !== undefined) {
    resource['meta'] = { tag };
  }
  return resource as unknown as Resource;
}
