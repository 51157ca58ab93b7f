// How the external FHIR server searches and tells histories, in pages, as HAPI FHIR JPA 8.8.0 does it.
import type { WithId } from '@medplum/core';
import type { Resource } from '@medplum/fhirtypes';
import { randomUUID } from 'node:crypto';
import type { FhirRequest, Reply } from './operations.ts';
import type { FhirRecords } from './records.ts';
import { FhirError } from './resources.ts';

const CACHED_FOR = 60_000;
const SUBSETTED = {
  system: 'http://terminology.hl7.org/CodeSystem/v3-ObservationValue',
  code: 'SUBSETTED',
};
/** @param type - `searchset`, `history`, … */
export const bundle = (type: string): object => ({
  resourceType: 'Bundle',
  id: randomUUID(),
  type,
});

interface Result {
  id: string;
  at: number;
  type: string;
  ids: string[];
  query: URLSearchParams;
}

/** @returns answers searches; a result stays for a minute, and the same query gets it again in that time */
export function createFhirSearch(records: FhirRecords) {
  const cache = new Map<string, Result>();
  const pages = new Map<string, Result>();

  /** Only `Cache-Control: no-cache` looks anew; it does not refresh what others get. */
  function search(request: FhirRequest, type: string, query: URLSearchParams): Reply {
    forget(cache, CACHED_FOR);
    forget(pages, 60 * CACHED_FOR);
    query.sort();
    const key = `${type}?${query}`;
    const fresh = request.headers['cache-control']?.includes('no-cache');
    const cached = fresh ? undefined : cache.get(key);
    if (cached) return answer(request, cached, 0);
    const ids = sorted(records.find(type, String(query), true), query.get('_sort')).map(
      ({ id }) => id,
    );
    const result = { id: randomUUID(), at: records.now(), type, ids, query };
    if (!fresh) cache.set(key, result);
    return answer(request, result, 0);
  }

  /** Oldest first, as a Map keeps them. */
  function forget(results: Map<string, Result>, after: number): void {
    for (const [key, { at }] of results) {
      if (records.now() - at < after) return;
      results.delete(key);
    }
  }

  function page(request: FhirRequest, id: string, offset: number): Reply {
    const result = pages.get(id);
    if (result) return answer(request, result, offset);
    throw new FhirError(410, `HAPI-2711: Search ID "${id}" does not exist and may have expired`);
  }

  function answer({ base }: FhirRequest, result: Result, offset: number): Reply {
    const { id, type, ids, query } = result;
    const count =
      query.get('_summary') === 'count' ? 0 : Math.min(Number(query.get('_count') ?? 20), 200);
    const living = ids
      .slice(offset, offset + count)
      .flatMap((one) => records.alive(type, one) ?? []);
    const entry = living.map((resource) => ({
      fullUrl: `${base}/${type}/${resource.id}`,
      resource: subset(resource, query.get('_elements')),
      search: { mode: 'match' },
    }));
    for (const resource of new Set(living.flatMap((one) => records.referring(type, one.id)))) {
      if (query.get('_revinclude') !== '*' || living.includes(resource)) continue;
      entry.push({
        fullUrl: `${base}/${resource.resourceType}/${resource.id}`,
        resource,
        search: { mode: 'include' },
      });
    }
    const more = count > 0 && offset + count < ids.length;
    const link = [{ relation: 'self', url: `${base}/${type}?${query}` }];
    if (more) {
      pages.set(id, result);
      link.push({
        relation: 'next',
        url: `${base}?_getpages=${id}&_getpagesoffset=${offset + count}&_bundletype=searchset`,
      });
    }
    // With pages still to come, HAPI often has not counted yet.
    const total = !more || query.get('_total') === 'accurate' ? { total: ids.length } : {};
    return {
      status: 200,
      body: { ...bundle('searchset'), ...total, link, ...(entry.length > 0 && { entry }) },
    };
  }

  return { search, page };
}

function sorted(found: WithId<Resource>[], rule: string | null): WithId<Resource>[] {
  const [, minus, name] = /^(-?)(_id|_lastUpdated)$/.exec(rule ?? '') ?? [];
  if (rule && !name)
    throw new FhirError(400, 'The local server sorts by _id and _lastUpdated only.');
  const key = (resource: WithId<Resource>): string =>
    name === '_id' ? resource.id : (resource.meta?.lastUpdated ?? '');
  return name ? found.toSorted((a, b) => (key(a) < key(b) ? -1 : 1) * (minus ? -1 : 1)) : found;
}

function subset(resource: WithId<Resource>, elements: string | null): object {
  if (!elements) return resource;
  const kept = ['resourceType', 'id', ...elements.split(',')];
  const meta = { ...resource.meta, tag: [...(resource.meta?.tag ?? []), SUBSETTED] };
  return {
    ...Object.fromEntries(Object.entries(resource).filter(([name]) => kept.includes(name))),
    meta,
  };
}

/** Newest first; a tombstone has no resource. */
export function history(
  records: FhirRecords,
  { base }: FhirRequest,
  type: string,
  id: string,
  query: URLSearchParams,
): Reply {
  const versions = records.store.versions(type, id).toReversed();
  if (versions.length === 0)
    throw new FhirError(404, `HAPI-2001: Resource ${type}/${id} is not known`);
  const [count, offset] = [Number(query.get('_count') ?? 20), Number(query.get('_offset') ?? 0)];
  const url = `${base}/${type}/${id}/_history`;
  const entry = versions.slice(offset, offset + count).map(({ resource, deleted }) => {
    const { versionId } = resource.meta ?? {};
    const created = versionId === '1';
    const method = deleted ? 'DELETE' : created && /^\d+$/.test(id) ? 'POST' : 'PUT';
    const response = { status: created ? '201 Created' : '200 OK', etag: `W/"${versionId}"` };
    return {
      fullUrl: `${base}/${type}/${id}`,
      ...(!deleted && { resource }),
      request: { method, url: `${type}/${id}/_history/${versionId}` },
      response,
    };
  });
  const next =
    offset + count < versions.length
      ? [{ relation: 'next', url: `${url}?_count=${count}&_offset=${offset + count}` }]
      : [];
  const link = [{ relation: 'self', url: `${url}?${query}` }, ...next];
  return { status: 200, body: { ...bundle('history'), total: versions.length, link, entry } };
}
