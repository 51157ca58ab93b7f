// Search parameters: which values of a resource each looks at, and how the real server stores them.
import * as core from '@medplum/core';
import type { SearchParameterDetails, TypedValue } from '@medplum/core';
import type { Resource, SearchParameter } from '@medplum/fhirtypes';
import { refuse } from './conditions.ts';

/**
 * How the real server searches by a parameter: `token` looks at systems and values, `words` at the
 * words of names and addresses, `column` compares whole values.
 */
export type Strategy = 'token' | 'words' | 'column';

export interface SearchColumn {
  resourceType: string;
  param: SearchParameter;
  details: SearchParameterDetails;
  strategy: Strategy;
  /** Tokens of phones and e-mail addresses are compared without regard to case. */
  caseInsensitive: boolean;
}

/** What a column holds for one resource. */
export type ColumnValue = string | number | boolean;

const columns = new Map<string, SearchColumn>();

/** @throws OperationOutcomeError where the type has no such parameter */
export function searchColumn(resourceType: string, code: string): SearchColumn {
  const param = core.getSearchParameter(resourceType, code);
  if (!param?.code) {
    refuse(`Unknown search parameter: ${code}`);
  }
  return columnOf(resourceType, param);
}

export function columnOf(resourceType: string, param: SearchParameter): SearchColumn {
  const key = `${resourceType} ${param.code}`;
  let column = columns.get(key);
  if (!column) {
    const details = core.getSearchParameterDetails(resourceType, param);
    const types = elementTypes(details);
    const caseInsensitive = param.type === 'token' && types.has(core.PropertyType.ContactPoint);
    const strategy = strategyOf(param, types);
    column = { resourceType, param, details, strategy, caseInsensitive };
    columns.set(key, column);
  }
  return column;
}

function elementTypes({ elementDefinitions = [] }: SearchParameterDetails): Set<string> {
  return new Set(elementDefinitions.flatMap(({ type }) => type.map(({ code }) => code)));
}

const TOKEN_TYPES = ['ContactPoint', 'Identifier', 'CodeableConcept', 'Coding'];
/** Beginnings of the ids of search parameters that look at names or addresses. */
const WORDS_PARAMETER =
  /^(individual-(given|family)|(Patient|Person|Practitioner|RelatedPerson)-name|(individual|InsurancePlan|Location|Organization)-address(-(city|country|postalcode|state|use))?)$/;

function strategyOf({ id = '', code, type }: SearchParameter, types: Set<string>): Strategy {
  if (type === 'token') {
    const isToken =
      code.endsWith(':identifier') || TOKEN_TYPES.some((tokenType) => types.has(tokenType));
    return isToken ? 'token' : wordsOrColumn(id);
  }
  return wordsOrColumn(id);
}

function wordsOrColumn(id: string): Strategy {
  return WORDS_PARAMETER.test(id) ? 'words' : 'column';
}

const typedValuesCache = new WeakMap<Resource, Map<SearchColumn, TypedValue[]>>();

/** @returns what the parameter's expression finds in a resource; stored resources never change */
export function typedValues(column: SearchColumn, resource: Resource): TypedValue[] {
  let ofResource = typedValuesCache.get(resource);
  if (!ofResource) {
    ofResource = new Map();
    typedValuesCache.set(resource, ofResource);
  }
  let values = ofResource.get(column);
  if (!values) {
    const { parsedExpression } = column.details;
    values = core.evalFhirPathTyped(parsedExpression, [core.toTypedValue(resource)]);
    ofResource.set(column, values);
  }
  return values;
}

/**
 * @returns what the real server's column of a parameter holds: times as milliseconds, days as text
 */
export function columnValues(column: SearchColumn, resource: Resource): ColumnValue[] {
  const { details, param } = column;
  const values = typedValues(column, resource);
  switch (details.type) {
    case core.SearchParameterType.BOOLEAN:
      return booleanValue(values);
    case core.SearchParameterType.DATE:
      return starts(values).map((start) => start.slice(0, 10));
    case core.SearchParameterType.DATETIME:
      return starts(values).map((start) => Date.parse(start));
    default:
      break;
  }
  switch (param.type) {
    case 'number':
      return core
        .convertToSearchableNumbers(values)
        .map(([low, high]) => low ?? high)
        .filter((value) => value !== undefined);
    case 'quantity':
      return core
        .convertToSearchableQuantities(values)
        .map(({ value }) => value)
        .filter((value) => value !== undefined);
    case 'reference':
      return core.convertToSearchableReferences(values);
    case 'token':
      return core
        .convertToSearchableTokens(values)
        .map(({ value }) => value)
        .filter((value) => value !== undefined);
    case 'string':
      return core.convertToSearchableStrings(values);
    case 'uri':
      return core.convertToSearchableUris(values);
    default:
      return [];
  }
}

function booleanValue(values: TypedValue[]): boolean[] {
  const value: unknown = values[0]?.value;
  return value === undefined || value === null ? [] : [value === true || value === 'true'];
}

/** A period counts by its start, or its end where it has no start. */
function starts(values: TypedValue[]): string[] {
  return core
    .convertToSearchableDates(values)
    .map(({ start, end }) => start ?? end)
    .filter((value) => value !== undefined);
}
