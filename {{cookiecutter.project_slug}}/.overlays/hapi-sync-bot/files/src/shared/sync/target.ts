// Reads the target, and proves what an answer is before it counts: nothing is written or deleted on
// a mere status.
import type { Bundle, Resource } from '@medplum/fhirtypes';
import { HTTP_VERBS, isRequestFailure } from '../http-request.ts';
import type { ExternalResponse, RequestFailure } from '../http-request.ts';
import type { SyncConfig } from './config.ts';
import type { TargetConnection } from './connection.ts';
import { SyncError, targetError } from './errors.ts';
import type { Source } from './source.ts';
import type { SyncedType } from './types.ts';

/** What a sync works with. */
export interface SyncContext extends Source {
  target: TargetConnection;
  config: SyncConfig;
}

/** What the target has of one resource. */
export interface TargetState {
  type: SyncedType;
  id: string;
  /**
   * The version that a write must replace: `0` if the resource never existed; that of its tombstone
   * if it was deleted; undefined if the target returns none, so that no write can be fenced.
   */
  version: string | undefined;
  /** The resource; undefined if it never existed, or was deleted. */
  resource: Resource | undefined;
}

/** HAPI answers searches from a cache that is up to a minute old. */
const NO_CACHE = { 'cache-control': 'no-cache' };

/**
 * Reads one resource of the target.
 *
 * @param context - What the sync works with.
 * @param type - The FHIR type.
 * @param id - The id, the same as on Medplum.
 * @returns Its version, and the resource if it exists.
 * @throws SyncError; `untrusted` if another resource, a web page or the like was answered.
 */
export async function readTarget(
  { target }: SyncContext,
  type: SyncedType,
  id: string,
): Promise<TargetState> {
  const path = `${type}/${id}`;
  try {
    const answer = await target.send<Resource>(HTTP_VERBS.GET, path, undefined, NO_CACHE);
    const resource = provenResource(answer, path);
    return { type, id, version: resource.meta?.versionId ?? answer.version, resource };
  } catch (error) {
    if (isRequestFailure(error) && error.isFhir && error.status === 404) {
      return { type, id, version: '0', resource: undefined };
    }
    if (isRequestFailure(error) && error.isFhir && error.status === 410) {
      const version =
        versionInLocation(error.location, path) ?? (await readTombstoneVersion(target, path));
      return { type, id, version, resource: undefined };
    }
    throw targetError(isRequestFailure(error) ? untrustedIfNotFhir(error, path) : error);
  }
}

/**
 * A 404 that is no FHIR answer comes from a proxy or from a wrong address: it does not prove that
 * nothing is there.
 */
function untrustedIfNotFhir(failure: RequestFailure, path: string): unknown {
  const mustBeFhir = failure.status === 404 || failure.status === 410;
  return mustBeFhir
    ? untrusted(`GET ${path}: HTTP ${failure.status} without an OperationOutcome`)
    : failure;
}

function provenResource({ body, status }: ExternalResponse<Resource>, path: string): Resource {
  if (!body || typeof body !== 'object' || status !== 200) {
    throw untrusted(`GET ${path}: HTTP ${status} without a resource`);
  }
  if (`${body.resourceType}/${body.id}` !== path) {
    throw untrusted(`GET ${path}: another resource was answered`);
  }
  return body;
}

/** A tombstone's version is in the history only, if the 410 does not name it (HAPI 8.8 does). */
async function readTombstoneVersion(
  target: TargetConnection,
  path: string,
): Promise<string | undefined> {
  try {
    const { body } = await target.send<Bundle>(
      HTTP_VERBS.GET,
      `${path}/_history?_count=1`,
      undefined,
      NO_CACHE,
    );
    const [newest] =
      body?.resourceType === 'Bundle' && body.type === 'history' ? (body.entry ?? []) : [];
    const isTombstone = newest?.request?.method === 'DELETE' && newest.request.url.startsWith(path);
    return isTombstone ? versionInEtag(newest.response?.etag) : undefined;
  } catch (error) {
    // A target without history: it cannot say the version. That is an error only if there is
    // something to write.
    if (
      isRequestFailure(error) &&
      (error.status === 501 || (error.status >= 400 && error.status < 500))
    ) {
      return undefined;
    }
    throw targetError(error);
  }
}

/**
 * Reads many resources of the target, in one search.
 *
 * @param context - What the sync works with.
 * @param type - The FHIR type.
 * @param ids - The ids, the same as on Medplum; at most some hundred.
 * @param parameters - More search parameters: `_elements=id`, if it matters only whether they
 *   exist.
 * @returns The state of each id that was found. What is missing never existed, or was deleted.
 * @throws SyncError; `untrusted` if anything but the resources that were asked for is answered.
 */
export async function readTargets(
  { target }: SyncContext,
  type: SyncedType,
  ids: string[],
  parameters = '',
): Promise<Map<string, TargetState>> {
  const states = new Map<string, TargetState>();
  const form = `_id=${ids.join('%2C')}&_count=${ids.length}${parameters && `&${parameters}`}`;
  let page = await searchTarget(target, type, { form });
  for (;;) {
    for (const resource of page.resources) {
      const id = resource.id ?? '';
      if (!ids.includes(id)) {
        throw untrusted(`Search for ${type} by id: another resource was answered`);
      }
      states.set(id, { type, id, version: resource.meta?.versionId, resource });
    }
    if (!page.next) {
      return states;
    }
    page = await searchTarget(target, type, { path: page.next });
  }
}

