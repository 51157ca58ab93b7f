// Searches: reading their parameters, sorting, including what results refer to, and pages.
//
// HAPI keeps the result of a search for a minute and answers the same search from it.
// `Cache-Control: no-cache` looks again, without renewing what others get.
import type { WithId } from '@medplum/core';
import type { BundleEntry, Resource } from '@medplum/fhirtypes';
import { randomUUID } from 'node:crypto';
import { isResourceType, searchParametersOf } from './definitions.ts';
import { FhirError, RoutingError } from './errors.ts';
import { header } from './messages.ts';
import type { FhirRequest, FhirResponse } from './messages.ts';
import type { Repository } from './repository.ts';
import { latestVersionOf, livingResourceOf } from './resource-store.ts';
import type { ResourceRecord } from './resource-store.ts';
import { isHas, readCriterion } from './search-criteria.ts';
import type { SearchCriterion } from './search-criteria.ts';
import { assertBounds, readDateValue } from './search-dates.ts';
import type { DateValue } from './search-dates.ts';
import { findRecords, referencesIn } from './search-matching.ts';
import { sortRecords } from './search-sorting.ts';
import { applySubset, readSubset, subsettedBundleMeta } from './subsetting.ts';

const CACHED_MS = 60_000;
const PAGES_KEPT_MS = 60 * 60_000;
const DEFAULT_COUNT = 20;
/**
 * HAPI's starter has no limit unless one is set; here pages stay small, and clients must follow
 * `next`.
 */
const MAX_COUNT = 200;
/** HAPI looks for so many results first, and knows the total only if there are no more. */
const FIRST_FETCH = 13;

/** A finished search; its pages are served from it. */
interface SearchResult {
  id: string;
  at: number;
  type: string;
  records: ResourceRecord[];
  query: URLSearchParams;
}

export class SearchService {
  private readonly repository: Repository;
  private readonly cached = new Map<string, SearchResult>();
  private readonly pages = new Map<string, SearchResult>();

  constructor(repository: Repository) {
    this.repository = repository;
  }

  /**
   * Answers a search with the first page of its results.
   *
   * @param query - the parameters, from the URL or from the body of `_search`
   * @throws FhirError 400 for a parameter or a value that is not valid
   */
  search(request: FhirRequest, type: string, query: URLSearchParams): FhirResponse {
    this.forget(this.cached, CACHED_MS);
    this.forget(this.pages, PAGES_KEPT_MS);
    refuseUnavailable(query);
    const options = readResultOptions(query);
    query.sort();
    const key = `${type}?${query}`;
    const isFresh = header(request, 'cache-control')?.includes('no-cache');
    const known = isFresh ? undefined : this.cached.get(key);
    if (known) {
      return this.page(request, known, options.offset ?? 0, options);
    }
    const found = findRecords(this.repository.store, type, readCriteria(type, query));
    const records = sortRecords(found, type, query.get('_sort') ?? '');
    const result = { id: randomUUID(), at: this.repository.now(), type, records, query };
    if (!isFresh) {
      this.cached.set(key, result);
    }
    return this.page(request, result, options.offset ?? 0, options);
  }

  /**
   * Answers the `next` link of a search.
   *
   * @throws FhirError 410 HAPI-2711 for a search that is no longer kept
   */
  nextPage(request: FhirRequest, query: URLSearchParams): FhirResponse {
    const id = query.get('_getpages') ?? '';
    const result = this.pages.get(id);
    if (!result) {
      throw new FhirError(410, `HAPI-2711: Search ID "${id}" does not exist and may have expired`);
    }
    const options = readResultOptions(result.query);
    const offset = Number(query.get('_getpagesoffset') ?? 0);
    return this.page(request, result, offset, {
      ...options,
      count: readCount(query) ?? options.count,
    });
  }

  /** Results are kept in the order in which they were added. */
  private forget(results: Map<string, SearchResult>, after: number): void {
    for (const [key, { at }] of results) {
      if (this.repository.now() - at < after) {
        return;
      }
      results.delete(key);
    }
  }

