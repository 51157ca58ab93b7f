// Searches the store as Medplum 5.1.26 does: tokens by their exact case, strings by the beginnings of their words.
import type { Filter, SearchRequest, WithId } from '@medplum/core';
import * as core from '@medplum/core';
import type { FhirRepository } from '@medplum/fhir-router';
import type {
  Bundle,
  BundleEntry,
  BundleLink,
  Resource,
  ResourceType,
  SearchParameter,
} from '@medplum/fhirtypes';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type { Store, Version } from './store.ts';

const DEFAULT_COUNT = 20;
const MAX_COUNT = 1000;
const MAX_OFFSET = 10_000;
/** Smaller pages get offset links, because a cursor could stand still on them. */
const MIN_CURSOR_COUNT = 20;

/** Reads what FHIR and Medplum define into @medplum/core's global schema: 0.2 s, once a process, before any search. */
export function loadDefinitions(): void {
  if (core.isDataTypeLoaded('Patient')) return;
  const text = gunzipSync(
    readFileSync(new URL('../../definitions/fhir.json.gz', import.meta.url)),
  ).toString();
  const known = JSON.parse(text) as {
    StructureDefinition: Bundle;
    SearchParameter: Bundle<SearchParameter>;
  };
  core.indexStructureDefinitionBundle(known.StructureDefinition);
  core.indexSearchParameterBundle(known.SearchParameter);
}

/**
 * @param request - as @medplum/core parses it
 * @param visible - whether the one who asks may see a resource
 * @param baseUrl - with a slash at the end
 * @returns a searchset Bundle with links as the real server writes them
 * @throws OperationOutcomeError where the search is not possible
 */
export function search<T extends Resource>(
  store: Store,
  request: SearchRequest<T>,
  visible: (resource: WithId<Resource>) => boolean,
  baseUrl: string,
): Bundle<WithId<T>> {
  const count = (request.count = Math.min(request.count ?? DEFAULT_COUNT, MAX_COUNT));
  const offset = (request.offset ??= 0);
  if (offset > MAX_OFFSET) fail(`Search offset exceeds maximum (got ${offset}, max ${MAX_OFFSET})`);
  if (offset > 0 && request.cursor) fail('Cannot use both offset and cursor');
  const types = request.types ?? [request.resourceType as ResourceType];
  const matches = types.flatMap((type) => find(store, type, request.filters ?? [], visible));
  const after = readCursor(request.cursor);
  const rest = sort(matches, request)
    .map((version) => (version.deleted ? bare(version.resource) : version.resource) as WithId<T>)
    .filter(
      ({ id, meta }) =>
        !after || (meta!.lastUpdated! >= after.instant && !after.excluded.includes(id)),
    );
  const page = count > 0 ? rest.slice(offset, offset + count) : [];
  const next = count > 0 ? rest[offset + count] : undefined;
  const entry = page.map((resource) => ({
    fullUrl: `${baseUrl}fhir/R4/${resource.resourceType}/${resource.id}`,
    search: { mode: 'match' as const },
    resource: cut(resource, request),
  }));
  const total =
    request.total === 'accurate' || request.total === 'estimate' ? { total: matches.length } : {};
  const link = links(request, entry, next, `${baseUrl}fhir/R4/${request.resourceType}`);
  return {
    resourceType: 'Bundle',
    type: 'searchset',
    ...(entry.length > 0 ? { entry } : {}),
    ...total,
    link,
  };
}

function find(
  store: Store,
  type: ResourceType,
  filters: Filter[],
  visible: (r: WithId<Resource>) => boolean,
): Version[] {
  const deleted = filters.some(({ code, value }) => code === '_deleted' && value === 'true');
  const conditions = filters
    .filter(({ code }) => code !== '_deleted')
    .map((filter) => condition(type, filter));
  const result: Version[] = [];
  for (const version of candidates(store, type, filters)) {
    const { resource } = version;
    if (
      version.deleted !== deleted ||
      !conditions.every((holds) => holds(resource)) ||
      !visible(resource)
    )
      continue;
    result.push(version);
  }
  return result;
}

