// Whether a resource matches a search criterion, as HAPI's indexes decide it: strings by their
// beginning without case and accents, tokens exactly, dates as ranges of time.
import * as core from '@medplum/core';
import type { WithId } from '@medplum/core';
import type {
  Address,
  CodeableConcept,
  Coding,
  ContactPoint,
  HumanName,
  Identifier,
  Period,
  Quantity,
  Range,
  Reference,
  Resource,
  SearchParameter,
  Timing,
} from '@medplum/fhirtypes';
import { searchParametersOf } from './definitions.ts';
import { parseReference } from './references.ts';
import { livingResourceOf } from './resource-store.ts';
import type { ResourceRecord, ResourceStore } from './resource-store.ts';
import { isHas } from './search-criteria.ts';
import type { Criterion, HasCriterion, SearchCriterion } from './search-criteria.ts';
import { dateMatches, rangeOfDate, readDateValue } from './search-dates.ts';
import type { TimeRange } from './search-dates.ts';
import {
  numberMatches,
  quantityMatches,
  readNumberValue,
  readQuantityValue,
} from './search-numbers.ts';
import { searchValuesOf } from './search-values.ts';

/**
 * Finds resources. A criterion on `_id` or `identifier` is looked up in an index, so that the time
 * does not grow with the number of resources.
 *
 * @returns the living resources that match all criteria, in the order of their creation
 * @throws FhirError 400 for a value that is not valid for its parameter
 */
export function findRecords(
  store: ResourceStore,
  type: string,
  criteria: readonly SearchCriterion[],
): ResourceRecord[] {
  const found = [...candidates(store, type, criteria)].filter((record) => {
    const resource = livingResourceOf(record);
    return resource && criteria.every((criterion) => matchesIn(store, resource, criterion));
  });
  return found.toSorted((first, second) => first.sequence - second.sequence);
}

function candidates(
  store: ResourceStore,
  type: string,
  criteria: readonly SearchCriterion[],
): Iterable<ResourceRecord> {
  for (const criterion of criteria) {
    if (isHas(criterion) || criterion.modifier !== undefined) {
      continue;
    }
    if (criterion.name === '_id') {
      return new Set(criterion.values.flatMap((value) => store.find(type, idOf(value)) ?? []));
    }
    const tokens = criterion.name === 'identifier' ? criterion.values.map(readToken) : [];
    if (tokens.length > 0 && tokens.every(({ value }) => value !== '')) {
      return new Set(tokens.flatMap(({ value }) => [...store.withIdentifier(type, value)]));
    }
  }
  return store.all(type);
}

