// The interactions with one resource: read, create, update and delete, plain or conditional.
import type { WithId } from '@medplum/core';
import type { OperationOutcome, Resource } from '@medplum/fhirtypes';
import { FhirError, notAvailableLocally, storageOutcome } from './errors.ts';
import { qualifyMatchUrl } from './match-url.ts';
import { header, preferredReturn } from './messages.ts';
import type { FhirRequest, FhirResponse } from './messages.ts';
import { onlyMatch } from './repository.ts';
import type { Repository, WriteResult } from './repository.ts';
import { parseResource } from './resource-parser.ts';
import type { JsonObject } from './resource-parser.ts';
import { isLiving, latestVersionOf } from './resource-store.ts';
import type { ResourceRecord, Version } from './resource-store.ts';
import { applySubset, readSubset } from './subsetting.ts';

/** Content types that HAPI reads as JSON. */
const JSON_TYPES = new Set([
  'application/json',
  'application/fhir+json',
  'application/json+fhir',
  'text/json',
]);
const XML_TYPES = new Set([
  'application/xml',
  'application/fhir+xml',
  'application/xml+fhir',
  'text/xml',
]);

/**
 * Reads the body of a request.
 *
 * @throws FhirError 400 for a wrong content type or a body that is not such a resource
 */
export function parseBody(request: FhirRequest, type: string): JsonObject {
  const contentType = header(request, 'content-type') ?? '';
  const [mediaType = ''] = contentType.toLowerCase().split(/[;,]/);
  if (mediaType.trim() === '') {
    throw new FhirError(400, 'HAPI-0448: No Content-Type header was provided in the request.');
  }
  if (XML_TYPES.has(mediaType.trim())) {
    throw notAvailableLocally('XML');
  }
  if (!JSON_TYPES.has(mediaType.trim())) {
    throw new FhirError(
      400,
      `HAPI-0449: Incorrect Content-Type header value of "${contentType}" was provided in the ` +
        'request.',
    );
  }
  return parseResource(request.body, type);
}

/** Reads a resource, or one version of it. */
export function read(
  repository: Repository,
  request: FhirRequest,
  target: { type: string; id: string; version?: string | undefined },
  query: URLSearchParams,
): FhirResponse {
  const { type, id, version } = target;
  const record = repository.store.find(type, id);
  const latest = record?.versions.at(-1);
  if (!record || !latest) {
    throw new FhirError(404, `HAPI-2001: Resource ${type}/${id} is not known`);
  }
  const found = version === undefined ? latest : findVersion(record, version);
  if (!found.resource) {
    const headers = { Location: `${request.baseUrl}/${type}/${id}/_history/${found.versionId}` };
    throw new FhirError(410, `Resource was deleted at ${found.lastUpdated}`, { headers });
  }
  if (header(request, 'if-none-match') === `W/"${found.versionId}"`) {
    return { status: 304 };
  }
  const headers = versionHeaders(request, found.resource);
  const subset = readSubset(query, headers);
  return { status: 200, headers, body: applySubset(found.resource, subset) };
}

function findVersion(record: ResourceRecord, version: string): Version {
  const found = record.versions.find(({ versionId }) => String(versionId) === version);
  if (!found) {
    const number = /^\d+$/.test(version) ? '0979' : '0978';
    throw new FhirError(
      404,
      `HAPI-${number}: Version "${version}" is not valid for resource ${record.type}/${record.id}`,
    );
  }
  return found;
}

function versionHeaders(
  { baseUrl }: FhirRequest,
  { resourceType, id, meta }: WithId<Resource>,
): Record<string, string> {
  const { versionId, lastUpdated = '' } = meta ?? {};
  return {
    ETag: `W/"${versionId}"`,
    'Content-Location': `${baseUrl}/${resourceType}/${id}/_history/${versionId}`,
    'Last-Modified': new Date(lastUpdated).toUTCString(),
  };
}