/** By id or identifier where the search names one, so that its time does not grow with the number of resources. */
function* candidates(store: Store, type: ResourceType, filters: Filter[]): Iterable<Version> {
  const named = filters.find(
    ({ code, operator }) => ['_id', 'identifier'].includes(code) && operator === 'eq',
  );
  if (!named) return yield* store.all(type);
  const seen = new Set<Version>();
  for (const value of core.splitSearchOnComma(named.value)) {
    const latest = named.code === '_id' ? store.latest(type, value) : undefined;
    for (const version of named.code === '_id'
      ? latest
        ? [latest]
        : []
      : store.withIdentifier(type, value)) {
      if (!seen.has(version)) yield version;
      seen.add(version);
    }
  }
}

type Condition = (resource: WithId<Resource>) => boolean;
const expressions = new core.LRUCache<core.FhirPathAtom>(1000);

function condition(type: ResourceType, filter: Filter): Condition {
  const { code, operator, value } = filter;
  const param = core.globalSchema.types[type]?.searchParams?.[code];
  if (code.startsWith('_has:') || code.includes('.') || code === '_filter') notHere(code);
  if (!param?.expression) return fail(`Unknown search parameter: ${code}`);
  const { expression, type: kind } = param;
  const valuesOf = (resource: Resource): core.TypedValue[] =>
    core.evalFhirPathTyped(expression, [core.toTypedValue(resource)], undefined, expressions);
  const wanted = core.splitSearchOnComma(value);
  const negated = operator === 'not' || operator === 'ne';
  if (operator === 'missing' || operator === 'present' || kind === 'reference') {
    return (resource) =>
      core.matchesSearchRequest(resource, { resourceType: type, filters: [filter] });
  }
  switch (kind) {
    case 'token':
      return (resource) => {
        const tokens = core.convertToSearchableTokens(valuesOf(resource));
        return negated !== wanted.some((text) => tokens.some((token) => tokenMatches(token, text)));
      };
    case 'uri':
      return (resource) =>
        negated !== valuesOf(resource).some((found) => wanted.includes(String(found.value)));
    case 'string':
      return (resource) => {
        const texts = core.convertToSearchableStrings(valuesOf(resource));
        return (
          negated !==
          wanted.some((text) => texts.some((found) => stringMatches(found, text, operator)))
        );
      };
    case 'date':
      if (!/^\d{4}-\d\d-\d\d/.test(value)) fail(`Invalid date value: ${value}`);
      return (resource) =>
        core.matchesSearchRequest(resource, { resourceType: type, filters: [filter] });
    default:
      return notHere(code);
  }
}

function tokenMatches(token: core.SearchableToken, wanted: string): boolean {
  const bar = wanted.indexOf('|');
  if (bar < 0) return token.value === wanted;
  const [system, value] = [wanted.slice(0, bar), wanted.slice(bar + 1)];
  return (token.system ?? '') === system && (value === '' || token.value === value);
}

function stringMatches(found: string, wanted: string, operator: string): boolean {
  if (operator === 'exact') return found === wanted;
  const [text, term] = [found.toLowerCase(), wanted.toLowerCase()];
  if (operator === 'contains') return text.includes(term);
  const words = text.split(/[^\p{L}\p{N}]+/u);
  return term.split(/\s+/).every((part) => words.some((word) => word.startsWith(part)));
}

function sort(versions: Version[], request: SearchRequest): Version[] {
  for (const { code, descending } of (request.sortRules ?? []).toReversed()) {
    const keys = new Map(versions.map((version) => [version, sortKey(version.resource, code)]));
    const direction = descending ? -1 : 1;
    versions.sort((a, b) => {
      const [left, right] = [keys.get(a)!, keys.get(b)!];
      return direction * (left < right ? -1 : left > right ? 1 : a.order - b.order);
    });
  }
  return versions;
}

function sortKey(resource: WithId<Resource>, code: string): string {
  if (code === '_lastUpdated') return resource.meta!.lastUpdated!;
  const expression =
    core.globalSchema.types[resource.resourceType]?.searchParams?.[code]?.expression;
  if (!expression) return fail(`Unknown search parameter: ${code}`);
  const values = core.evalFhirPathTyped(
    expression,
    [core.toTypedValue(resource)],
    undefined,
    expressions,
  );
  return core.convertToSearchableStrings(values)[0] ?? '\uffff';
}

