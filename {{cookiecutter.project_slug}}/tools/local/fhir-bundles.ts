// What the external FHIR server answers with and takes as a Bundle: searches in pages, histories, transactions and
// batches. As HAPI FHIR JPA 8.8.0 does it.
import type { WithId } from '@medplum/core';
import type { BundleEntry, Resource } from '@medplum/fhirtypes';
import { randomUUID } from 'node:crypto';
import { deleteNow, outcome, parseBody } from './fhir-operations.ts';
import type { FhirRequest, Reply } from './fhir-operations.ts';
import type { FhirRecords, Together } from './fhir-records.ts';
import { FhirError } from './fhir-resources.ts';

const CACHED_FOR = 60_000;
const SUBSETTED = { system: 'http://terminology.hl7.org/CodeSystem/v3-ObservationValue', code: 'SUBSETTED' };
const bundle = (type: string): object => ({ resourceType: 'Bundle', id: randomUUID(), type });

/** @returns answers searches; a result stays for a minute, and the same query gets it again in that time */
export function createFhirSearch(records: FhirRecords) {
  const results = new Map<string, { at: number; type: string; ids: string[]; query: URLSearchParams; key: string }>();

  /** Only `Cache-Control: no-cache` looks anew; it does not refresh what others get. */
  function search(request: FhirRequest, type: string, query: URLSearchParams): Reply {
    const now = records.now();
    for (const [page, { at }] of results) if (now - at > CACHED_FOR) results.delete(page);
    query.sort();
    const key = `${type}?${query}`;
    const fresh = request.headers['cache-control']?.includes('no-cache');
    const [cached] = fresh ? [] : [...results].find(([, result]) => result.key === key) ?? [];
    if (cached) return page(request, cached, 0);
    const id = randomUUID();
    const found = sorted(records.find(type, String(query), true), query.get('_sort'));
    results.set(id, { at: now, type, ids: found.map((resource) => resource.id), query, key: fresh ? '' : key });
    return page(request, id, 0);
  }

  function page({ base }: FhirRequest, id: string, offset: number): Reply {
    const result = results.get(id);
    if (!result) throw new FhirError(410, `HAPI-2711: Search ID "${id}" does not exist and may have expired`);
    const { type, ids, query } = result;
    const count = query.get('_summary') === 'count' ? 0 : Math.min(Number(query.get('_count') ?? 20), 200);
    const living = ids.slice(offset, offset + count).flatMap((one) => records.alive(type, one) ?? []);
    const entry = living.map((resource) => ({
      fullUrl: `${base}/${type}/${resource.id}`,
      resource: subset(resource, query.get('_elements')),
      search: { mode: 'match' },
    }));
    const pages = `${base}?_getpages=${id}&_count=${count}&_bundletype=searchset&_getpagesoffset=`;
    const more = count > 0 && offset + count < ids.length;
    const link = [{ relation: 'self', url: `${base}/${type}?${query}` }, ...(more ? [{ relation: 'next', url: pages + (offset + count) }] : [])];
    // With pages still to come, HAPI often has not counted yet.
    const total = !more || query.get('_total') === 'accurate' ? { total: ids.length } : {};
    return { status: 200, body: { ...bundle('searchset'), ...total, link, ...(entry.length > 0 && { entry }) } };
  }

  return { search, page };
}

function sorted(found: WithId<Resource>[], rule: string | null): WithId<Resource>[] {
  const [, minus, name] = /^(-?)(_id|_lastUpdated)$/.exec(rule ?? '') ?? [];
  if (rule && !name) throw new FhirError(400, 'The local server sorts by _id and _lastUpdated only.');
  const key = (resource: WithId<Resource>): string => (name === '_id' ? resource.id : (resource.meta?.lastUpdated ?? ''));
  return name ? found.toSorted((a, b) => (key(a) < key(b) ? -1 : 1) * (minus ? -1 : 1)) : found;
}

function subset(resource: WithId<Resource>, elements: string | null): object {
  if (!elements) return resource;
  const kept = ['resourceType', 'id', ...elements.split(',')];
  const meta = { ...resource.meta, tag: [...(resource.meta?.tag ?? []), SUBSETTED] };
  return { ...Object.fromEntries(Object.entries(resource).filter(([name]) => kept.includes(name))), meta };
}

/** Newest first; a tombstone has no resource. */
export function history(records: FhirRecords, { base }: FhirRequest, type: string, id: string, query: URLSearchParams): Reply {
  const versions = records.store.versions(type, id).toReversed();
  if (versions.length === 0) throw new FhirError(404, `HAPI-2001: Resource ${type}/${id} is not known`);
  const [count, offset] = [Number(query.get('_count') ?? 20), Number(query.get('_offset') ?? 0)];
  const url = `${base}/${type}/${id}/_history`;
  const entry = versions.slice(offset, offset + count).map(({ resource, deleted }) => {
    const { versionId } = resource.meta ?? {};
    const created = versionId === '1';
    const method = deleted ? 'DELETE' : created && /^\d+$/.test(id) ? 'POST' : 'PUT';
    const response = { status: created ? '201 Created' : '200 OK', etag: `W/"${versionId}"` };
    return { fullUrl: `${base}/${type}/${id}`, ...(!deleted && { resource }), request: { method, url: `${type}/${id}/_history/${versionId}` }, response };
  });
  const next = offset + count < versions.length ? [{ relation: 'next', url: `${url}?_count=${count}&_offset=${offset + count}` }] : [];
  const link = [{ relation: 'self', url: `${url}?${query}` }, ...next];
  return { status: 200, body: { ...bundle('history'), total: versions.length, link, entry } };
}

