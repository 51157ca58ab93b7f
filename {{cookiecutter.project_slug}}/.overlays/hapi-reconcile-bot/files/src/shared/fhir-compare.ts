// Many resources at once, read only: what both sides have, and whether it is the same.
import type { Bundle, Coding, Resource, ResourceType } from '@medplum/fhirtypes';
import { isDeepStrictEqual } from 'node:util';
import { identifierToken } from './fhir-identifier.ts';
import { identifiersOf, isDuplicate, NO_CACHE, referenceThere } from './fhir-target.ts';
import type { SyncContext, Target } from './fhir-target.ts';
import { copyFor } from './fhir-write.ts';
import { HTTP_VERBS } from './http-request.ts';

/**
 * Whether a resource there is what a PUT would make it; what the server adds (version, time) does not count.
 *
 * @param context - What the sync works with.
 * @param source - As Medplum has it.
 * @param there - As the external server has it.
 * @returns True where a PUT would change nothing.
 */
export function isSame(context: SyncContext, source: Resource, there: Resource): boolean {
  const target = { url: `${there.resourceType}/${there.id}`, resource: there, duplicates: [] };
  const { body } = copyFor(context, target, source, (reference) => referenceThere(context.config, reference));
  return isDeepStrictEqual(comparable(body, context), comparable(there, context));
}

function comparable(resource: Resource, { config }: SyncContext): unknown {
  const { versionId: _version, lastUpdated: _time, source: _source, ...meta } = resource.meta ?? {};
  const byId = config.identity === 'medplum-id'; // otherwise references have other ids there
  const text = JSON.stringify(resource, (name, value: unknown) => (name === 'reference' && !byId ? undefined : value));
  // HAPI 8.8 sorts tags and labels, and shows each with the words of whoever used it first.
  const sorted = (codings: Coding[] = []): string[] => codings.map(({ system, code }) => `${system}|${code}`).sort();
  const sets = { tag: sorted(meta.tag), security: sorted(meta.security), profile: meta.profile?.toSorted() };
  return { ...(JSON.parse(text) as Resource), meta: JSON.parse(JSON.stringify({ ...meta, ...sets })) as unknown };
}

/**
 * What the external server has of many resources, in one search by source identifiers: so duplicates are found too.
 *
 * @param context - What the sync works with.
 * @param type - The FHIR type.
 * @param ids - Ids on Medplum.
 * @returns Targets by Medplum id; none for what was not found (it may still have a tombstone).
 * @throws RequestFailure.
 */
export async function lookAtMany(
  context: SyncContext,
  type: ResourceType,
  ids: string[],
): Promise<Map<string, Target>> {
  const { config, server } = context;
  const system = config.sourceSystem(type);
  const identifier = ids.map((id) => identifierToken(system, id)).join(',');
  const form = new URLSearchParams({ identifier, _count: String(ids.length * 3) }).toString();
  const headers = { ...NO_CACHE, 'content-type': 'application/x-www-form-urlencoded' };
  const { body } = await server.send<Bundle>(HTTP_VERBS.POST, `${type}/_search`, form, headers);
  const targets = new Map<string, Target>();
  const found = (body?.entry ?? []).flatMap(({ resource }) => resource ?? []);
  for (const resource of found.toSorted((a, b) => (a.id ?? '').localeCompare(b.id ?? '', 'en', { numeric: true }))) {
    for (const id of identifiersOf(resource).flatMap((one) => (one.system === system ? [one.value ?? ''] : []))) {
      const target = targets.get(id) ?? { url: `${type}/${id}`, version: '0', duplicates: [] };
      const isTheOne = config.identity === 'medplum-id' ? resource.id === id : !target.resource;
      if (isTheOne) {
        Object.assign(target, { url: `${type}/${resource.id}`, version: resource.meta?.versionId, resource });
      } else if (isDuplicate(resource, config)) {
        target.duplicates.push(resource);
      }
      targets.set(id, target);
    }
  }
  return targets;
}
