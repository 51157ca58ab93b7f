// Searches the store as Medplum 5.1.26 searches its database.
import * as core from '@medplum/core';
import type { Filter, SearchRequest, WithId } from '@medplum/core';
import type { Bundle, BundleEntry, Resource, ResourceType } from '@medplum/fhirtypes';
import type { Store } from '../store.ts';
import type { Version } from '../version.ts';
import { refuse } from './conditions.ts';
import type { Condition } from './conditions.ts';
import { withElements } from './elements.ts';
import type { FilterContext } from './context.ts';
import { includedResources } from './includes.ts';
import { pageLinks, parseCursor } from './links.ts';
import type { Page } from './links.ts';
import { sorted } from './sort.ts';

const DEFAULT_COUNT = 20;
const MAX_COUNT = 1000;
const MAX_OFFSET = 10_000;

/** What a search needs to know of the server and of the caller. */
export interface SearchContext extends FilterContext {
  /** With a slash at the end. */
  baseUrl: string;
  /**
   * @returns whether the caller may find a resource of the type; undefined where all of them
   */
  visible(type: string): Condition | undefined;
  /** @returns the resource that a reference names, if the caller may read it */
  read(reference: string): WithId<Resource> | undefined;
  /** @returns a resource without what the caller must not see */
  show<T extends Resource>(resource: WithId<Resource>): WithId<T>;
}

/**
 * @param request - as @medplum/core parses it; its count and offset are set
 * @returns a searchset Bundle with links as the real server writes them
 * @throws OperationOutcomeError where the search is not possible
 */
export function search<T extends Resource>(
  context: SearchContext,
  request: SearchRequest<T>,
): Bundle<WithId<T>> {
  const page = toPage(request);
  const types = core.getSearchResourceTypes(request);
  const includes = [...(request.include ?? []), ...(request.revInclude ?? [])];
  for (const type of [...types, ...includes.map(({ resourceType }) => resourceType)]) {
    assertSearchable(context, type);
  }
  const wantsTotal = request.total === 'accurate' || request.total === 'estimate';
  const wantsEntries = page.count > 0;
  const needsMatches = wantsTotal || wantsEntries;
  const matches = needsMatches
    ? types.flatMap((type) => findVersions(context, type, request.filters ?? []))
    : [];
  const { entry, next } = wantsEntries
    ? pageEntries<T>(context, page, matches)
    : { entry: [], next: undefined };
  const url = `${context.baseUrl}fhir/R4/${request.resourceType}`;
  return {
    resourceType: 'Bundle',
    type: 'searchset',
    entry,
    total: wantsTotal ? matches.length : undefined,
    link: pageLinks(page, entry, next, url),
  } as Bundle<WithId<T>>;
}

function toPage(request: SearchRequest): Page {
  request.count = Math.min(request.count ?? DEFAULT_COUNT, MAX_COUNT);
  request.offset ??= 0;
  if (request.offset > MAX_OFFSET) {
    refuse(`Search offset exceeds maximum (got ${request.offset}, max ${MAX_OFFSET})`);
  }
  if (request.offset > 0 && request.cursor && request.count > 0) {
    refuse('Cannot use both offset and cursor');
  }
  return request as Page;
}

function assertSearchable(context: SearchContext, type: string): void {
  core.validateResourceType(type);
  if (type === 'Binary') {
    refuse('Cannot search on Binary resource type');
  }
  context.assertSearch(type);
}

function pageEntries<T extends Resource>(
  context: SearchContext,
  page: Page,
  matches: Version[],
): { entry: BundleEntry<WithId<T>>[]; next: Resource | undefined } {
  const cursor = parseCursor(page.cursor);
  const rest = sorted(matches, page)
    .map(({ resource, deleted }) => (deleted ? tombstone(resource) : resource))
    .filter(
      ({ id, meta }) =>
        !cursor || (meta!.lastUpdated! >= cursor.instant && !cursor.excludedIds.includes(id)),
    );
  const offset = Math.max(page.offset, 0);
  const found = rest.slice(offset, offset + page.count);
  const included = includedResources(page, found, {
    read: context.read,
    find: (type, filter) =>
      findVersions(context, type, [filter])
        .slice(0, MAX_COUNT)
        .map(({ resource }) => resource),
  });
  const toEntry = (mode: 'match' | 'include') => (resource: WithId<Resource>) => ({
    fullUrl: `${context.baseUrl}fhir/R4/${resource.resourceType}/${resource.id}`,
    search: { mode },
    resource: withElements(context.show<T>(resource), page),
  });
  const entry = [...found.map(toEntry('match')), ...included.map(toEntry('include'))];
  return { entry, next: rest[offset + page.count] };
}

/**
 * @returns the current versions that all filters find and the caller may see, oldest write
 *   first
 */
function findVersions(context: SearchContext, type: ResourceType, filters: Filter[]): Version[] {
  const conditions = filters.map((filter) => context.condition(type, filter));
  const visible = context.visible(type);
  if (visible) {
    conditions.push(visible);
  }
  const tombstonesToo = filters.some(({ code }) => code === '_deleted');
  const result: Version[] = [];
  for (const version of candidates(context.store, type, filters)) {
    if (version.deleted && !tombstonesToo) {
      continue;
    }
    if (conditions.every((condition) => condition(version.resource) === true)) {
      result.push(version);
    }
  }
  return result.toSorted((a, b) => a.order - b.order);
}

/**
 * By id or identifier where the search names one, so that its time does not grow with the number of
 * resources.
 */
function candidates(store: Store, type: ResourceType, filters: Filter[]): Iterable<Version> {
  const named = filters.find(
    ({ code, operator }) =>
      ['_id', 'identifier'].includes(code) && operator === core.Operator.EQUALS,
  );
  if (!named) {
    return store.all(type);
  }
  const values = core.splitSearchOnComma(named.value);
  if (named.code === '_id') {
    const ids = values.map((value) => value.split('/').at(-1)!);
    return new Set(ids.flatMap((id) => store.latest(type, id) ?? []));
  }
  return new Set(values.flatMap((value) => [...store.withIdentifier(type, value.trim())]));
}

/** All that a search tells of a deleted resource. */
function tombstone({ resourceType, id, meta }: WithId<Resource>): WithId<Resource> {
  return { resourceType, id, meta: { lastUpdated: meta!.lastUpdated } } as WithId<Resource>;
}
