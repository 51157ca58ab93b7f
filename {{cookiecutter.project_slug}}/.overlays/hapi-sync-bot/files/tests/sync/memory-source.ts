// A Medplum of a few lines, for tests of the sync: resources with versions, tombstones, and the
// searches it makes.
import {
  forbidden,
  gone,
  notFound,
  OperationOutcomeError,
  preconditionFailed,
} from '@medplum/core';
import type { BotEvent, MedplumClient } from '@medplum/core';
import type { Bundle, Resource } from '@medplum/fhirtypes';

type Identified = Resource & { identifier?: { system?: string; value?: string }[] };
type Stored = Identified & {
  id: string;
  meta: { lastUpdated: string };
  deleted?: boolean;
  sequence: number;
};

export interface MemorySource {
  /** What a bot gets as `medplum`. */
  medplum: MedplumClient;
  /**
   * Creates, updates or restores; gives the resource a new version. Returns the event that Medplum
   * would send.
   */
  save: (resource: Resource & { id: string }) => Partial<BotEvent>;
  /**
   * Deletes; returns the event that Medplum would send. `stillRead`: as if a read had overlapped
   * it, so that the server's cache holds the last version again, and answers GETs until the next
   * write. Searches do not see it.
   */
  remove: (type: string, id: string, stillRead?: boolean) => Partial<BotEvent>;
  /** As `$expunge` does: no tombstone, a 404 from now on. */
  expunge: (type: string, id: string) => void;
  /**
   * Whether this client may still read: `hidden` answers 404 for everything, as a narrower
   * AccessPolicy does.
   */
  access: 'full' | 'hidden' | 'forbidden';
  /** The most entries of a search that are answered at once: 1,000, as on Medplum. */
  largestPage: number;
  /** Every request, e.g. `GET Patient/1`. */
  requests: string[];
  /** What the RateLimit header of the last answer said. */
  rateLimits: { name: string; remainingUnits: number; secondsUntilReset: number }[];
  /**
   * Runs before each request is answered: to fail it, or to change something at the worst moment.
   */
  before: (request: string) => void | Promise<void>;
  current: (type: string, id: string) => Resource | undefined;
  now: () => number;
}

