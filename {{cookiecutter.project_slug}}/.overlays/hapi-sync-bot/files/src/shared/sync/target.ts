// Reads the target, and checks what each answer proves: a status alone is never enough to write or
// delete anything.
import type { MedplumClient } from '@medplum/core';
import type { Bundle, Resource, ResourceType } from '@medplum/fhirtypes';
import type { ExternalServer } from '../external-server.ts';
import { HTTP_VERBS, isRequestFailure, versionInEtag } from '../http-request.ts';
import type { ExternalResponse, RequestFailure } from '../http-request.ts';
import type { SyncConfig } from './config.ts';
import { SyncError } from './errors.ts';
import type { SyncErrorCode } from './errors.ts';

/** What a sync works with. */
export interface SyncContext {
  /** The source. */
  medplum: MedplumClient;
  target: ExternalServer;
  config: SyncConfig;
  /** When everything must be over, in milliseconds since 1970. */
  deadline: number;
}

/** What one run of `sync` works with, and what it collects in all its attempts. */
export interface RunContext extends SyncContext {
  /**
   * Collects `Type/id` of every other resource that the run sent to the target, in whichever
   * attempt: the request may still be under way, so each of them must be synced afterwards.
   */
  alsoSent: Set<string>;
}

/** What was done to a resource of the target. */
export interface Done {
  /**
   * `absent`: there was nothing to do. `merged`: kept, because the record on the target also stands
   * for another resource that lives on Medplum.
   */
  action: 'created' | 'updated' | 'unchanged' | 'deleted' | 'deactivated' | 'absent' | 'merged';
  /** The version on the target now, if something was written. */
  version?: string | undefined;
  /** How many references were left out; see copyOf. */
  leftOut?: number;
}

/** What the target has of one resource. */
export interface TargetState {
  type: ResourceType;
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
 * Sends one request to the target, once.
 *
 * @param target - The connection to the target.
 * @param method - GET, POST, PUT or DELETE.
 * @param path - Below the target's address; see ExternalServer.
 * @param body - A resource, or text that is sent as it is.
 * @param headers - Added to the FHIR headers.
 * @returns The answer; what it proves is for the caller to check.
 * @throws SyncError, with the failed request as its cause.
 */
export async function requestTarget<T>(
  target: ExternalServer,
  method: HTTP_VERBS,
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
): Promise<ExternalResponse<T>> {
  try {
    return await target.send<T>(method, path, body, headers);
  } catch (error) {
    // anything else is a bug, and stays visible as what it is
    throw isRequestFailure(error)
      ? new SyncError(codeOf(error), error.message, { cause: error })
      : error;
  }
}

function codeOf({ status, method, codes }: RequestFailure): SyncErrorCode {
  if (status === 409 || status === 412) {
    return method === HTTP_VERBS.DELETE ? 'blocked' : 'conflict';
  }
  if (status === 401 || status === 403) {
    return 'denied';
  }
  if (codes.includes('too-large')) {
    return 'untrusted';
  }
  if (codes.includes('timeout')) {
    return 'timeout';
  }
  if (status === 0 || status === 429 || status >= 500) {
    return 'unavailable';
  }
  return status < 400 ? 'untrusted' : 'refused'; // a redirect is not followed
}

/**
 * Tells whether the target answered that it does not have a resource.
 *
 * @param error - Anything thrown.
 * @returns True for 404 and 410.
 */
export function isMissing(error: unknown): error is SyncError & { cause: RequestFailure } {
  const status = error instanceof SyncError ? error.cause?.status : undefined;
  return status === 404 || status === 410;
}

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
  { target }: Pick<SyncContext, 'target'>,
  type: ResourceType,
  id: string,
): Promise<TargetState> {
  const path = `${type}/${id}`;
  try {
    const answer = await requestTarget<Resource>(target, HTTP_VERBS.GET, path, undefined, NO_CACHE);
    const state = stateOf(provenResource(answer, path));
    return { ...state, version: state.version ?? answer.version };
  } catch (error) {
    if (!isMissing(error)) {
      throw error;
    }
    const { isFhir, status, location } = error.cause;
    // Without an OperationOutcome, it comes from a proxy or a wrong address, and does not prove
    // that nothing is there.
    if (!isFhir) {
      throw untrusted(`GET ${path}: HTTP ${status} without an OperationOutcome`);
    }
    if (status === 404) {
      return { type, id, version: '0', resource: undefined };
    }
    const version = versionInLocation(location, path) ?? (await readTombstoneVersion(target, path));
    return { type, id, version, resource: undefined };
  }
}