/** Creates a resource, or with `If-None-Exist` returns the one that exists. */
export async function create(
  repository: Repository,
  request: FhirRequest,
  type: string,
): Promise<FhirResponse> {
  const body = parseBody(request, type);
  const condition = header(request, 'if-none-exist')?.trim() ?? '';
  const matchUrl = condition === '' ? undefined : qualifyMatchUrl(type, condition);
  const match =
    matchUrl === undefined
      ? undefined
      : onlyMatch(repository.findMatches(matchUrl), 'CREATE', matchUrl);
  await request.beforeWrite?.();
  if (match && matchUrl !== undefined) {
    repository.rememberMatch(matchUrl, match);
    const resource = latestVersionOf(match).resource!;
    const outcome = storageOutcome(
      'SUCCESSFUL_CREATE_WITH_CONDITIONAL_MATCH',
      'An existing resource matched.',
    );
    return writeResponse(request, 200, resource, outcome);
  }
  const options = { matchUrl, snapshotMode: header(request, 'x-meta-snapshot-mode') };
  const result = repository.create(body, undefined, options);
  return resultResponse(request, result);
}

/**
 * Updates a resource, or creates it.
 *
 * @param target - `id` is undefined in a conditional update, which is about what `query` finds
 */
export async function update(
  repository: Repository,
  request: FhirRequest,
  target: { type: string; id: string | undefined; version?: string | undefined },
  query: string,
): Promise<FhirResponse> {
  const { type, id } = target;
  const body = parseBody(request, type);
  if (id === undefined && query === '') {
    throw new FhirError(
      400,
      'HAPI-0418: Can not update resource, request URL must contain an ID element for update ' +
        '(PUT) operation',
    );
  }
  const snapshotMode = header(request, 'x-meta-snapshot-mode');
  if (id === undefined) {
    return conditionalUpdate(repository, request, body, {
      matchUrl: `${type}?${query}`,
      snapshotMode,
    });
  }
  assertBodyId(body, id);
  const record = repository.store.find(type, id);
  if (record) {
    assertVersion(record, target.version ?? versionOfETag(header(request, 'if-match') ?? ''));
  }
  const before = record?.versions.length;
  await request.beforeWrite?.();
  const current = repository.store.find(type, id);
  if (current?.versions.length !== before) {
    throw writeConflict(record === undefined);
  }
  const result = current
    ? repository.update(current, body, { snapshotMode })
    : repository.create(body, id, { snapshotMode, isUpdate: true });
  return resultResponse(request, result);
}

async function conditionalUpdate(
  repository: Repository,
  request: FhirRequest,
  body: JsonObject,
  options: { matchUrl: string; snapshotMode: string | undefined },
): Promise<FhirResponse> {
  const record = onlyMatch(repository.findMatches(options.matchUrl), 'UPDATE', options.matchUrl);
  const before = record?.versions.length;
  await request.beforeWrite?.();
  if (record?.versions.length !== before) {
    throw writeConflict(false);
  }
  // Where nothing matched, another request may have created a resource by now: HAPI then has two of
  // them.
  const result = record
    ? repository.update(record, body, options)
    : repository.create(body, undefined, { ...options, isUpdate: true });
  return resultResponse(request, result);
}

function assertBodyId(body: JsonObject, id: string): void {
  if (body.id === undefined) {
    throw new FhirError(
      400,
      'HAPI-0419: Can not update resource, resource body must contain an ID element for ' +
        'update (PUT) operation',
    );
  }
  if (body.id !== id) {
    throw new FhirError(
      400,
      'HAPI-0420: Can not update resource, resource body must contain an ID element which ' +
        'matches the request URL for update (PUT) operation - Resource body ID of ' +
        `"${String(body.id)}" does not match URL ID of "${id}"`,
    );
  }
}

/** @returns `1` for `W/"1"`; undefined for an empty header */
export function versionOfETag(etag: string): string | undefined {
  return etag.trim().replace(/^(W\/)?"?(.*?)"?$/, '$2') || undefined;
}

/**
 * @param version - what the client has seen; HAPI ignores it where the resource never existed
 * @throws FhirError 409 HAPI-0989 for another version than the current one, 500 HAPI-2223 for one
 *   that is not a number
 */
