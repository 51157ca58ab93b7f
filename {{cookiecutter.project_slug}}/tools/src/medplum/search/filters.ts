// Turns one filter of a search into a condition: special parameters, `_filter`, chains, and the
// kinds of parameters.
import * as core from '@medplum/core';
import type { FhirFilterExpression, Filter } from '@medplum/core';
import type { Resource } from '@medplum/fhirtypes';
import { LOCAL } from '../local-project.ts';
import { chainCondition, isChained } from './chains.ts';
import { allOf, anyOf, not, refuse, refuseSets } from './conditions.ts';
import type { Condition } from './conditions.ts';
import type { FilterContext } from './context.ts';
import { dateCondition, instantCondition } from './dates.ts';
import { numberCondition, quantityCondition } from './numbers.ts';
import { columnOf, columnValues, searchColumn } from './parameters.ts';
import type { SearchColumn } from './parameters.ts';
import { referenceCondition } from './references.ts';
import { stringCondition } from './strings.ts';
import { booleanCondition, equalityCondition, tokenCondition, valueCondition } from './tokens.ts';
import { wordsCondition } from './words.ts';

export function filterCondition(context: FilterContext, type: string, filter: Filter): Condition {
  if (filter.value.includes('\0')) {
    refuse('Search filter value cannot contain null bytes');
  }
  if (isChained(filter)) {
    return chainCondition(context, type, filter);
  }
  return specialCondition(context, type, filter) ?? parameterCondition(context, type, filter);
}

function specialCondition(
  context: FilterContext,
  type: string,
  filter: Filter,
): Condition | undefined {
  switch (filter.code) {
    case '_id':
      return idCondition(({ id }) => [id!], filter, false);
    case '_lastUpdated':
      return instantCondition(({ meta }) => [Date.parse(meta!.lastUpdated!)], filter, false);
    case '_deleted':
      // Tombstones alone have no author.
      return booleanCondition(({ meta }) => meta?.deleted === true, filter);
    case '_project':
      return projectCondition(filter);
    case '_compartment':
      return idCondition(compartmentIds, filter, true);
    case '_filter':
      return expressionCondition(context, type, core.parseFilterParameter(filter.value));
    default:
      return undefined;
  }
}

function projectCondition(filter: Filter): Condition {
  const wantsMissing = filter.value === 'true';
  if (filter.operator === core.Operator.MISSING) {
    return () => !wantsMissing;
  }
  if (filter.operator === core.Operator.PRESENT) {
    return () => wantsMissing;
  }
  return idCondition(({ meta }) => [meta?.project ?? LOCAL.projectId], filter, false);
}

function compartmentIds({ meta }: Resource): string[] {
  return (meta?.compartment ?? []).flatMap((reference) => core.resolveId(reference) ?? []);
}

const NO_ID = '00000000-0000-0000-0000-000000000000';

function idCondition(
  idsOf: (resource: Resource) => string[],
  filter: Filter,
  isArray: boolean,
): Condition {
  refuseSets(filter);
  const wanted = core.splitSearchOnComma(filter.value).map((value) => {
    const id = value.split('/').at(-1)!;
    return core.isUUID(id) ? id.toLowerCase() : NO_ID;
  });
  return equalityCondition(idsOf, wanted, filter.operator, isArray);
}

function expressionCondition(
  context: FilterContext,
  type: string,
  expression: FhirFilterExpression,
): Condition {
  if (expression instanceof core.FhirFilterNegation) {
    return not(expressionCondition(context, type, expression.child));
  }
  if (expression instanceof core.FhirFilterConnective) {
    const sides = [expression.left, expression.right].map((side) =>
      expressionCondition(context, type, side),
    );
    return expression.keyword === 'and' ? allOf(sides) : anyOf(sides);
  }
  if (expression instanceof core.FhirFilterComparison) {
    const { path: code, operator, value } = expression;
    return filterCondition(context, type, { code, operator, value });
  }
  return refuse('Unknown filter expression type');
}

function parameterCondition(context: FilterContext, type: string, filter: Filter): Condition {
  const column = searchColumn(type, filter.code);
  if (filter.operator === core.Operator.IDENTIFIER) {
    const param = core.deriveIdentifierSearchParameter(column.param);
    const equals = { code: param.code, operator: core.Operator.EQUALS, value: filter.value };
    return tokenCondition(columnOf(type, param), equals);
  }
  if (column.strategy === 'token') {
    return tokenCondition(column, filter);
  }
  if (column.strategy === 'words') {
    return wordsCondition(column, filter);
  }
  return columnCondition(context, column, filter);
}

function columnCondition(context: FilterContext, column: SearchColumn, filter: Filter): Condition {
  const { operator, value } = filter;
  if (operator === core.Operator.MISSING || operator === core.Operator.PRESENT) {
    const wantsMissing = (value === 'true') === (operator === core.Operator.MISSING);
    return (resource) => (columnValues(column, resource).length === 0) === wantsMissing;
  }
  switch (column.param.type) {
    case 'string':
      return stringCondition(column, filter);
    case 'token':
    case 'uri':
      return column.details.type === core.SearchParameterType.BOOLEAN
        ? booleanCondition(
            (resource) => columnValues(column, resource)[0] as boolean | undefined,
            filter,
          )
        : valueCondition(column, filter);
    case 'reference':
      return referenceCondition(column, filter);
    case 'date':
      return dateCondition(context, column, filter);
    case 'quantity':
      return quantityCondition(column, filter);
    case 'number':
      return numberCondition(column, filter);
    default:
      return refuse(`Cannot search by the ${column.param.type} parameter ${column.param.code}`);
  }
}
