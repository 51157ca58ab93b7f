// Reads search parameters: what a query restricts. A comma means OR (percent-encoded or not) unless
// a backslash stands before it; the same parameter twice means AND.
import type { SearchParameter } from '@medplum/fhirtypes';
import { isResourceType, searchParametersOf } from './definitions.ts';
import { FhirError, notAvailableLocally } from './errors.ts';
import { readDateValue } from './search-dates.ts';
import { readNumberValue, readQuantityValue } from './search-numbers.ts';

/** One parameter that restricts a search. One of its values must match. */
export interface Criterion {
  /** For example `identifier`, or `subject` of a chain. */
  name: string;
  parameter: SearchParameter;
  modifier?: string | undefined;
  values: string[];
  /** The rest of a chain: `subject:Patient.name=Smith` restricts the referenced Patient. */
  chain?: Chain | undefined;
}

interface Chain {
  /** The resource types the reference may point to. */
  types: readonly string[];
  criterion: (type: string) => Criterion | undefined;
}

/**
 * `_has:Observation:subject:code=1234`: a resource that an Observation with this code refers to.
 */
export interface HasCriterion {
  type: string;
  /** The parameter of that type which refers to the searched resource. */
  reference: SearchParameter;
  criteria: SearchCriterion[];
}

export type SearchCriterion = Criterion | HasCriterion;

export function isHas(criterion: SearchCriterion): criterion is HasCriterion {
  return 'reference' in criterion;
}

/** Parameters that HAPI knows and this server does not. */
const NOT_LOCAL = new Set(['_filter', '_list']);

/**
 * Where an unknown parameter is refused with another number: in a search, or in a conditional URL.
 */
type Purpose = 'search' | 'match';

/**
 * @param name - with modifier or chain, for example `identifier:not` or `subject:Patient.name`
 * @param text - the value, decoded
 * @returns undefined for a parameter that restricts nothing, such as `_format`
 * @throws FhirError 400 for a parameter, modifier or chain that the type does not have
 */
export function readCriterion(
  type: string,
  name: string,
  text: string,
  purpose: Purpose,
): SearchCriterion | undefined {
  if (name.startsWith('_has:') || name === '_has') {
    return readHas(name, text);
  }
  const [, plainName = '', qualifier = ''] = /^([^:.]*)(.*)$/s.exec(name) ?? [];
  if (NOT_LOCAL.has(plainName)) {
    throw notAvailableLocally(`The search parameter ${plainName}`);
  }
  const parameter = searchParametersOf(type).get(plainName);
  if (!parameter) {
    return plainName.startsWith('_') ? undefined : refuseUnknown(type, plainName, purpose);
  }
  if (parameter.type === 'composite' || parameter.type === 'special') {
    throw notAvailableLocally(`The search parameter ${plainName} of ${type}`);
  }
  const values = splitValues(text);
  if (parameter.type === 'reference') {
    return readReferenceCriterion(type, parameter, qualifier, values, purpose);
  }
  const modifier = qualifier.startsWith(':') ? qualifier.slice(1) : undefined;
  if (modifier === 'of-type') {
    throw new FhirError(405, 'HAPI-2012: The :of-type modifier is not enabled on this server');
  }
  if (modifier !== undefined && UNAVAILABLE_MODIFIERS.has(modifier)) {
    throw notAvailableLocally(`The search modifier :${modifier}`);
  }
  if (modifier !== 'missing') {
    assertValues(parameter, values);
  }
  return { name: plainName, parameter, modifier, values };
}

/** HAPI refuses values that it cannot read before it looks at any resource. */
function assertValues({ type }: SearchParameter, values: string[]): void {
  if (type === 'date' && values.length > 1) {
    throw new FhirError(400, 'HAPI-1930: DateRange parameter does not support OR queries');
  }
  const readers: Partial<Record<SearchParameter['type'], (text: string) => unknown>> = {
    date: readDateValue,
    number: readNumberValue,
    quantity: readQuantityValue,
  };
  values.forEach((value) => readers[type]?.(value));
}

const UNAVAILABLE_MODIFIERS = new Set(['in', 'not-in', 'above', 'below']);

function refuseUnknown(type: string, name: string, purpose: Purpose): never {
  if (purpose === 'match') {
    throw new FhirError(
      400,
      `HAPI-0488: Failed to parse match URL[${type}?${name}] - Resource type ${type} does not ` +
        `have a parameter with name: ${name}`,
    );
  }
  const known = [...searchParametersOf(type).keys()].toSorted().join(', ');
  throw new FhirError(
    400,
    `HAPI-0524: Unknown search parameter "${name}" for resource type "${type}". ` +
      `Valid search parameters for this search are: [${known}]`,
  );
}

/** Splits at commas that have no backslash before them. */
function splitValues(text: string): string[] {
  return text.match(/(?:\\.|[^\\,]|\\$)+/gs) ?? [];
}

function readReferenceCriterion(
  type: string,
  parameter: SearchParameter,
  qualifier: string,
  values: string[],
  purpose: Purpose,
): Criterion {
  const [, modifier, chained] = /^(?::([^.]*))?(?:\.(.*))?$/s.exec(qualifier) ?? [];
  const isMissing = modifier === 'missing';
  if (modifier !== undefined && !isMissing && !isResourceType(modifier)) {
    throw new FhirError(
      400,
      `HAPI-2498: Unsupported search modifier(s): "[:${modifier}]" for resource type "${type}"`,
    );
  }
  const criterion: Criterion = { name: parameter.code, parameter, modifier, values };
  if (chained === undefined) {
    return criterion;
  }
  const allowed = modifier === undefined ? (parameter.target ?? []) : [modifier];
  const types = allowed.filter((target) => hasParameter(target, chained));
  if (
    types.length === 0 &&
    !(modifier !== undefined && !(parameter.target as string[] | undefined)?.includes(modifier))
  ) {
    throw new FhirError(400, `HAPI-1243: Invalid parameter chain: ${parameter.code}.${chained}`);
  }
  const text = values.join(',');
  criterion.chain = {
    types,
    criterion: (target) => readCriterion(target, chained, text, purpose) as Criterion | undefined,
  };
  return criterion;
}

function hasParameter(type: string, chained: string): boolean {
  const [name = ''] = chained.split(/[:.]/);
  return searchParametersOf(type).has(name);
}

function readHas(name: string, text: string): HasCriterion {
  const [, type = '', referenceName = '', ...rest] = name.split(':');
  if (rest.length === 0) {
    throw new FhirError(400, `HAPI-1942: Invalid _has parameter syntax: ${name}`);
  }
  if (!isResourceType(type)) {
    throw new FhirError(400, `HAPI-1208: Invalid resource type: ${type}`);
  }
  const parameters = searchParametersOf(type);
  const reference = parameters.get(referenceName);
  if (!reference) {
    throw new FhirError(400, `HAPI-1209: Unknown parameter name: ${type}:${referenceName}`);
  }
  const rests = rest.join(':');
  const [plainName = ''] = rests.split(/[:.]/);
  if (plainName !== '_has' && !parameters.has(plainName)) {
    throw new FhirError(400, `HAPI-1209: Unknown parameter name: ${type}:${plainName}`);
  }
  const criterion = readCriterion(type, rests, text, 'search');
  return { type, reference, criteria: criterion ? [criterion] : [] };
}
