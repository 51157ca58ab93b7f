// The requests that the external FHIR server answers, in the manner of HAPI FHIR JPA 8.8.0: read, write, delete.
import type { WithId } from '@medplum/core';
import type { OperationOutcome, Resource } from '@medplum/fhirtypes';
import type { IncomingHttpHeaders } from 'node:http';
import type { FhirRecords, Together } from './records.ts';
import { FhirError, withKnownElements } from './resources.ts';

export interface FhirRequest {
  method: string;
  headers: IncomingHttpHeaders;
  body: string;
  /** Where the server is, for links. */
  base: string;
  /** Time that passes between looking for what is there and writing. */
  wait?: () => Promise<void>;
}

export interface Reply {
  status: number;
  headers?: Record<string, string>;
  body?: unknown;
}

/** @throws FhirError 400 for a body that is no resource of the type */
export function parseBody({ body, headers }: FhirRequest, type: string): Resource {
  const mime = headers['content-type'] ?? '';
  if (!/json/.test(mime))
    throw new FhirError(400, `HAPI-0449: Incorrect Content-Type header value of "${mime}"`);
  const wrong = (text: string): FhirError =>
    new FhirError(400, `HAPI-0450: Failed to parse request body as JSON resource: ${text}`);
  let parsed: Partial<Resource>;
  try {
    parsed = JSON.parse(body) as Partial<Resource>;
  } catch {
    throw wrong('HAPI-1861: Failed to parse JSON encoded FHIR content');
  }
  if (!body.trimStart().startsWith('{'))
    throw wrong('HAPI-1861: HAPI-1859: Content does not appear to be FHIR JSON');
  if (!parsed.resourceType) throw wrong("HAPI-1838: missing required element: 'resourceType'");
  if (parsed.resourceType !== type)
    throw wrong(`HAPI-1814: expected "${type}" but found "${parsed.resourceType}"`);
  return withKnownElements(parsed as Resource, type);
}

export function outcome(
  status: string,
  diagnostics: string,
  severity: 'information' | 'warning' = 'information',
): OperationOutcome {
  const system = 'https://hapifhir.io/fhir/CodeSystem/hapi-fhir-storage-response-code';
  const display = `${status.includes('DELETE') ? 'Delete' : 'Update'} succeeded.`;
  const code = severity === 'warning' ? 'not-found' : 'informational';
  return {
    resourceType: 'OperationOutcome',
    issue: [
      { severity, code, details: { coding: [{ system, code: status, display }] }, diagnostics },
    ],
  };
}

/** A resource with HAPI's headers; `Location` only after a POST. */
function replyWith(
  status: number,
  resource: WithId<Resource>,
  { method, headers, base }: FhirRequest,
): Reply {
  const { versionId, lastUpdated = '' } = resource.meta ?? {};
  const place = `${base}/${resource.resourceType}/${resource.id}/_history/${versionId}`;
  const written = method === 'PUT' || method === 'POST';
  return {
    status,
    headers: {
      ...{
        ETag: `W/"${versionId}"`,
        'Content-Location': place,
        'Last-Modified': new Date(lastUpdated).toUTCString(),
      },
      ...(method === 'POST' && { Location: place }),
    },
    ...(!(written && headers.prefer?.includes('return=minimal')) && { body: resource }),
  };
}

export function read(
  records: FhirRecords,
  request: FhirRequest,
  type: string,
  id: string,
  version?: string,
): Reply {
  const versions = records.store.versions(type, id);
  const found = version
    ? versions.find(({ resource }) => resource.meta?.versionId === version)
    : versions.at(-1);
  if (versions.length === 0)
    throw new FhirError(404, `HAPI-2001: Resource ${type}/${id} is not known`);
  if (!found)
    throw new FhirError(
      404,
      `HAPI-0979: Version "${version}" is not valid for resource ${type}/${id}`,
    );
  const { versionId, lastUpdated } = found.resource.meta ?? {};
  if (!found.deleted) {
    const known = request.headers['if-none-match'] === `W/"${versionId}"`;
    return known ? { status: 304 } : replyWith(200, found.resource, request);
  }
  const location = { Location: `${request.base}/${type}/${id}/_history/${versionId}` };
  throw new FhirError(410, `Resource was deleted at ${lastUpdated}`, 'processing', location);
}