/** All that a search tells of a deleted resource. */
function bare({ resourceType, id, meta }: WithId<Resource>): Resource {
  return { resourceType, id, meta: { lastUpdated: meta!.lastUpdated } } as Resource;
}

/**
 * Puts what it finds in the place of each conditional reference, such as `Organization?identifier=system|value`.
 *
 * @throws OperationOutcomeError where that is not exactly one resource
 */
export async function resolveReferences<T extends Resource>(
  resource: T,
  repo: FhirRepository,
): Promise<T> {
  let text = JSON.stringify(resource);
  for (const [whole, query] of text.matchAll(/"reference":("[A-Z][A-Za-z]+\?[^"]+")/g)) {
    const url = JSON.parse(query!) as string;
    const found = await repo.searchResources({ ...core.parseSearchRequest(url), count: 2 });
    const number = found.length > 1 ? 'matched multiple' : 'did not match any';
    if (found.length !== 1) fail(`Conditional reference '${url}' ${number} resources`);
    text = text.replaceAll(whole, `"reference":"${core.getReferenceString(found[0]!)}"`);
  }
  return JSON.parse(text) as T;
}

/** Keeps what `_elements` and `_summary` ask for. */
function cut<T extends Resource>(
  resource: WithId<T>,
  { fields, summary }: SearchRequest,
): WithId<T> {
  const { mandatoryProperties = [], summaryProperties = [] } = core.getDataType(
    resource.resourceType,
  );
  const kept = fields
    ? [...mandatoryProperties, ...fields]
    : summary === 'true'
      ? [...summaryProperties]
      : summary === 'text'
        ? ['text', ...mandatoryProperties]
        : summary === 'data'
          ? Object.keys(resource).filter((key) => key !== 'text')
          : undefined;
  return kept ? (core.subsetResource(structuredClone(resource), kept) as WithId<T>) : resource;
}

function links(
  request: SearchRequest,
  entries: BundleEntry[],
  next: Resource | undefined,
  url: string,
): BundleLink[] {
  const to = (relation: BundleLink['relation'], change: Partial<SearchRequest>): BundleLink => {
    return { relation, url: url + core.formatSearchQuery({ ...request, ...change }) };
  };
  const { count = DEFAULT_COUNT, offset = 0, sortRules } = request;
  const result = [to('self', {})];
  if (entries.length === 0) return result;
  const [rule] = sortRules ?? [];
  const ascending = sortRules?.length === 1 && rule!.code === '_lastUpdated' && !rule!.descending;
  result.push(to('first', { cursor: undefined, offset: 0 }));
  if (offset === 0 && count >= MIN_CURSOR_COUNT && ascending) {
    const instant = next?.meta?.lastUpdated;
    if (!instant) return result;
    if (entries[0]!.resource?.meta?.lastUpdated === instant) {
      throw new core.OperationOutcomeError(
        core.serverError(new Error('Cursor fails to make progress')),
      );
    }
    const shown = entries
      .filter(({ resource }) => resource?.meta?.lastUpdated === instant)
      .map((e) => e.resource!.id);
    const cursor = [
      `2-${Date.parse(instant)}`,
      ...(shown.length > 0 ? [shown.join(',')] : []),
    ].join('-');
    return [...result, to('next', { cursor })];
  }
  if (next) result.push(to('next', { offset: offset + count }));
  if (offset > 0) result.push(to('previous', { offset: offset - count }));
  return result;
}

function readCursor(
  cursor: string | undefined,
): { instant: string; excluded: string[] } | undefined {
  const [, version, time, ids] = /^([12])-(\d+)(?:-(.*))?$/.exec(cursor ?? '') ?? [];
  if (!version) return undefined;
  return {
    instant: new Date(Number(time)).toISOString(),
    excluded: version === '2' ? (ids?.split(',') ?? []) : [],
  };
}

function fail(text: string): never {
  throw new core.OperationOutcomeError(core.badRequest(text));
}

/** Better loud than an empty answer that looks like the truth. */
function notHere(code: string): never {
  fail(`The local server cannot search by ${code}; a real Medplum server can`);
}