export function assertVersion(record: ResourceRecord, version: string | undefined): void {
  if (version === undefined) {
    return;
  }
  if (!/^\d+$/.test(version)) {
    throw new FhirError(500, `HAPI-2223: For input string: "${version}"`);
  }
  if (Number(version) !== latestVersionOf(record).versionId) {
    throw new FhirError(
      409,
      `HAPI-0550: HAPI-0989: Trying to update ${record.type}/${record.id}/_history/${version} ` +
        'but this is not the current version',
    );
  }
}

function writeConflict(isCreate: boolean): FhirError {
  const reason = isCreate
    ? '0825: The operation has failed with a client-assigned ID constraint failure'
    : '0823: The operation has failed with a version constraint failure';
  return new FhirError(
    409,
    `HAPI-0550: HAPI-${reason}. Two clients tried to write the same resource at once.`,
  );
}

function resultResponse(
  request: FhirRequest,
  { resource, created, outcome }: WriteResult,
): FhirResponse {
  return writeResponse(request, created ? 201 : 200, resource, outcome);
}

function writeResponse(
  request: FhirRequest,
  status: number,
  resource: WithId<Resource>,
  outcome: OperationOutcome,
): FhirResponse {
  const headers = versionHeaders(request, resource);
  if (request.method === 'POST') {
    headers.Location = headers['Content-Location']!;
  }
  const bodies = { minimal: undefined, representation: resource, OperationOutcome: outcome };
  return { status, headers, body: bodies[preferredReturn(request)] };
}

/**
 * Deletes a resource. `If-Match` is ignored, as on a real HAPI.
 *
 * @param target - `id` is undefined in a conditional delete, which is about what `query` finds
 */
export async function remove(
  repository: Repository,
  request: FhirRequest,
  target: { type: string; id: string | undefined },
  query: string,
): Promise<FhirResponse> {
  const { type, id } = target;
  if (id === undefined && query === '') {
    throw new FhirError(400, 'HAPI-0967: Can not perform delete, no ID provided');
  }
  const found =
    id === undefined
      ? repository.findForDelete(`${type}?${query}`)
      : repository.store.find(type, id);
  await request.beforeWrite?.();
  const outcome = found ? deleteRecord(repository, found) : nothingToDelete(type, id, query);
  if (id === undefined) {
    return { status: 200, body: outcome };
  }
  const version = found && `/_history/${latestVersionOf(found).versionId}`;
  const headers = { 'Content-Location': `${request.baseUrl}/${type}/${id}${version ?? ''}` };
  return { status: 200, headers, body: outcome };
}

function deleteRecord(repository: Repository, record: ResourceRecord): OperationOutcome {
  const [conflict] = isLiving(record) ? repository.findReferrers(record) : [];
  if (conflict) {
    throw deleteConflict(record, conflict.referrer, conflict.path);
  }
  return repository.delete(record) ? deleted() : alreadyDeleted(record);
}

/** HAPI gives this error no number, except in the entry of a batch. */
export class DeleteConflictError extends FhirError {}

/** A resource that another one refers to cannot be deleted. */
export function deleteConflict(
  target: ResourceRecord,
  referrer: ResourceRecord,
  path: string,
): DeleteConflictError {
  return new DeleteConflictError(
    409,
    `Unable to delete ${target.type}/${target.id} because at least one resource has a ` +
      'reference to this resource. ' +
      `First reference found was resource ${referrer.type}/${referrer.id} in path ${path}`,
  );
}

export function deleted(): OperationOutcome {
  return storageOutcome('SUCCESSFUL_DELETE', 'Successfully deleted 1 resource(s).');
}

export function alreadyDeleted({ type, id }: ResourceRecord): OperationOutcome {
  return storageOutcome(
    'SUCCESSFUL_DELETE_ALREADY_DELETED',
    `Not deleted, resource ${type}/${id} was already deleted.`,
  );
}

export function nothingToDelete(
  type: string,
  id: string | undefined,
  query: string,
): OperationOutcome {
  if (id !== undefined) {
    return storageOutcome(
      'SUCCESSFUL_DELETE_NOT_FOUND',
      `Not deleted, resource ${type}/${id} does not exist.`,
    );
  }
  return storageOutcome(
    'SUCCESSFUL_DELETE_NOT_FOUND',
    `Unable to find resource matching URL "${type}?${query}". Nothing has been deleted.`,
    { severity: 'warning', code: 'not-found' },
  );
}