export async function post(
  records: FhirRecords,
  request: FhirRequest,
  type: string,
): Promise<Reply> {
  const { id: _, ...body } = parseBody(request, type);
  const condition = request.headers['if-none-exist'] as string | undefined;
  const there =
    condition === undefined
      ? undefined
      : records.findOne(type, condition.replace(/^.*\?/, ''), 'CREATE');
  const resource = records.resolve(body) as Resource;
  records.checkReferences(resource);
  await request.wait?.();
  if (there) return replyWith(200, there, request);
  return replyWith(201, records.write(records.newId(), resource).resource, request);
}

/** @param id - absent: conditional, by the query */
export async function put(
  records: FhirRecords,
  request: FhirRequest,
  type: string,
  id: string | undefined,
  query: string,
): Promise<Reply> {
  if (id === undefined && !query)
    throw new FhirError(400, 'HAPI-0418: request URL must contain an ID element for update (PUT)');
  const { id: given, ...body } = parseBody(request, type);
  if (id !== undefined && given !== id) {
    const [number, what] = given
      ? ['0420', 'which matches the request URL']
      : ['0419', 'for update (PUT) operation'];
    throw new FhirError(
      400,
      `HAPI-${number}: Can not update resource, the body must contain an ID element ${what}`,
    );
  }
  // If-Match counts only beside an id; the id of the body does not count here at all (in a bundle it does).
  if (id !== undefined) records.checkFence(type, id, request.headers['if-match']);
  const target = id ?? records.findOne(type, query, 'UPDATE')?.id;
  const before = target === undefined ? undefined : records.latest(type, target);
  const resource = records.resolve(body) as Resource;
  if (target === undefined) records.checkSatisfies(resource, query);
  records.checkReferences(resource);
  await request.wait?.();
  if (target !== undefined && records.latest(type, target) !== before) {
    const text = before
      ? '0823: version constraint failure'
      : '0825: client-assigned ID constraint failure';
    throw new FhirError(
      409,
      `HAPI-0550: HAPI-${text}: two clients tried to write the same resource at once`,
    );
  }
  // Nothing was there when this request looked: it creates, though another may have created meanwhile.
  const whole = request.headers['x-meta-snapshot-mode'];
  const { resource: stored, status } = records.write(target ?? records.newId(), resource, whole);
  return replyWith(status, stored, request);
}

/** @param id - absent: conditional, by the query; one that restricts nothing deletes whatever single one is there */
export async function del(
  records: FhirRecords,
  request: FhirRequest,
  type: string,
  id: string | undefined,
  query: string,
): Promise<Reply> {
  if (id === undefined && !query)
    throw new FhirError(400, 'HAPI-0967: Can not perform delete, no ID provided');
  const target = id ?? records.findOne(type, query, 'DELETE')?.id;
  await request.wait?.();
  const body = deleteNow(records, type, target, query);
  if (id === undefined) return { status: 200, body };
  const version = records.latest(type, id)?.resource.meta?.versionId;
  const place = `${request.base}/${type}/${id}${version ? `/_history/${version}` : ''}`;
  return { status: 200, body, headers: { 'Content-Location': place } };
}

/** @throws FhirError 409 while another resource refers to it; `If-Match` is not looked at */
export function deleteNow(
  records: FhirRecords,
  type: string,
  id: string | undefined,
  query: string,
  together?: Together,
): OperationOutcome {
  const nothing = 'SUCCESSFUL_DELETE_NOT_FOUND';
  if (id === undefined)
    return outcome(
      nothing,
      `Unable to find resource matching URL "${type}?${query}". Nothing has been deleted.`,
      'warning',
    );
  const [version, living] = [records.latest(type, id), records.alive(type, id)];
  if (!version) return outcome(nothing, `Not deleted, resource ${type}/${id} does not exist.`);
  if (!living)
    return outcome(
      'SUCCESSFUL_DELETE_ALREADY_DELETED',
      `Not deleted, resource ${type}/${id} was already deleted.`,
    );
  records.checkUnreferenced(type, id, together);
  records.remove(living);
  return outcome('SUCCESSFUL_DELETE', 'Successfully deleted 1 resource(s). Took 1ms.');
}