/** One page of a search. */
export interface SearchPage {
  /** The matches; all of the type that was asked for. */
  resources: Resource[];
  /** Where the next page is, as a path below the target's address; undefined on the last page. */
  next: string | undefined;
}

/**
 * Searches the target.
 *
 * @param target - The connection.
 * @param type - The FHIR type.
 * @param query - `path`, e.g. `Patient?_tag=…` or the `next` of an earlier page; or `form`, the
 *   parameters as a form.
 * @returns One page.
 * @throws SyncError; `untrusted` if the answer is no search result, or holds other types.
 */
export async function searchTarget(
  target: TargetConnection,
  type: SyncedType,
  query: { path: string } | { form: string },
): Promise<SearchPage> {
  try {
    const { body } =
      'path' in query
        ? await target.send<Bundle>(HTTP_VERBS.GET, query.path, undefined, NO_CACHE)
        : await target.send<Bundle>(HTTP_VERBS.POST, `${type}/_search`, query.form, {
            ...NO_CACHE,
            'content-type': 'application/x-www-form-urlencoded',
          });
    if (body?.resourceType !== 'Bundle' || body.type !== 'searchset') {
      throw untrusted(`Search for ${type}: the answer is no search result`);
    }
    const entries = (body.entry ?? []).filter(({ search }) => search?.mode !== 'outcome');
    const resources = entries.flatMap(({ resource }) => resource ?? []);
    if (resources.some((resource) => resource.resourceType !== type)) {
      throw untrusted(`Search for ${type}: other types were answered`);
    }
    return { resources, next: nextPath(body, type) };
  } catch (error) {
    throw targetError(error);
  }
}

/**
 * Reads what refers to a resource of the target: resources of any type, also such that this sync
 * did not write.
 *
 * @param context - What the sync works with.
 * @param state - The resource.
 * @returns The resources that hold a reference to it.
 * @throws SyncError; `untrusted` if the answer is no search result.
 */
export async function readReferrers(
  { target }: SyncContext,
  { type, id }: Pick<TargetState, 'type' | 'id'>,
): Promise<Resource[]> {
  const path = `${type}/${id}`;
  try {
    const query = `${type}?_id=${id}&_revinclude=*`;
    const { body } = await target.send<Bundle>(HTTP_VERBS.GET, query, undefined, NO_CACHE);
    if (body?.resourceType !== 'Bundle' || body.type !== 'searchset') {
      throw untrusted(`Search for what refers to ${path}: the answer is no search result`);
    }
    const resources = (body.entry ?? []).flatMap(({ resource }) => resource ?? []);
    return resources.filter((found) => {
      return `${found.resourceType}/${found.id}` !== path && refersTo(found, path);
    });
  } catch (error) {
    throw targetError(error);
  }
}

/**
 * Tells whether something holds a reference.
 *
 * @param value - A resource, or a part of one.
 * @param path - `Type/id`.
 * @returns True if a `reference` or a canonical in it is that path.
 */
export function refersTo(value: unknown, path: string): boolean {
  if (typeof value === 'object' && value !== null) {
    return Object.values(value).some((member) => refersTo(member, path));
  }
  return value === path;
}

/**
 * The next page below our address, whatever the server calls itself: HAPI pages at `?…`, others at
 * `Type?…`.
 */
function nextPath({ link }: Bundle, type: string): string | undefined {
  const url = link?.find(({ relation }) => relation === 'next')?.url;
  const [address = '', query] = url?.split(/\?(.*)/s) ?? [];
  if (!query) {
    return undefined;
  }
  return address.endsWith(`/${type}`) ? `${type}?${query}` : `?${query}`;
}

/**
 * Makes an error for an answer that proves nothing.
 *
 * @param message - What was asked, and what is wrong with the answer.
 * @returns The error, to throw.
 */
export function untrusted(message: string): SyncError {
  return new SyncError('untrusted', message);
}

/**
 * The version in an ETag.
 *
 * @param etag - Of a Bundle entry: `W/"3"`, or `3` (HAPI 8.8).
 * @returns The version, e.g. `3`; undefined without an ETag.
 */
export function versionInEtag(etag: string | undefined): string | undefined {
  return /[^W/"]+/.exec(etag ?? '')?.[0];
}

/**
 * The version in a location.
 *
 * @param location - E.g. `https://hapi.example.org/fhir/Patient/1/_history/3`, or without the
 *   address.
 * @param path - The resource that it must be of, e.g. `Patient/1`.
 * @returns The version; undefined if the location is of another resource, or without a version.
 */
export function versionInLocation(location: string | undefined, path: string): string | undefined {
  const [address = '', version] = location?.split('/_history/') ?? [];
  return address === path || address.endsWith(`/${path}`) ? version : undefined;
}
