// Numbers and quantities: the number is compared exactly; unit and system are not looked at.
import * as core from '@medplum/core';
import type { Filter } from '@medplum/core';
import { anyOf, refuse } from './conditions.ts';
import type { Condition } from './conditions.ts';
import { columnValues } from './parameters.ts';
import type { SearchColumn } from './parameters.ts';

/** @returns whether a value is equal to, less than … the wanted one, as the operator says */
export function compare<T extends string | number>(
  operator: core.Operator,
  wanted: T,
): (value: string | number) => boolean {
  switch (operator) {
    case core.Operator.EQUALS:
    case core.Operator.EXACT:
      return (value) => value === wanted;
    case core.Operator.NOT:
    case core.Operator.NOT_EQUALS:
      return (value) => value !== wanted;
    case core.Operator.GREATER_THAN:
    case core.Operator.STARTS_AFTER:
      return (value) => value > wanted;
    case core.Operator.GREATER_THAN_OR_EQUALS:
      return (value) => value >= wanted;
    case core.Operator.LESS_THAN:
    case core.Operator.ENDS_BEFORE:
      return (value) => value < wanted;
    case core.Operator.LESS_THAN_OR_EQUALS:
      return (value) => value <= wanted;
    default:
      return refuse(`Unknown FHIR operator: ${operator}`);
  }
}

export function numberCondition(column: SearchColumn, { operator, value }: Filter): Condition {
  const alternatives = core.splitSearchOnComma(value).map((text): Condition => {
    const holds = compare(operator, numberOf(text));
    return (resource) => firstOrAny(column, resource as never, holds);
  });
  return anyOf(alternatives);
}

function firstOrAny(
  column: SearchColumn,
  resource: Parameters<Condition>[0],
  holds: (value: number) => boolean,
): boolean | undefined {
  const values = columnValues(column, resource) as number[];
  if (column.details.array) {
    return values.some(holds);
  }
  return values[0] === undefined ? undefined : holds(values[0]);
}

/** The tolerance of the prefix `ap`. */
const APPROXIMATE = 0.1;

export function quantityCondition(column: SearchColumn, { operator, value }: Filter): Condition {
  if (column.details.array) {
    refuse(`Cannot compare the list ${column.param.code} with a number`);
  }
  const [text = ''] = value.split('|');
  if (text === '') {
    refuse(`Invalid quantity value: ${value}`);
  }
  const wanted = numberOf(text);
  const holds =
    operator === core.Operator.APPROXIMATELY
      ? (found: number) =>
          found >= wanted * (1 - APPROXIMATE) && found <= wanted * (1 + APPROXIMATE)
      : compare(operator, wanted);
  return (resource) => firstOrAny(column, resource, holds);
}

function numberOf(text: string): number {
  const number = Number(text);
  if (text.trim() === '' || Number.isNaN(number)) {
    refuse(`invalid input syntax for type double precision: "${text}"`);
  }
  return number;
}
