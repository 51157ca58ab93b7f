// The external server's side of a sync: where a resource is there, and which version of it.
import type { MedplumClient } from '@medplum/core';
import type { Bundle, Resource } from '@medplum/fhirtypes';
import type { ExternalServer } from './external-server.ts';
import { identifierQuery, identifierToken } from './fhir-identifier.ts';
import { HTTP_VERBS, isRequestFailure } from './http-request.ts';
import type { SyncConfig } from './sync-config.ts';

/** What a sync works with. */
export interface SyncContext {
  medplum: MedplumClient;
  server: ExternalServer;
  config: SyncConfig;
  /** When all must be over, in milliseconds since 1970. */
  deadline: number;
  /** Collects what was written along, because another resource refers to it, as `Type/id`. */
  along?: Set<string>;
}

/** What the external server has of a resource. */
export interface Target {
  /** Where to PUT it: `Patient/<id>`, or `Patient?identifier=…` where the server is to give it an id. */
  url: string;
  /** The fence: the version to write over, `0` where it never was; undefined where a create cannot be fenced. */
  version?: string | undefined;
  /** The resource as it is there; undefined where it is not: never was, or was deleted. */
  resource?: Resource | undefined;
  /** More resources with the same source identifier, from parallel creates, that have to go. */
  duplicates: Resource[];
}

/** HAPI answers searches from a cache that is up to a minute old. */
export const NO_CACHE = { 'cache-control': 'no-cache' };

/**
 * Looks at a resource on the external server.
 *
 * @param context - What the sync works with.
 * @param type - The FHIR type.
 * @param id - Its id on Medplum.
 * @returns What is there.
 * @throws RequestFailure.
 */
export async function lookAt({ server, config }: SyncContext, type: string, id: string): Promise<Target> {
  if (config.identity === 'identifier') {
    const query = `${type}?${identifierQuery(config.sourceSystem(type), id)}`;
    const { body } = await server.send<Bundle>(HTTP_VERBS.GET, query, undefined, NO_CACHE);
    const found = (body?.entry ?? []).flatMap((entry) => entry.resource ?? []);
    return targetAmong(found, query, config);
  }
  const url = `${type}/${id}`;
  try {
    const { body, version } = await server.send<Resource>(HTTP_VERBS.GET, url, undefined, NO_CACHE);
    return { url, version: version ?? body?.meta?.versionId, resource: body, duplicates: [] };
  } catch (error) {
    if (isRequestFailure(error) && error.status === 404) {
      return { url, version: '0', duplicates: [] };
    }
    if (isRequestFailure(error) && error.status === 410) {
      // Deleted: the fence is the version of the tombstone.
      const history = await server.send<Bundle>(HTTP_VERBS.GET, `${url}/_history?_count=1`, undefined, NO_CACHE);
      return { url, version: versionIn(history.body?.entry?.[0]?.response?.etag), duplicates: [] };
    }
    throw error;
  }
}

/** Of several that carry the identifier, every run must choose the same one: the server's lowest id. */
function targetAmong(found: Resource[], query: string, config: SyncConfig): Target {
  const [resource, ...others] = found.toSorted((a, b) =>
    (a.id ?? '').localeCompare(b.id ?? '', 'en', { numeric: true }),
  );
  const duplicates = others.filter((other) => isDuplicate(other, config));
  return resource
    ? { url: `${resource.resourceType}/${resource.id}`, version: resource.meta?.versionId, resource, duplicates }
    : { url: query, duplicates };
}

/**
 * The version in an ETag.
 *
 * @param etag - Of a Bundle entry: `W/"3"`, or `3` (HAPI 8.8).
 * @returns The version, e.g. `3`; undefined without an ETag.
 */
export function versionIn(etag: string | undefined): string | undefined {
  return /[^W/"]+/.exec(etag ?? '')?.[0];
}

/**
 * How a resource refers to another one on the external server.
 *
 * @param config - The configuration.
 * @param reference - `Type/id` on Medplum.
 * @returns The same, or a conditional reference, which the server resolves (FHIR R4, 3.1.0.7.3); undefined where the
 *   type is not synced.
 */
export function referenceThere(config: SyncConfig, reference: string): string | undefined {
  const [type = '', id = ''] = reference.split('/');
  if (!config.types.some((synced) => synced === type)) {
    return undefined;
  }
  const byId = config.identity === 'medplum-id';
  return byId ? reference : `${type}?identifier=${identifierToken(config.sourceSystem(type), id)}`;
}

/**
 * Whether a resource there stands for two of ours, because somebody merged them there. It must not go for one of them.
 *
 * @param resource - A resource of the external server.
 * @param system - The system of the source identifiers.
 * @returns True where it carries two different ones.
 */
export function isMerged(resource: Resource, system: string): boolean {
  return new Set(identifiersOf(resource).flatMap((one) => (one.system === system ? [one.value] : []))).size > 1;
}

/**
 * Whether there is nothing left to do about a resource that should go, because it is deactivated.
 *
 * @param resource - A resource of the external server.
 * @param config - The configuration.
 * @returns True where `onDelete` is `deactivate`, and `active` is false.
 */
export function isDeactivated(resource: Resource, config: SyncConfig): boolean {
  return config.onDelete === 'deactivate' && 'active' in resource && resource.active === false;
}

/**
 * Whether a further resource with the same source identifier has to go.
 *
 * @param resource - A resource of the external server.
 * @param config - The configuration.
 * @returns False where it stands for another resource too, or is deactivated.
 */
export function isDuplicate(resource: Resource, config: SyncConfig): boolean {
  return !isMerged(resource, config.sourceSystem(resource.resourceType)) && !isDeactivated(resource, config);
}

/**
 * A resource's identifiers.
 *
 * @param resource - Of any type.
 * @returns Them; none where the type has none, or a single one.
 */
export function identifiersOf(resource: Resource): { system?: string; value?: string }[] {
  const { identifier } = resource as { identifier?: { system?: string; value?: string }[] };
  return Array.isArray(identifier) ? identifier : [];
}