function provenResource({ body, status }: ExternalResponse<Resource>, path: string): Resource {
  if (!body || typeof body !== 'object' || status !== 200) {
    throw untrusted(`GET ${path}: HTTP ${status} without a resource`);
  }
  if (pathOf(body) !== path) {
    throw untrusted(`GET ${path}: another resource was answered`);
  }
  return body;
}

/**
 * The state of a resource that the target answered.
 *
 * @param resource - The resource.
 * @returns Its version, and itself.
 */
export function stateOf(resource: Resource): TargetState {
  const { resourceType: type, id = '', meta } = resource;
  return { type, id, version: meta?.versionId, resource };
}

/**
 * A tombstone's version is in the history only, if the 410 does not name it (HAPI 8.8 does).
 * Undefined if the target has no history, which is an error only if there is something to write.
 */
async function readTombstoneVersion(
  target: ExternalServer,
  path: string,
): Promise<string | undefined> {
  const url = `${path}/_history?_count=1`;
  try {
    const { body } = await requestTarget<Bundle>(target, HTTP_VERBS.GET, url, undefined, NO_CACHE);
    const newest = body?.resourceType === 'Bundle' ? body.entry?.[0] : undefined;
    const { method, url: deleted = '' } = newest?.request ?? {};
    const isTombstone = method === HTTP_VERBS.DELETE && isLocationOf(deleted, path);
    return isTombstone ? versionInEtag(newest?.response?.etag) : undefined;
  } catch (error) {
    const status = error instanceof SyncError ? (error.cause?.status ?? 0) : 0;
    if (status === 501 || (status >= 400 && status < 500)) {
      return undefined;
    }
    throw error;
  }
}

/**
 * Reads many resources of the target, in one search.
 *
 * @param context - What the sync works with.
 * @param type - The FHIR type.
 * @param ids - The ids, the same as on Medplum; at most some hundred.
 * @param parameters - More search parameters: `&_elements=id`, if it matters only whether they
 *   exist.
 * @returns The state of each id that was found. What is missing never existed, or was deleted.
 * @throws SyncError; `untrusted` if anything but the resources that were asked for is answered.
 */
export async function readTargets(
  { target }: SyncContext,
  type: ResourceType,
  ids: string[],
  parameters = '',
): Promise<Map<string, TargetState>> {
  const states = new Map<string, TargetState>();
  const form = `_id=${ids.join('%2C')}&_count=${ids.length}${parameters}`;
  let page = await searchTarget(target, `${type}/_search`, form);
  for (;;) {
    for (const state of page.resources.map(stateOf)) {
      if (state.type !== type || !ids.includes(state.id)) {
        throw untrusted(`Search for ${type} by id: another resource was answered`);
      }
      states.set(state.id, state);
    }
    if (!page.next || states.size === ids.length) {
      return states;
    }
    page = await searchTarget(target, page.next);
  }
}

/** One page of a search. */
export interface SearchPage {
  resources: Resource[];
  /** The path of the next page, below the address of the target; undefined after the last one. */
  next: string | undefined;
}