  private page(
    { baseUrl }: FhirRequest,
    result: SearchResult,
    offset: number,
    options: ResultOptions,
  ): FhirResponse {
    const { query, records, type } = result;
    const { count, offset: givenOffset } = options;
    const subset = readSubset(query);
    const isCountOnly = subset.summary === 'count' || count === 0;
    const matches = records.slice(offset, offset + count);
    const bundle = {
      resourceType: 'Bundle',
      id: result.id,
      meta: this.bundleMeta(isCountOnly || subset.summary === 'true' || subset.summary === 'data'),
      type: 'searchset',
    };
    if (isCountOnly) {
      return { status: 200, body: { ...bundle, total: records.length } };
    }
    const entry = matches.flatMap((record) =>
      entryOf(baseUrl, record, 'match', (resource) => applySubset(resource, subset)),
    );
    const included = this.include(matches, query);
    entry.push(...included.flatMap((record) => entryOf(baseUrl, record, 'include')));
    const total = this.totalOf(result, offset, options, entry.length);
    const link = [{ relation: 'self', url: `${baseUrl}/${type}${searchText(query)}` }];
    link.push(
      ...(givenOffset === undefined
        ? this.pageLinks(baseUrl, result, offset, count)
        : offsetLinks(baseUrl, result, offset, count)),
    );
    return {
      status: 200,
      body: {
        ...bundle,
        ...(total !== undefined && { total }),
        link,
        ...(entry.length > 0 && { entry }),
      },
    };
  }

  private bundleMeta(isSubsetted: boolean): object {
    const lastUpdated = this.repository.timestamp();
    return isSubsetted ? subsettedBundleMeta(lastUpdated) : { lastUpdated };
  }

  /** HAPI has not counted all results where it stopped looking after the first ones. */
  private totalOf(
    { records, query }: SearchResult,
    offset: number,
    options: ResultOptions,
    shown: number,
  ): number | undefined {
    const { count } = options;
    if (query.get('_total') === 'accurate' || query.get('_total') === 'estimate') {
      return records.length;
    }
    if (options.offset !== undefined) {
      return shown < count ? offset + shown : undefined;
    }
    const isKnown =
      offset === 0
        ? records.length <= Math.max(FIRST_FETCH, count)
        : records.length < offset + count || records.length <= FIRST_FETCH;
    return isKnown ? records.length : undefined;
  }

  private pageLinks(
    baseUrl: string,
    result: SearchResult,
    offset: number,
    count: number,
  ): { relation: string; url: string }[] {
    const url = (start: number): string => {
      return (
        `${baseUrl}?_getpages=${result.id}&_getpagesoffset=${start}` +
        `&_count=${count}&_bundletype=searchset`
      );
    };
    const links = [];
    if (offset + count < result.records.length) {
      this.pages.set(result.id, result);
      links.push({ relation: 'next', url: url(offset + count) });
    }
    if (offset > 0) {
      links.push({ relation: 'previous', url: url(Math.max(0, offset - count)) });
    }
    return links;
  }

  /** The resources that `_include` and `_revinclude` add to these matches. */
  private include(matches: ResourceRecord[], query: URLSearchParams): ResourceRecord[] {
    const included = new Set<ResourceRecord>();
    for (const [name, value] of query) {
      if (/^_(rev)?include(:|$)/.test(name) && value !== '') {
        const isIterated = /:(iterate|recurse)$/.test(name);
        const from = isIterated ? [...matches, ...included] : matches;
        const found = name.startsWith('_rev')
          ? this.referring(from, value)
          : this.referred(from, value);
        for (const record of found) {
          included.add(record);
        }
      }
    }
    return [...included].filter((record) => !matches.includes(record));
  }

  private referred(matches: ResourceRecord[], value: string): ResourceRecord[] {
    const [type, name, targetType] = value.split(':');
    return matches.flatMap((record) => {
      const resource = livingResourceOf(record);
      if (!resource || (type !== '*' && type !== record.type)) {
        return [];
      }
      const isEvery = type === '*' || name === '*';
      const targets = isEvery
        ? record.links.map(({ target }) => target)
        : referencesIn(resource, searchParametersOf(record.type).get(name!)!);
      return targets.flatMap((target) => {
        const [kind = '', id = ''] = target.split('/');
        return targetType && targetType !== kind
          ? []
          : (this.repository.store.find(kind, id) ?? []);
      });
    });
  }

  private referring(matches: ResourceRecord[], value: string): ResourceRecord[] {
    const [type, name] = value.split(':');
    return matches.flatMap((record) => {
      const target = `${record.type}/${record.id}`;
      return [...this.repository.store.referringTo(record.type, record.id).keys()].filter(
        (referrer) => {
          if (type === '*') {
            return true;
          }
          const resource = livingResourceOf(referrer);
          const parameter = searchParametersOf(referrer.type).get(name ?? '');
          const isReferring =
            name === '*' ||
            (parameter && resource && referencesIn(resource, parameter).includes(target));
          return referrer.type === type && isReferring;
        },
      );
    });
  }
}

function entryOf(
  baseUrl: string,
  record: ResourceRecord,
  mode: 'match' | 'include',
  show: (resource: WithId<Resource>) => Resource = (resource) => resource,
): BundleEntry[] {
  const { resource } = latestVersionOf(record);
  if (!resource) {
    return [];
  }
  return [
    {
      fullUrl: `${baseUrl}/${record.type}/${record.id}`,
      resource: show(resource),
      search: { mode },
    },
  ];
}