type Send = (request: FhirRequest, url: string) => Promise<Reply>;

/** A transaction happens as a whole or not at all; each entry of a batch stands alone. `send` answers their GETs. */
export async function processBundle(records: FhirRecords, request: FhirRequest, send: Send): Promise<Reply> {
  const { type, entry = [] } = parseBody(request, 'Bundle') as { type?: string; entry?: BundleEntry[] };
  if (type !== 'transaction' && type !== 'batch') throw new FhirError(400, `HAPI-0527: Unable to process Bundle.type = ${type}`);
  await request.wait?.();
  const alone = (one: BundleEntry): Promise<object> =>
    transaction(records, request, [one], send).then(
      ([response = {}]) => response,
      (error: Partial<FhirError>) => {
        const issue = [{ severity: 'error', code: 'exception', diagnostics: error.message }];
        return { response: { status: String(error.status ?? 500), outcome: { resourceType: 'OperationOutcome', issue } } };
      },
    );
  const entries: object[] = type === 'batch' ? [] : await transaction(records, request, entry, send);
  if (type === 'batch') for (const one of entry) entries.push(await alone(one));
  const link = [{ relation: 'self', url: request.base }];
  return { status: 200, body: { ...bundle(`${type}-response`), link, ...(entries.length > 0 && { entry: entries }) } };
}

interface Step {
  method: string;
  type: string;
  query: string;
  target?: string | undefined;
  body?: Resource;
}

async function transaction(records: FhirRecords, request: FhirRequest, entries: BundleEntry[], send: Send): Promise<object[]> {
  const together: Together = { arriving: new Set(), leaving: new Set(), names: new Map() };
  const steps = entries.map((entry, index) => plan(records, entry, index, together));
  for (const step of steps) {
    if (step.method === 'DELETE' && step.target) records.checkUnreferenced(step.type, step.target, together);
    if (!step.body) continue;
    step.body = records.resolve(step.body, together.names);
    records.checkReferences(step.body, together);
  }
  // Nothing can fail from here on. The order is HAPI's, the answers' is the request's.
  const answers: object[] = [];
  for (const turn of ['DELETE', 'POST', 'PUT', 'GET']) {
    for (const [index, step] of steps.entries()) if (step.method === turn) answers[index] = await perform(records, request, step, send);
  }
  return answers;
}

/** What an entry means, looked up before anything is written. */
function plan(records: FhirRecords, entry: BundleEntry, index: number, together: Together): Step {
  const { method, url = '', ifMatch, ifNoneExist } = entry.request ?? {};
  if (!method) throw new FhirError(400, `HAPI-0529: missing or invalid HTTP Verb in Bundle.entry(${index}).request.method`);
  const [path = '', query = ''] = url.split(/\?(.*)/s);
  const [type = '', id] = path.split('/');
  const step: Step = { method, type, query };
  if (method === 'GET') return { ...step, target: url };
  if (method === 'DELETE') {
    step.target = id ?? records.findOne(type, query, 'DELETE')?.id;
    if (step.target) together.leaving.add(`${type}/${step.target}`);
    return step;
  }
  const body = entry.resource;
  if (!body || body.resourceType !== type) throw new FhirError(400, `HAPI-2006: Unable to perform ${method}, URL provided is invalid: ${url}`);
  if (method === 'POST') {
    const there = ifNoneExist ? records.findOne(type, ifNoneExist.replace(/^.*\?/, ''), 'CREATE') : undefined;
    step.target = there?.id ?? records.newId();
    if (!there) step.body = body;
  } else {
    if (!id && together.names.has(url)) throw new FhirError(400, `HAPI-2008: Request contains multiple entries with conditional URL: "${url}"`);
    const found = id ? undefined : records.findOne(type, query, 'UPDATE');
    // Here the id of the body counts: it becomes the server's, or must be what was found.
    if (found && body.id && !body.id.startsWith('urn:') && body.id !== found.id) {
      throw new FhirError(400, `HAPI-2279: Failed to UPDATE resource with match URL "${url}" because the matching resource does not match the provided ID`);
    }
    step.target = id ?? found?.id ?? body.id ?? records.newId();
    if (id) records.checkFence(type, id, ifMatch);
    else if (!found) records.checkSatisfies(body, query);
    step.body = body;
    if (!id) together.names.set(url, `${type}/${step.target}`);
  }
  together.arriving.add(`${type}/${step.target}`);
  if (entry.fullUrl) together.names.set(entry.fullUrl, `${type}/${step.target}`);
  return step;
}

async function perform(records: FhirRecords, request: FhirRequest, step: Step, send: Send): Promise<object> {
  const { method, type, target = '', query, body } = step;
  if (method === 'GET') return { resource: (await send({ ...request, method, body: '' }, `/${target}`)).body, response: { status: '200 OK' } };
  if (method === 'DELETE') {
    const done = deleteNow(records, type, step.target, query);
    return { response: { status: '204 No Content', outcome: done } };
  }
  const { status, changed } = body ? records.write(target, body) : { status: 200, changed: false };
  const { versionId, lastUpdated } = records.latest(type, target)?.resource.meta ?? {};
  const location = `${type}/${target}/_history/${versionId}`;
  const what = status === 201 ? 'SUCCESSFUL_CREATE' : `SUCCESSFUL_UPDATE${changed ? '' : '_NO_CHANGE'}`;
  const response = { status: status === 201 ? '201 Created' : '200 OK', location, etag: versionId, lastModified: lastUpdated };
  return { response: { ...response, outcome: outcome(what, `Successfully processed resource "${location}".`) } };
}