/**
 * Searches the target.
 *
 * @param target - The target.
 * @param path - E.g. `Patient?_tag=…`, the `next` of an earlier page, or, with a form,
 *   `Patient/_search`.
 * @param form - The parameters, for searches that are too long for an address.
 * @returns One page.
 * @throws SyncError; `untrusted` if the answer is not a search result, or if it would never end.
 */
export async function searchTarget(
  target: ExternalServer,
  path: string,
  form?: string,
): Promise<SearchPage> {
  const [type = ''] = path.split(/[?/]/);
  const method = form === undefined ? HTTP_VERBS.GET : HTTP_VERBS.POST;
  const formHeaders = { 'content-type': 'application/x-www-form-urlencoded' };
  const headers = form === undefined ? NO_CACHE : { ...NO_CACHE, ...formHeaders };
  const { body } = await requestTarget<Bundle>(target, method, path, form, headers);
  if (body?.resourceType !== 'Bundle' || body.type !== 'searchset') {
    throw untrusted(`Search for ${type || 'the next page'}: the answer is not a search result`);
  }
  const entries = (body.entry ?? []).filter(({ search }) => search?.mode !== 'outcome');
  const resources = entries.flatMap(({ resource }) => resource ?? []);
  const next = nextPath(body, type);
  if (next === path) {
    throw untrusted(`Search for ${type || 'the next page'}: it leads to itself`);
  }
  return { resources, next };
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
  return type && address.endsWith(`/${type}`) ? `${type}?${query}` : `?${query}`;
}

/**
 * Reads what refers to a resource of the target: resources of any type, also such that this sync
 * did not write.
 *
 * @param context - What the sync works with.
 * @param path - `Type/id` of the resource.
 * @returns The resources that hold a reference to it.
 * @throws SyncError; `untrusted` if the answer is not a search result.
 */
export async function readReferrers({ target }: SyncContext, path: string): Promise<Resource[]> {
  const search = `${path.replace('/', '?_id=')}&_revinclude=*`;
  const { resources } = await searchTarget(target, search);
  return resources.filter((found) => pathOf(found) !== path && refersTo(found, path));
}

/**
 * Makes sure that resources of the target are as they were read: else whatever was refused since
 * may be accepted at the next attempt.
 *
 * @param context - What the sync works with.
 * @param states - What was read.
 * @throws SyncError; `conflict` if one of them has another version by now.
 */
export async function assertTargetUnchanged(
  context: SyncContext,
  states: TargetState[],
): Promise<void> {
  for (const state of states) {
    const { version } = await readTarget(context, state.type, state.id);
    if (version !== state.version) {
      throw new SyncError('conflict', `${pathOf(state)} changed on the target in the meantime`);
    }
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
 * The path of a resource, the same on both sides.
 *
 * @param resource - A resource, or what the target has of one.
 * @returns `Type/id`.
 */
export function pathOf(resource: Resource | Pick<TargetState, 'type' | 'id'>): string {
  const type = 'resourceType' in resource ? resource.resourceType : resource.type;
  return `${type}/${resource.id}`;
}

/**
 * The type and the id in a path.
 *
 * @param path - `Type/id`.
 * @returns Both.
 */
export function typeAndId(path: string): [type: ResourceType, id: string] {
  return path.split('/') as [ResourceType, string];
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
 * Tells whether a location is that of a resource.
 *
 * @param location - E.g. `https://hapi.example.org/fhir/Patient/1/_history/3`; perhaps without the
 *   address, or without the version.
 * @param path - `Type/id` of the resource.
 * @returns True if it is.
 */
export function isLocationOf(location: string, path: string): boolean {
  return `/${location.split('/_history/')[0]}`.endsWith(`/${path}`);
}

/**
 * The version in a location.
 *
 * @param location - See isLocationOf.
 * @param path - `Type/id` of the resource that it must be of.
 * @returns The version; undefined if the location is of another resource, or without a version.
 */
export function versionInLocation(location: string | undefined, path: string): string | undefined {
  return location && isLocationOf(location, path) ? location.split('/_history/')[1] : undefined;
}