function idOf(value: string): string {
  return value.replace(/^.*\//, '');
}

function matchesIn(
  store: ResourceStore,
  resource: WithId<Resource>,
  criterion: SearchCriterion,
): boolean {
  if (isHas(criterion)) {
    return matchesHas(store, resource, criterion);
  }
  if (criterion.chain) {
    return matchesChain(store, resource, criterion);
  }
  return matchesCriterion(resource, criterion);
}

function matchesHas(
  store: ResourceStore,
  resource: WithId<Resource>,
  { type, reference, criteria }: HasCriterion,
): boolean {
  const target = `${resource.resourceType}/${resource.id}`;
  return [...store.referringTo(resource.resourceType, resource.id).keys()].some((record) => {
    const referrer = record.type === type ? livingResourceOf(record) : undefined;
    if (!referrer || !referencesIn(referrer, reference).includes(target)) {
      return false;
    }
    return criteria.every((criterion) => matchesIn(store, referrer, criterion));
  });
}

function matchesChain(
  store: ResourceStore,
  resource: WithId<Resource>,
  { parameter, chain }: Criterion,
): boolean {
  return referencesIn(resource, parameter).some((target) => {
    const [type = '', id = ''] = target.split('/');
    const referenced = livingResourceOf(store.find(type, id));
    const criterion = chain?.types.includes(type) ? chain.criterion(type) : undefined;
    return (
      referenced !== undefined && criterion !== undefined && matchesIn(store, referenced, criterion)
    );
  });
}

/** @returns what a reference parameter of the resource points to, for example `Patient/1` */
export function referencesIn(resource: Resource, parameter: SearchParameter): string[] {
  return searchValuesOf(resource, parameter).flatMap(({ value }) => {
    const text = typeof value === 'string' ? value : (value as Reference).reference;
    const { type, id, base } = parseReference(text ?? '');
    return type && id && !base ? `${type}/${id}` : [];
  });
}

/** Matches without a database: neither chains nor `_has`. */
export function matchesCriterion(resource: WithId<Resource>, criterion: Criterion): boolean {
  const { name, parameter, modifier, values } = criterion;
  if (name === '_id') {
    return modifier === undefined && values.some((value) => idOf(value) === resource.id);
  }
  const found = searchValuesOf(resource, parameter).filter(({ value }) => !core.isEmpty(value));
  if (modifier === 'missing') {
    return (found.length === 0) === (values[0] === 'true');
  }
  switch (parameter.type) {
    case 'token':
      return matchesToken(found, criterion);
    case 'string':
      return matchesString(found, criterion);
    case 'uri':
      return values.some((value) => found.some((typed) => typed.value === unescape(value)));
    case 'reference':
      return matchesReference(resource, criterion);
    case 'date':
      return matchesDate(found, criterion);
    case 'number':
      return matchesNumber(
        found.map(({ value }) => value as number),
        values,
      );
    case 'quantity':
      return matchesQuantity(found, values);
    default:
      return false;
  }
}

/** Removes the backslashes of FHIR's escapes (`\,`, `\|`, `\$`, `\\`). */
function unescape(text: string): string {
  return text.replaceAll(/\\([\\,|$])/g, '$1');
}

interface Token {
  /** Absent where a value has no bar; empty for `|value`: a token without a system. */
  system?: string;
  value: string;
}

/** Reads `system|value`, `system|`, `|value` or `value`. */
function readToken(text: string): Token {
  const [, system, value = ''] = /^((?:\\.|[^\\|])*)\|(.*)$/s.exec(text) ?? [];
  return system === undefined
    ? { value: unescape(text) }
    : { system: unescape(system), value: unescape(value) };
}

function matchesToken(found: core.TypedValue[], { values, modifier }: Criterion): boolean {
  if (modifier === 'text') {
    const texts = found.flatMap((typed) => tokenTexts(typed));
    return values.some((value) => texts.some((text) => startsWith(text, unescape(value))));
  }
  const tokens = found.flatMap((typed) => tokensOf(typed));
  const matches = values.map(readToken).some(({ system, value }) => {
    if (!system && value === '') {
      return true;
    }
    return tokens.some((token) => {
      return (
        (system === undefined || (token.system ?? '') === system) &&
        (value === '' || token.value === value)
      );
    });
  });
  return matches !== (modifier === 'not');
}

function tokensOf({ type, value }: core.TypedValue): Token[] {
  switch (type) {
    case 'CodeableConcept':
      return (value as CodeableConcept).coding?.flatMap((coding) => codingToken(coding)) ?? [];
    case 'Coding':
      return codingToken(value as Coding);
    case 'Identifier':
      return codingToken({
        system: (value as Identifier).system,
        code: (value as Identifier).value,
      });
    case 'ContactPoint':
      return codingToken({
        system: (value as ContactPoint).system,
        code: (value as ContactPoint).value,
      });
    default:
      return typeof value === 'object' ? [] : [{ value: String(value) }];
  }
}

function codingToken({
  system,
  code,
}: {
  system?: string | undefined;
  code?: string | undefined;
}): Token[] {
  const token = { ...(system !== undefined && { system }), value: code ?? '' };
  return system !== undefined || code !== undefined ? [token] : [];
}

function tokenTexts({ type, value }: core.TypedValue): string[] {
  if (type === 'CodeableConcept') {
    const { text, coding = [] } = value as CodeableConcept;
    return [text, ...coding.map(({ display }) => display)].filter((part) => part !== undefined);
  }
  if (type === 'Coding') {
    return [(value as Coding).display ?? ''];
  }
  return type === 'Identifier' ? [(value as Identifier).type?.text ?? ''] : [];
}

function matchesString(found: core.TypedValue[], { values, modifier }: Criterion): boolean {
  const texts = found.flatMap((typed) => stringsOf(typed));
  const wanted = values.length > 0 ? values.map(unescape) : [''];
  return wanted.some((value) => {
    if (modifier === 'exact') {
      return texts.includes(value);
    }
    const normalized = normalize(value);
    return texts.some((text) => {
      return modifier === 'contains'
        ? normalize(text).includes(normalized)
        : startsWith(text, value);
    });
  });
}

function startsWith(text: string, beginning: string): boolean {
  return normalize(text).startsWith(normalize(beginning));
}

/** Upper case, without the accents of Latin letters. */
function normalize(text: string): string {
  return text
    .normalize('NFD')
    .replaceAll(/[\u0300-\u036F]/g, '')
    .toUpperCase();
}

function stringsOf({ type, value }: core.TypedValue): string[] {
  if (type === 'HumanName') {
    const { family, given = [], text, prefix = [], suffix = [] } = value as HumanName;
    return [family, text, ...given, ...prefix, ...suffix].filter(
      (part) => part !== undefined && part !== null,
    );
  }
  if (type === 'Address') {
    const { line = [], city, state, country, postalCode, district, text } = value as Address;
    return [...line, city, state, country, postalCode, district, text].filter(
      (part) => part !== undefined && part !== null,
    );
  }
  return typeof value === 'string' ? [value] : [];
}

function matchesReference(resource: Resource, { parameter, modifier, values }: Criterion): boolean {
  const targets = referencesIn(resource, parameter);
  const urls = searchValuesOf(resource, parameter).map(({ value }) => value as unknown);
  return values.some((value) => {
    const text = unescape(value);
    const { base, type = modifier, id } = parseReference(text);
    if (base !== undefined) {
      return urls.includes(text);
    }
    return targets.some(
      (target) => target === `${type}/${id}` || (type === undefined && target.endsWith(`/${id}`)),
    );
  });
}

function matchesDate(found: core.TypedValue[], { name, values }: Criterion): boolean {
  const ranges = found.flatMap((typed) => rangesOf(typed));
  return values.map(readDateValue).some((wanted) => {
    const isLong = wanted.isLong && name !== '_lastUpdated';
    return ranges.some((range) => dateMatches(range, { ...wanted, isLong }));
  });
}

function rangesOf({ type, value }: core.TypedValue): TimeRange[] {
  if (type === 'Period') {
    const { start, end } = value as Period;
    const low = start ? rangeOfDate(start).low : Number.NEGATIVE_INFINITY;
    return [{ low, high: end ? rangeOfDate(end).high : Number.POSITIVE_INFINITY }];
  }
  if (type === 'Timing') {
    return (value as Timing).event?.map((event) => rangeOfDate(event)) ?? [];
  }
  return typeof value === 'string' ? [rangeOfDate(value)] : [];
}

function matchesNumber(numbers: number[], values: string[]): boolean {
  return values.map(readNumberValue).some((wanted) => {
    return numbers.some((number) => numberMatches(number, wanted));
  });
}

function matchesQuantity(found: core.TypedValue[], values: string[]): boolean {
  const quantities = found.flatMap((typed) => quantitiesOf(typed));
  return values.map(readQuantityValue).some((wanted) => {
    return quantities.some((quantity) => quantityMatches(quantity, wanted));
  });
}

function quantitiesOf({ type, value }: core.TypedValue): Quantity[] {
  if (type === 'Range') {
    const { low, high } = value as Range;
    return [low, high].filter((limit) => limit !== undefined);
  }
  return typeof value === 'object' ? [value as Quantity] : [];
}

/** @returns the value that `_sort` compares: the lowest of several; undefined if there is none */
export function sortValueOf(
  resource: Resource,
  parameter: SearchParameter,
): string | number | undefined {
  const found = searchValuesOf(resource, parameter).filter(({ value }) => !core.isEmpty(value));
  const values = found.flatMap((typed): (string | number)[] => {
    switch (parameter.type) {
      case 'string':
        return stringsOf(typed).map(normalize);
      case 'token':
        return tokensOf(typed).map(({ system = '', value }) => `${system} ${value}`);
      case 'date':
        return rangesOf(typed).map(({ low }) => low);
      case 'number':
        return [typed.value as number];
      case 'quantity':
        return quantitiesOf(typed).map(({ value = 0 }) => value);
      default:
        return [
          typeof typed.value === 'string'
            ? typed.value
            : ((typed.value as Reference).reference ?? ''),
        ];
    }
  });
  return values.toSorted((first, second) => (first < second ? -1 : Number(first !== second)))[0];
}

/** @returns the texts and the dates of a resource that HAPI puts into its indexes */
export function indexedTextsOf(resource: Resource): { texts: string[]; dates: string[] } {
  const texts: string[] = [];
  const dates: string[] = [];
  for (const parameter of searchParametersOf(resource.resourceType).values()) {
    if (parameter.code.startsWith('_')) {
      continue;
    }
    for (const found of searchValuesOf(resource, parameter)) {
      if (parameter.type === 'string') {
        texts.push(...stringsOf(found));
      } else if (parameter.type === 'token') {
        texts.push(...tokensOf(found).flatMap(({ system = '', value }) => [system, value]));
      } else if (parameter.type === 'uri') {
        texts.push(String(found.value));
      } else if (parameter.type === 'date' && typeof found.value === 'string') {
        dates.push(found.value);
      }
    }
  }
  return { texts, dates };
}