/** @returns An empty source. */
export function memorySource(now: () => number = Date.now): MemorySource {
  const stored = new Map<string, Stored>();
  const cache = new Map<string, Resource | Bundle>();
  const stale = new Map<string, Resource>();
  let versions = 0;

  function write(resource: Resource & { id: string }, deleted = false): Stored {
    const meta = {
      ...resource.meta,
      versionId: `v${++versions}`,
      lastUpdated: new Date(source.now()).toISOString(),
    };
    const copy = JSON.parse(JSON.stringify(resource)) as Resource;
    const written = { ...copy, meta, deleted, sequence: versions } as Stored;
    stale.delete(`${resource.resourceType}/${resource.id}`);
    // the last written is the last in the map, and in a search
    stored.delete(`${resource.resourceType}/${resource.id}`);
    stored.set(`${resource.resourceType}/${resource.id}`, written);
    return written;
  }

  async function request(text: string): Promise<void> {
    source.requests.push(text);
    await source.before(text);
    if (source.access === 'forbidden') {
      throw new OperationOutcomeError(forbidden);
    }
  }

  function living(type: string, id: string): Stored {
    const found = stored.get(`${type}/${id}`);
    if (!found || source.access === 'hidden') {
      throw new OperationOutcomeError(notFound);
    }
    if (found.deleted) {
      throw new OperationOutcomeError(gone);
    }
    return asRead(found) as Stored;
  }

  const medplum = {
    // As MedplumClient does: without cache: 'reload' it may answer with what it read before.
    async readResource(type: string, id: string, options?: { cache?: string }) {
      await request(`GET ${type}/${id}`);
      const known = cache.get(`${type}/${id}`);
      if (options?.cache !== 'reload' && known) {
        return known;
      }
      cache.set(
        `${type}/${id}`,
        (source.access === 'full' && stale.get(`${type}/${id}`)) || living(type, id),
      );
      return cache.get(`${type}/${id}`);
    },
    async search(type: string, query: string, options?: { cache?: string }) {
      await request(`GET ${type}?${query}`);
      const known = cache.get(`${type}?${query}`);
      if (options?.cache !== 'reload' && known) {
        return known;
      }
      cache.set(`${type}?${query}`, searchPage(type, new URLSearchParams(query)));
      return cache.get(`${type}?${query}`);
    },
    async createResourceIfNoneExist(resource: Identified, query: string) {
      await request(`POST ${resource.resourceType}`);
      const found = searchPage(resource.resourceType, new URLSearchParams(query)).entry?.[0]
        ?.resource;
      return found ?? asRead(write({ ...resource, id: `created-${versions}` }));
    },
    async updateResource(
      resource: Resource & { id: string },
      options?: { headers?: Record<string, string> },
    ) {
      await request(`PUT ${resource.resourceType}/${resource.id}`);
      const version = stored.get(`${resource.resourceType}/${resource.id}`)?.meta.versionId;
      if (![undefined, `W/"${version}"`].includes(options?.headers?.['if-match'])) {
        throw new OperationOutcomeError(preconditionFailed);
      }
      return asRead(write(resource));
    },
    fhirUrl: () => new URL('https://medplum.example.org/fhir/R4'),
    rateLimitStatus: () => source.rateLimits,
  };

  function searchPage(type: string, query: URLSearchParams): Bundle {
    const since = /^ge(.+)/.exec(query.get('_lastUpdated') ?? '')?.[1] ?? '';
    const ids = query.get('_id')?.split(',');
    const [system, value] = query.get('identifier')?.split('|') ?? [];
    const after = Number(query.get('_cursor') ?? 0);
    const count = Math.min(Number(query.get('_count') ?? 20), source.largestPage);
    const found = [...stored.values()].filter(
      (resource) =>
        source.access === 'full' &&
        resource.resourceType === type &&
        Boolean(resource.deleted) === (query.get('_deleted') === 'true') &&
        resource.meta.lastUpdated >= since &&
        resource.sequence > after &&
        (!ids || ids.includes(resource.id)) &&
        (!system ||
          resource.identifier?.some((each) => each.system === system && each.value === value) ===
            true),
    );
    const page = found.slice(0, count);
    const next = new URLSearchParams(query);
    next.set('_cursor', String(page.at(-1)?.sequence));
    const link = [
      { relation: 'next' as const, url: `https://medplum.example.org/fhir/R4/${type}?${next}` },
    ];
    const entry = page.map((resource) => ({ resource: asRead(resource) }));
    return {
      resourceType: 'Bundle',
      type: 'searchset',
      entry,
      ...(found.length > count && { link }),
    };
  }

  /** A copy, without what only this source knows of it. */
  function asRead({ deleted: _deleted, sequence: _sequence, ...resource }: Stored): Resource {
    return JSON.parse(JSON.stringify(resource)) as Resource;
  }

  const source: MemorySource = {
    medplum: medplum as unknown as MedplumClient,
    save: (resource) => ({
      input: asRead(write(resource)),
      headers: { 'X-Medplum-Interaction': 'update' },
    }),
    remove: (type, id, stillRead = false) => {
      const last = stored.get(`${type}/${id}`) as Stored;
      const deletedResource = asRead(write(last, true));
      if (stillRead) {
        stale.set(`${type}/${id}`, asRead(last));
      }
      const headers = {
        'X-Medplum-Interaction': 'delete',
        'X-Medplum-Deleted-Resource': `${type}/${id}`,
      };
      return { input: { deletedResource }, headers };
    },
    expunge: (type, id) => void stored.delete(`${type}/${id}`),
    access: 'full',
    largestPage: 1_000,
    requests: [],
    rateLimits: [],
    before: () => undefined,
    current: (type, id) => {
      const found = stored.get(`${type}/${id}`);
      return found && !found.deleted ? asRead(found) : undefined;
    },
    now,
  };
  return source;
}
