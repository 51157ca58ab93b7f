// The versions of a resource, newest first. HAPI counts them once a minute at most: a history that
// was read before shows no more entries than it had then, though the newest are among them.
import type { BundleEntry } from '@medplum/fhirtypes';
import { randomUUID } from 'node:crypto';
import { FhirError, notAvailableLocally } from './errors.ts';
import type { FhirRequest, FhirResponse } from './messages.ts';
import type { Repository } from './repository.ts';
import type { ResourceRecord, Version } from './resource-store.ts';
import { applySubset, readSubset, subsettedBundleMeta } from './subsetting.ts';

const COUNTED_MS = 60_000;
const DEFAULT_COUNT = 20;

export class HistoryService {
  private readonly repository: Repository;
  private readonly counts = new Map<ResourceRecord, { at: number; total: number }>();

  constructor(repository: Repository) {
    this.repository = repository;
  }

  /** @throws FhirError 404 HAPI-2001 for a resource that never existed */
  history(
    { baseUrl }: FhirRequest,
    type: string,
    id: string,
    query: URLSearchParams,
  ): FhirResponse {
    const record = this.repository.store.find(type, id);
    if (!record || record.versions.length === 0) {
      throw new FhirError(404, `HAPI-2001: Resource ${type}/${id} is not known`);
    }
    for (const name of ['_since', '_at']) {
      if (query.has(name)) {
        throw notAvailableLocally(`The parameter ${name} of a history`);
      }
    }
    const total = this.count(record);
    const subset = readSubset(query);
    const count = readNumber(query.get('_count')) ?? DEFAULT_COUNT;
    const offset = readNumber(query.get('_offset')) ?? 0;
    const isCountOnly = count === 0 || subset.summary === 'count';
    const lastUpdated = this.repository.timestamp();
    const isSubsetted = isCountOnly || subset.summary === 'true';
    const bundle = {
      resourceType: 'Bundle',
      id: randomUUID(),
      meta: isSubsetted ? subsettedBundleMeta(lastUpdated) : { lastUpdated },
      type: 'history',
      total,
    };
    if (isCountOnly) {
      return { status: 200, body: bundle };
    }
    const entry = newestFirst(record)
      .slice(offset, Math.min(offset + count, total))
      .map((version): BundleEntry => {
        const shown = entryOf(baseUrl, record, version);
        return shown.resource
          ? { ...shown, resource: applySubset(version.resource!, subset) }
          : shown;
      });
    const link = linksOf(`${baseUrl}/${type}/${id}/_history`, query, { total, count, offset });
    return { status: 200, body: { ...bundle, link, ...(entry.length > 0 && { entry }) } };
  }

  private count(record: ResourceRecord): number {
    const now = this.repository.now();
    const known = this.counts.get(record);
    if (known && now - known.at < COUNTED_MS) {
      return known.total;
    }
    for (const [counted, { at }] of this.counts) {
      if (now - at < COUNTED_MS) {
        break;
      }
      this.counts.delete(counted);
    }
    const total = record.versions.length;
    this.counts.set(record, { at: now, total });
    return total;
  }
}

function readNumber(text: string | null): number | undefined {
  return text !== null && /^\d+$/.test(text) ? Number(text) : undefined;
}

/** Versions that were written by one transaction come oldest first. */
function newestFirst(record: ResourceRecord): Version[] {
  return record.versions.toSorted((first, second) => second.transaction - first.transaction);
}

function entryOf(baseUrl: string, record: ResourceRecord, version: Version): BundleEntry {
  const { versionId, resource } = version;
  const path = `${record.type}/${record.id}`;
  const isFirst = version.transaction === record.versions[0]?.transaction;
  const writeMethod = isFirst ? 'POST' : 'PUT';
  const method = resource ? writeMethod : 'DELETE';
  return {
    fullUrl: `${baseUrl}/${path}`,
    ...(resource && { resource }),
    request: { method, url: `${path}/_history/${versionId}` },
    response: { status: versionId === 1 ? '201 Created' : '200 OK', etag: `W/"${versionId}"` },
  };
}

function linksOf(
  url: string,
  query: URLSearchParams,
  { total, count, offset }: { total: number; count: number; offset: number },
): { relation: string; url: string }[] {
  const text = query.toString();
  const link = [{ relation: 'self', url: text === '' ? url : `${url}?${text}` }];
  if (offset + count < total) {
    link.push({ relation: 'next', url: `${url}?_count=${count}&_offset=${offset + count}` });
  }
  if (offset > 0) {
    link.push({
      relation: 'previous',
      url: `${url}?_count=${count}&_offset=${Math.max(0, offset - count)}`,
    });
  }
  return link;
}
