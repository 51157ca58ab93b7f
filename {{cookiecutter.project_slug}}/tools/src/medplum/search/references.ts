// References: `Type/id`, a bare id where the type is clear, canonical addresses.
import * as core from '@medplum/core';
import type { Filter } from '@medplum/core';
import type { Resource } from '@medplum/fhirtypes';
import { isNegation, not, refuseSets } from './conditions.ts';
import type { Condition } from './conditions.ts';
import { columnValues, typedValues } from './parameters.ts';
import type { SearchColumn } from './parameters.ts';

export function referenceCondition(column: SearchColumn, filter: Filter): Condition {
  refuseSets(filter);
  const wanted = core.splitSearchOnComma(filter.value).map((value) => withType(column, value));
  const { array } = column.details;
  const condition: Condition = (resource) => {
    const references = columnValues(column, resource) as string[];
    if (array) {
      return references.some((reference) => wanted.includes(reference));
    }
    const [reference] = references;
    return reference === undefined ? undefined : wanted.includes(reference);
  };
  return isNegation(filter.operator) ? not(condition) : condition;
}

/** `subject` and `patient` mean a Patient by default; other ids need a parameter of one type. */
function withType({ param, details }: SearchColumn, value: string): string {
  if (value.includes('/')) {
    return value;
  }
  const types = details.referenceTargetTypes;
  const isCanonical = details.type === core.SearchParameterType.CANONICAL;
  if (!isCanonical && types?.length === 1 && core.isUUID(value)) {
    return `${types[0]}/${value}`;
  }
  return param.code === 'subject' || param.code === 'patient' ? `Patient/${value}` : value;
}

/**
 * @returns the ids that a parameter's references name, of any type; for chained searches
 */
export function referencedIds(column: SearchColumn, resource: Resource): string[] {
  return typedValues(column, resource).flatMap(({ value }) => {
    const id = core.isReference(value) ? core.resolveId(value) : undefined;
    return id && core.isUUID(id) ? [id] : [];
  });
}
