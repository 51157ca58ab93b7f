// Tokens: identifiers, codes, phones by system and value; status codes, flags and addresses (URIs)
// by value alone.
import * as core from '@medplum/core';
import type { Filter } from '@medplum/core';
import type { Resource } from '@medplum/fhirtypes';
import { isNegation, not, refuse, refuseSets } from './conditions.ts';
import type { Condition } from './conditions.ts';
import { columnValues, typedValues } from './parameters.ts';
import type { ColumnValue, SearchColumn } from './parameters.ts';

/** Marks what is only text (a code's display, a concept's text), not a value with a system. */
const TEXT_SYSTEM = '\u0004';

/** Parameters whose values, not only their texts, are found by `:text` and `:contains`. */
const TEXT_SEARCHED = /^(individual|NamingSystem|OrganizationAffiliation)-(email|phone|telecom)$/;

interface Token {
  system: string | undefined;
  value: string | undefined;
}

export function tokenCondition(column: SearchColumn, filter: Filter): Condition {
  const { operator, value } = filter;
  switch (operator) {
    case core.Operator.TEXT:
    case core.Operator.CONTAINS:
      return textCondition(column, value);
    case core.Operator.EQUALS:
    case core.Operator.EXACT:
      return equalsCondition(column, value);
    case core.Operator.NOT:
    case core.Operator.NOT_EQUALS:
      return not(equalsCondition(column, value));
    case core.Operator.MISSING:
      return presenceCondition(column, !booleanOf(value, 'missing'));
    case core.Operator.PRESENT:
      return presenceCondition(column, booleanOf(value, 'present'));
    default:
      throw new core.OperationOutcomeError(
        core.invalidSearchOperator(operator, column.param.id ?? column.param.code),
      );
  }
}

function booleanOf(value: string, modifier: string): boolean {
  const text = value.toLowerCase();
  if (text !== 'true' && text !== 'false') {
    refuse(`Search filter ':${modifier}' must have a value of 'true' or 'false'`);
  }
  return text === 'true';
}

export function tokensOf(column: SearchColumn, resource: Resource): Token[] {
  const { caseInsensitive } = column;
  const tokens = core.convertToSearchableTokens(typedValues(column, resource), {
    caseInsensitive,
    textSearchSystem: TEXT_SYSTEM,
  });
  return tokens
    .map(({ system, value }) => ({
      system: system?.trim(),
      value: caseInsensitive ? value?.trim().toLocaleLowerCase() : value?.trim(),
    }))
    .filter(({ system, value }) => system || value);
}

function equalsCondition(column: SearchColumn, wanted: string): Condition {
  const matchers = core
    .splitSearchOnComma(wanted)
    .map((query) => tokenMatcher(query.trim(), column.caseInsensitive));
  return (resource) =>
    tokensOf(column, resource).some((token) => matchers.some((matches) => matches(token)));
}

/** Reads `system|value`, `system|`, `|value` (without a system) or `value` (any system). */
function tokenMatcher(query: string, caseInsensitive: boolean): (token: Token) => boolean {
  const fold = (text: string): string => (caseInsensitive ? text.toLocaleLowerCase() : text);
  const bar = query.indexOf('|');
  if (bar < 0) {
    const wantedValue = fold(query);
    return ({ value }) => value === wantedValue;
  }
  const wantedSystem = query.slice(0, bar) || undefined;
  const wantedValue = fold(query.slice(bar + 1));
  if (wantedValue === '') {
    return ({ system }) => wantedSystem !== undefined && system === wantedSystem;
  }
  return ({ system, value }) => (system || undefined) === wantedSystem && value === wantedValue;
}

/**
 * `:text` and `:contains`: anywhere in a text, and for phones and e-mail addresses in the value.
 */
function textCondition(column: SearchColumn, wanted: string): Condition {
  const parts = core.splitSearchOnComma(wanted).map((query) => query.trim().toLowerCase());
  const valuesToo = TEXT_SEARCHED.test(column.param.id ?? '');
  return (resource) =>
    tokensOf(column, resource).some(
      ({ system, value = '' }) =>
        (valuesToo || system === TEXT_SYSTEM) &&
        parts.some((part) => value.toLowerCase().includes(part)),
    );
}

function presenceCondition(column: SearchColumn, present: boolean): Condition {
  return (resource) => tokensOf(column, resource).length > 0 === present;
}

/**
 * A flag such as `active`: `deceased=false` includes resources without a value, by its expression.
 */
export function booleanCondition(
  valueOf: (resource: Resource) => boolean | undefined,
  filter: Filter,
): Condition {
  refuseSets(filter);
  if (filter.value !== 'true' && filter.value !== 'false') {
    refuse(`Boolean search value must be 'true' or 'false'`);
  }
  const wanted = filter.value === 'true';
  if (isNegation(filter.operator)) {
    return (resource) => valueOf(resource) !== wanted;
  }
  return (resource) => {
    const value = valueOf(resource);
    return value === undefined ? undefined : value === wanted;
  };
}

/** A value without a system, such as `status` or a URI: compared whole, with its case. */
export function valueCondition(column: SearchColumn, filter: Filter): Condition {
  const wanted: ColumnValue[] = core.splitSearchOnComma(filter.value);
  return equalityCondition(
    (resource) => columnValues(column, resource),
    wanted,
    filter.operator,
    column.details.array,
  );
}

/**
 * Compares the values of a column with those of a search.
 *
 * @param isArray - whether the column holds several values
 */
export function equalityCondition(
  valuesOf: (resource: Resource) => ColumnValue[],
  wanted: ColumnValue[],
  operator: core.Operator,
  isArray: boolean | undefined,
): Condition {
  const negated = isNegation(operator);
  if (isArray) {
    return (resource) => valuesOf(resource).some((value) => wanted.includes(value)) !== negated;
  }
  return (resource) => {
    const [value] = valuesOf(resource);
    if (wanted.length === 1 && negated) {
      return value !== wanted[0];
    }
    return value === undefined ? undefined : wanted.includes(value) !== negated;
  };
}
