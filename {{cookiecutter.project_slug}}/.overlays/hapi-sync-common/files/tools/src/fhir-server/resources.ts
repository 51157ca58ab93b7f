// What HAPI FHIR JPA 8.8.0 sees in a resource and in a query: known elements, references, what a search matches.
import * as core from '@medplum/core';
import type { WithId } from '@medplum/core';
import type { Reference, Resource, SearchParameter } from '@medplum/fhirtypes';

/** Becomes an OperationOutcome with this HTTP status. */
export class FhirError extends Error {
  readonly status: number;
  readonly code: string;
  readonly headers: Record<string, string>;
  constructor(
    status: number,
    diagnostics: string,
    code = 'processing',
    headers: Record<string, string> = {},
  ) {
    super(diagnostics);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

/** Medplum's Meta has more; HAPI's starter does not keep `source`. */
const OF_META = ['id', 'extension', 'versionId', 'lastUpdated', 'profile', 'security', 'tag'];

/** @returns whether FHIR R4 has the type (Medplum's own types are no part of it) */
export function isResourceType(type: string): boolean {
  const { kind, url = '' } = core.tryGetDataType(type) ?? {};
  return kind === 'resource' && url.startsWith('http://hl7.org/');
}

/**
 * Drops what HAPI drops in silence: elements that FHIR does not know, and empty ones.
 *
 * @throws FhirError 400 for a code, a date, a number or a boolean that is none
 */
export function withKnownElements<T>(value: T, type: string): T {
  const { elements } = core.getDataType(type);
  const kept = Object.entries(value as object).flatMap(([key, member]): [string, unknown][] => {
    if (key === 'resourceType') return [[key, member]];
    const isChoice = (name: string): boolean =>
      name.endsWith('[x]') && key.startsWith(name.slice(0, -3));
    const known =
      elements[key] && (type !== 'Meta' || OF_META.includes(key))
        ? key
        : Object.keys(elements).find(isChoice);
    if (!known) return elements[key.slice(1)] && key.startsWith('_') ? [[key, member]] : [];
    const types = elements[known]?.type.map(({ code }) => code) ?? [];
    const [one = ''] =
      known === key
        ? types
        : types.filter((code) => key.toLowerCase().endsWith(code.toLowerCase()));
    const clean = (item: unknown): unknown => {
      if (item === null || item === '') return undefined;
      if (typeof item === 'object') {
        const inner = withKnownElements(item, (item as Resource).resourceType ?? one);
        return core.isEmpty(inner) ? undefined : inner;
      }
      const wrong =
        core.validationRegexes[one]?.test(String(item)) === false ||
        (one === 'boolean' && typeof item !== 'boolean');
      if (!wrong && (key !== 'gender' || /^(male|female|other|unknown)$/.test(String(item))))
        return item;
      throw new FhirError(
        400,
        `HAPI-0450: HAPI-1821: [element="${key}"] Invalid attribute value "${String(item)}"`,
      );
    };
    if (Array.isArray(member) !== Boolean(elements[known]?.isArray)) return [];
    const cleaned = Array.isArray(member)
      ? member.map(clean).filter((item) => item !== undefined)
      : clean(member);
    const empty = cleaned === undefined || (typeof cleaned === 'object' && core.isEmpty(cleaned));
    return empty ? [] : [[key, cleaned]];
  });
  return Object.fromEntries(kept) as T;
}

function valuesOf(resource: Resource, parameter: SearchParameter): core.TypedValue[] {
  const { parsedExpression } = core.getSearchParameterDetails(resource.resourceType, parameter);
  return core.evalFhirPathTyped(parsedExpression, [core.toTypedValue(resource)]);
}

/** @returns the references that HAPI follows: those that can be searched by; without versions */
export function referencesOf(
  resource: Resource,
): { target: string; path: string; types: readonly string[] }[] {
  const { resourceType: type } = resource;
  const found = Object.values(core.getSearchParameters(type) ?? {}).flatMap((parameter) => {
    if (parameter.type !== 'reference' || !parameter.expression?.includes(`${type}.`)) return [];
    const path =
      new RegExp(`${type}\\.[\\w.]+(?!\\w*\\()`)
        .exec(parameter.expression)?.[0]
        .replace(/\.$/, '') ?? type;
    return valuesOf(resource, parameter).flatMap(({ value }) => {
      const target = (value as Reference).reference?.replace(/\/_history\/.*$/, '');
      return !target || target.startsWith('#')
        ? []
        : [{ target, path, types: parameter.target ?? [] }];
    });
  });
  // `patient` and `subject` may be one element: what either allows is allowed.
  return [...new Map(found.map((one) => [one.target + one.path, one])).values()].map((one) => {
    const same = found.filter(({ target, path }) => target === one.target && path === one.path);
    return { ...one, types: same.flatMap(({ types }) => types) };
  });
}

/** `name:modifier` and the values of which one must match. */
export interface Criterion {
  name: string;
  modifier?: string | undefined;
  values: string[];
  parameter: SearchParameter;
}

const NOT_RESTRICTING = /^_(format|pretty|count|summary|elements|sort|total)$/;

/**
 * What of a query restricts its result. An empty value and parameters like `_format` restrict nothing: on a
 * conditional DELETE everything of the type matches then.
 *
 * @throws FhirError 400 for a parameter that the type does not have
 */
export function criteriaOf(type: string, query: string, search = false): Criterion[] {
  return [...new URLSearchParams(query)].flatMap(([key, text]) => {
    const [name = '', modifier] = key.split(':');
    if (
      NOT_RESTRICTING.test(name) ||
      (text === '' && !search) ||
      (search && name === '_revinclude')
    )
      return [];
    const parameter = core.getSearchParameter(type, name);
    if (!parameter) {
      const known = Object.keys(core.getSearchParameters(type) ?? {}).join(', ');
      const inSearch = `HAPI-0524: Unknown search parameter "${name}" for "${type}". Valid: [${known}]`;
      const elsewhere = `HAPI-0488: Failed to parse match URL[${type}?${query}] - no parameter with name: ${name}`;
      throw new FhirError(400, search ? inSearch : elsewhere);
    }
    if (modifier === 'of-type')
      throw new FhirError(405, 'HAPI-2012: The :of-type modifier is not enabled');
    // A comma means OR, percent-encoded or not, unless a backslash stands before it.
    const values = text.match(/(\\.|[^\\,])+/gs) ?? [];
    return values.length > 0 ? [{ name, modifier, values, parameter }] : [];
  });
}

/** @returns a token's system (absent without a bar) and value, without their backslashes */
export function readToken(text: string): { system?: string; value: string } {
  const plain = (part = ''): string => part.replace(/\\([\\,|$])/g, '$1');
  const bar = /^((?:\\.|[^\\|])*)\|(.*)$/s.exec(text);
  return bar ? { system: plain(bar[1]), value: plain(bar[2]) } : { value: plain(text) };
}

/** @throws FhirError 400 for a date that is none */
export function matches(
  resource: WithId<Resource>,
  { name, modifier, values, parameter }: Criterion,
): boolean {
  if (name === '_id') return values.includes(resource.id);
  const found = valuesOf(resource, parameter);
  if (modifier === 'missing') return (found.length === 0) === (values[0] === 'true');
  if (parameter.type === 'token') {
    const tokens = core.convertToSearchableTokens(found);
    const one = values.map(readToken).some(({ system, value }) => {
      if (system === '' && value === '') return true;
      return tokens.some(
        (token) =>
          (system ?? token.system ?? '') === (token.system ?? '') &&
          (!value || token.value === value),
      );
    });
    return one !== (modifier === 'not');
  }
  const operators = {
    gt: 'gt',
    ge: 'ge',
    lt: 'lt',
    le: 'le',
    ne: 'ne',
    eq: 'eq',
    sa: 'sa',
    eb: 'eb',
  } as const;
  return values.some((text) => {
    const [, prefix, rest = text] =
      parameter.type === 'date' ? (/^([a-z]{2})?(.*)$/.exec(text) ?? []) : [];
    if (parameter.type === 'date' && Number.isNaN(Date.parse(rest))) {
      throw new FhirError(400, `HAPI-1940: Invalid date/time/quantity format: "${text}"`);
    }
    const operator = operators[(prefix ?? 'eq') as keyof typeof operators] ?? 'eq';
    const filters = [{ code: name, operator: operator as core.Operator, value: rest }];
    return core.matchesSearchRequest(resource, { resourceType: resource.resourceType, filters });
  });
}