function searchText(query: URLSearchParams): string {
  const text = query.toString().replaceAll('+', '%20');
  return text === '' ? '' : `?${text}`;
}

/** With `_offset` in the query, links repeat the query with other offsets. */
function offsetLinks(
  baseUrl: string,
  { type, query, records }: SearchResult,
  offset: number,
  count: number,
): { relation: string; url: string }[] {
  const link = (relation: string, start: number): { relation: string; url: string } => {
    const changed = new URLSearchParams(query);
    changed.set('_offset', String(start));
    changed.set('_count', String(count));
    changed.sort();
    return { relation, url: `${baseUrl}/${type}${searchText(changed)}` };
  };
  return [
    ...(offset + count < records.length ? [link('next', offset + count)] : []),
    ...(offset > 0 ? [link('previous', Math.max(0, offset - count))] : []),
  ];
}

interface ResultOptions {
  count: number;
  offset: number | undefined;
}

/** @throws FhirError 400 for numbers that are none, or an `_include` that does not exist */
function readResultOptions(query: URLSearchParams): ResultOptions {
  const offsetText = query.get('_offset') ?? '';
  if (offsetText !== '' && !/^-?\d+$/.test(offsetText)) {
    throw new FhirError(400, `HAPI-0461: Invalid _offset value: ${offsetText}`);
  }
  if (Number(offsetText) < 0) {
    throw new FhirError(
      500,
      'HAPI-0389: Failed to call access method: Offset must be a positive integer',
    );
  }
  for (const [name, value] of query) {
    if (/^_(rev)?include(:|$)/.test(name)) {
      assertInclude(name.split(':')[0]!, value);
    }
  }
  return {
    count: Math.min(Math.max(0, readCount(query) ?? DEFAULT_COUNT), MAX_COUNT),
    offset: offsetText === '' ? undefined : Number(offsetText),
  };
}

function readCount(query: URLSearchParams): number | undefined {
  const text = query.get('_count') ?? '';
  if (text === '') {
    return undefined;
  }
  if (!/^-?\d+$/.test(text)) {
    throw new FhirError(400, `HAPI-0375: Invalid _count value: ${text}`);
  }
  return Number(text);
}

function assertInclude(name: string, value: string): void {
  if (value === '' || value === '*') {
    return;
  }
  const [type = '', parameter] = value.split(':');
  if (parameter === undefined || !isResourceType(type)) {
    throw new FhirError(400, `HAPI-2018: Invalid ${name} parameter value: "${value}".`);
  }
  if (parameter !== '*' && !searchParametersOf(type).has(parameter)) {
    throw new FhirError(
      400,
      `HAPI-2015: Invalid ${name} parameter value: "${value}". ` +
        `Unknown search parameter "${parameter}" for resource type "${type}".`,
    );
  }
}

/** Parameters that HAPI refuses as it is set up by default. */
function refuseUnavailable(query: URLSearchParams): void {
  for (const name of query.keys()) {
    if (name === '_text' || name === '_content') {
      throw new FhirError(
        400,
        'HAPI-1192: Fulltext search is not enabled on this service, ' +
          `can not process parameter: ${name}`,
      );
    }
    if (name === '_source' || name.startsWith('_source:')) {
      throw new FhirError(400, 'HAPI-1216: The _source parameter is disabled on this server');
    }
    if (name === '_query') {
      const text =
        'Invalid request: The FHIR endpoint on this server does not know how to handle GET ' +
        'operation with parameters [[_query]]';
      throw new RoutingError(400, text, { code: 'not-supported' });
    }
    if (name === '_contained') {
      throw new FhirError(
        405,
        'HAPI-0984: Searching with _contained mode enabled is not enabled on this server',
      );
    }
  }
}

/** An empty value restricts only strings: to resources that have one at all. */
function readCriteria(type: string, query: URLSearchParams): SearchCriterion[] {
  const criteria = [...query].flatMap(([name, text]) => {
    const criterion = readCriterion(type, name, text, 'search');
    if (!criterion || isHas(criterion)) {
      return criterion ?? [];
    }
    const isEmpty = text === '' && criterion.parameter.type !== 'string';
    return isEmpty ? [] : criterion;
  });
  assertDateBounds(criteria);
  return criteria;
}

function assertDateBounds(criteria: SearchCriterion[]): void {
  const dates = new Map<string, DateValue[]>();
  for (const criterion of criteria) {
    if (
      isHas(criterion) ||
      criterion.parameter.type !== 'date' ||
      criterion.modifier === 'missing'
    ) {
      continue;
    }
    const values = criterion.values.map(readDateValue);
    dates.set(criterion.name, [...(dates.get(criterion.name) ?? []), ...values]);
  }
  dates.forEach(assertBounds);
}
