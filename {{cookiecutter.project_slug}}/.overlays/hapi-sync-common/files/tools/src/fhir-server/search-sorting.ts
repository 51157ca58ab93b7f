// The order of search results: `_sort=family,-birthdate`. Without it HAPI returns resources in the
// order of creation.
import type { WithId } from '@medplum/core';
import type { Resource, SearchParameter } from '@medplum/fhirtypes';
import { searchParametersOf } from './definitions.ts';
import { FhirError } from './errors.ts';
import { livingResourceOf } from './resource-store.ts';
import type { ResourceRecord } from './resource-store.ts';
import { sortValueOf } from './search-matching.ts';

/**
 * @param rules - the value of `_sort`
 * @throws FhirError 400 HAPI-1194 for a parameter that the type does not have
 */
export function sortRecords(
  records: ResourceRecord[],
  type: string,
  rules: string,
): ResourceRecord[] {
  const keys = rules
    .split(',')
    .filter((rule) => rule.trim() !== '')
    .map((rule) => readRule(type, rule.trim()));
  if (keys.length === 0) {
    return records;
  }
  const values = new Map(
    records.map((record) => [record, keys.map(({ parameter }) => valueOf(record, parameter))]),
  );
  return records.toSorted((first, second) => {
    for (const [index, { isDescending }] of keys.entries()) {
      const order = compare(values.get(first)![index], values.get(second)![index], isDescending);
      if (order !== 0) {
        return order;
      }
    }
    return 0;
  });
}

interface Rule {
  parameter: SearchParameter;
  isDescending: boolean;
}

function readRule(type: string, rule: string): Rule {
  const isDescending = rule.startsWith('-');
  const name = isDescending ? rule.slice(1) : rule;
  const parameter = searchParametersOf(type).get(name);
  if (!parameter) {
    throw new FhirError(
      400,
      `HAPI-1194: Unknown _sort parameter value "${name}" for resource type "${type}"`,
    );
  }
  return { parameter, isDescending };
}

type SortValue = string | number | undefined;

function valueOf(record: ResourceRecord, parameter: SearchParameter): SortValue {
  const resource = livingResourceOf(record) as WithId<Resource>;
  return parameter.code === '_id' ? resource.id : sortValueOf(resource, parameter);
}

/** Resources without a value come last, in either direction. */
function compare(first: SortValue, second: SortValue, isDescending: boolean): number {
  if (first === second) {
    return 0;
  }
  if (first === undefined || second === undefined) {
    return first === undefined ? 1 : -1;
  }
  const order = first < second ? -1 : 1;
  return isDescending ? -order : order;
}
