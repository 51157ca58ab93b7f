// Resources as a server returns them, and how a stored resource is compared with what is wanted.
import type { Resource } from '@medplum/fhirtypes';
import { isDeepStrictEqual } from 'node:util';

/** A resource as a server returns it. */
export type Stored<T extends Resource = Resource> = T & { id: string };

/**
 * New values by member of a resource; undefined removes the member. `meta.tag`, `meta.profile` and
 * `meta.security` are the parts of `meta` that a deployment writes.
 */
export type Fields = Record<string, unknown>;

/**
 * @param existing - a resource, or undefined if there is none yet
 * @param wanted - values by member
 * @returns the wanted values that the resource does not have
 */
export function differences(existing: Resource | undefined, wanted: Fields): Fields {
  const stored: Fields = {
    ...existing,
    'meta.tag': existing?.meta?.tag,
    'meta.profile': existing?.meta?.profile,
    'meta.security': existing?.meta?.security,
  };
  return Object.fromEntries(
    Object.entries(wanted).filter(([member, value]) => !isDeepStrictEqual(stored[member], value)),
  );
}

/** A resource with these members, for a request that creates it. */
export function toResource(resourceType: Resource['resourceType'], fields: Fields): Resource {
  const resource: Fields = { resourceType };
  const meta: Fields = {};
  for (const [member, value] of Object.entries(fields)) {
    if (value === undefined) {
      continue;
    }
    if (member.startsWith('meta.')) {
      meta[member.slice('meta.'.length)] = value;
    } else {
      resource[member] = value;
    }
  }
  if (Object.keys(meta).length > 0) {
    resource['meta'] = meta;
  }
  return resource as unknown as Resource;
}
