// Dates: the real server compares instants. A date without a time is midnight UTC, a Period counts
// by its start.
import * as core from '@medplum/core';
import type { Filter } from '@medplum/core';
import type { Resource } from '@medplum/fhirtypes';
import { isNegation, refuse, refuseSets } from './conditions.ts';
import type { Condition } from './conditions.ts';
import type { FilterContext } from './context.ts';
import { compare } from './numbers.ts';
import { columnValues } from './parameters.ts';
import type { SearchColumn } from './parameters.ts';

/** A whole day, or a day and a time; the real server takes no year or month alone. */
const SEARCH_DATE =
  /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])([T ]([01]\d|2[0-3])(:[0-5]\d(:([0-5]\d|60))?(\.\d{1,9})?)?)?(Z|[+-]((0\d|1[0-3]):[0-5]\d|14:00)?)?$/;

export function dateCondition(
  { warn }: FilterContext,
  column: SearchColumn,
  filter: Filter,
): Condition {
  const { details, param, resourceType } = column;
  const wholeDays = details.type === core.SearchParameterType.DATE;
  const { operator, value } = filter;
  if (!wholeDays && operator === core.Operator.EQUALS && /^\d{4}-\d\d-\d\d$/.test(value)) {
    warn(
      `${resourceType}?${param.code}=${value} finds only what is stored at midnight UTC ` +
        'of that day, here and on Medplum. ' +
        `For the whole day use ${param.code}=ge… and ${param.code}=lt… of the next day.`,
    );
  }
  const valuesOf = (resource: Resource): (string | number)[] =>
    columnValues(column, resource) as (string | number)[];
  return instantCondition(valuesOf, filter, wholeDays, details.array);
}

/**
 * @param valuesOf - days as text where `wholeDays`, otherwise instants in milliseconds
 * @param isArray - whether the column holds several values; prefixes mean nothing then
 */
export function instantCondition(
  valuesOf: (resource: Resource) => (string | number)[],
  filter: Filter,
  wholeDays: boolean,
  isArray?: boolean,
): Condition {
  refuseSets(filter);
  const wanted = wholeDays ? dayOf(filter.value) : instantOf(filter.value);
  if (isArray) {
    const negated = isNegation(filter.operator);
    return (resource) => valuesOf(resource).includes(wanted) !== negated;
  }
  const holds = compare(filter.operator, wanted);
  return (resource) => {
    const [value] = valuesOf(resource);
    return value === undefined ? undefined : holds(value);
  };
}

function dayOf(value: string): string {
  instantOf(value);
  return value.slice(0, 10);
}

/** @throws OperationOutcomeError where it is not a date with a day, or there is no such day */
function instantOf(value: string): number {
  const day = value.slice(0, 10);
  const midnight = new Date(`${day}T00:00:00Z`);
  const exists = !Number.isNaN(midnight.getTime()) && midnight.toISOString().startsWith(day);
  if (!SEARCH_DATE.test(value) || !exists || day.startsWith('0000')) {
    refuse(`Invalid date value: ${value}`);
  }
  const text = value.replace(' ', 'T');
  const withMinutes = /T\d\d($|Z|[+-])/.test(text) ? text.replace(/T\d\d/, '$&:00') : text;
  const withZone = /T.*(Z|[+-]\d\d:\d\d)$/.test(withMinutes) ? withMinutes : zoned(withMinutes);
  return Date.parse(withZone);
}

function zoned(text: string): string {
  return text.includes('T') ? `${text.replace(/[+-]$/, '')}Z` : text.slice(0, 10);
}
