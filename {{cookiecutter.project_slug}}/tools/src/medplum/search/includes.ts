// `_include` and `_revinclude`: resources that the results refer to, or that refer to them.
import * as core from '@medplum/core';
import type { IncludeTarget, SearchRequest, WithId } from '@medplum/core';
import type { Reference, Resource, ResourceType, SearchParameter } from '@medplum/fhirtypes';
import { refuse } from './conditions.ts';
import { columnOf, typedValues } from './parameters.ts';

const MOST_ITERATIONS = 5;
const MOST_ENTRIES = 1000;

export interface IncludeReader {
  /** @returns the resource that is referred to, if there is one and it may be read */
  read(reference: string): WithId<Resource> | undefined;
  /** @returns the resources of a type that the actor may search and that the filter finds */
  find(type: ResourceType, filter: core.Filter): WithId<Resource>[];
}

/**
 * @param matches - what the search itself found
 * @returns what is included with it, each resource once and none of the matches
 */
export function includedResources(
  { include = [], revInclude = [] }: SearchRequest,
  matches: WithId<Resource>[],
  reader: IncludeReader,
): WithId<Resource>[] {
  const result: WithId<Resource>[] = [];
  const seen = new Set(matches.map(core.getReferenceString));
  let base = matches;
  for (let depth = 0; base.length > 0; depth++) {
    if (depth >= MOST_ITERATIONS || matches.length + result.length > MOST_ENTRIES) {
      refuse(
        `Search with _(rev)include reached query scope limit: depth=${depth}, ` +
          `results=${matches.length + result.length}`,
      );
    }
    const applies = ({ modifier }: IncludeTarget): boolean =>
      depth === 0 || modifier === core.Operator.ITERATE;
    const from = base;
    base = [
      ...include.filter(applies).flatMap((target) => forward(target, from, reader)),
      ...revInclude.filter(applies).flatMap((target) => reverse(target, from, reader)),
    ];
    for (const resource of base) {
      const reference = core.getReferenceString(resource);
      if (!seen.has(reference)) {
        result.push(resource);
        seen.add(reference);
      }
    }
  }
  return result;
}

function includeParameter({ resourceType, searchParam }: IncludeTarget): SearchParameter {
  const param = core.getSearchParameter(resourceType, searchParam);
  if (!param) {
    refuse(`Invalid include parameter: ${resourceType}:${searchParam}`);
  }
  return param;
}

function forward(
  target: IncludeTarget,
  base: WithId<Resource>[],
  reader: IncludeReader,
): WithId<Resource>[] {
  const param = includeParameter(target);
  const { targetType, resourceType } = target;
  const values = base
    .filter((resource) => resource.resourceType === resourceType)
    .flatMap((resource) => typedValues(columnOf(resourceType, param), resource));
  const references = values
    .filter(({ type }) => type === core.PropertyType.Reference)
    .map(({ value }) => (value as Reference).reference ?? '')
    .filter((reference) => !targetType || reference.startsWith(`${targetType}/`));
  const found = references.flatMap((reference) => reader.read(reference) ?? []);
  const urls = values
    .filter(({ type }) => type === core.PropertyType.canonical || type === core.PropertyType.uri)
    .map(({ value }) => String(value));
  const types = (param.target ?? []).filter((type) => !targetType || type === targetType);
  if (urls.length > 0) {
    for (const type of types) {
      found.push(...reader.find(type, equals('url', urls.join(','))));
    }
  }
  return found;
}

function reverse(
  target: IncludeTarget,
  base: WithId<Resource>[],
  reader: IncludeReader,
): WithId<Resource>[] {
  const param = includeParameter(target);
  const column = columnOf(target.resourceType, param);
  const isCanonical = column.details.type === core.SearchParameterType.CANONICAL;
  const references = base
    .filter(({ resourceType }) => !target.targetType || resourceType === target.targetType)
    .map((resource) =>
      isCanonical ? (resource as { url?: string }).url : core.getReferenceString(resource),
    )
    .filter((reference) => reference !== undefined);
  if (references.length === 0) {
    return [];
  }
  return reader.find(
    target.resourceType as ResourceType,
    equals(target.searchParam, references.join(',')),
  );
}

function equals(code: string, value: string): core.Filter {
  return { code, operator: core.Operator.EQUALS, value };
}
