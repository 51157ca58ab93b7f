// The order of results: text by its characters' codes; resources without a value come last, or
// first when descending.
import type { SearchRequest, SortRule } from '@medplum/core';
import type { HumanName, Resource } from '@medplum/fhirtypes';
import type { Version } from '../version.ts';
import { columnValues, searchColumn } from './parameters.ts';
import type { ColumnValue, SearchColumn } from './parameters.ts';
import { tokensOf } from './tokens.ts';
import { addressText, addressesOf, nameText } from './words.ts';

type SortKey = ColumnValue | ColumnValue[] | undefined;

/**
 * @returns the versions in order; those that are equal by all rules in the order of their last
 *   writes
 */
export function sorted(versions: Version[], request: SearchRequest): Version[] {
  const rules = (request.sortRules ?? []).map((rule) => ({
    descending: rule.descending ?? false,
    keyOf: sortKey(request.resourceType, rule),
  }));
  const keyed = versions.map((version) => ({
    version,
    keys: rules.map(({ keyOf }) => keyOf(version.resource)),
  }));
  keyed.sort((a, b) => {
    for (const [index, { descending }] of rules.entries()) {
      const order = compareKeys(a.keys[index], b.keys[index]);
      if (order !== 0) {
        return descending ? -order : order;
      }
    }
    return a.version.order - b.version.order;
  });
  return keyed.map(({ version }) => version);
}

/** PostgreSQL puts NULL after all values. */
function compareKeys(a: SortKey, b: SortKey): number {
  if (a === undefined || b === undefined) {
    return Number(a === undefined) - Number(b === undefined);
  }
  const left = [a].flat();
  const right = [b].flat();
  for (const [index, value] of left.entries()) {
    const other = right[index];
    if (other === undefined) {
      return 1;
    }
    if (value !== other) {
      return value < other ? -1 : 1;
    }
  }
  return left.length - right.length;
}

function sortKey(type: string, { code }: SortRule): (resource: Resource) => SortKey {
  if (code === '_id') {
    return ({ id }) => id;
  }
  if (code === '_lastUpdated') {
    return ({ meta }) => meta?.lastUpdated;
  }
  const column = searchColumn(type, code);
  switch (column.strategy) {
    case 'token':
      return (resource) => firstToken(column, resource);
    case 'words':
      return (resource) => wordsKey(column, resource);
    default:
      return (resource) => {
        const values = columnValues(column, resource);
        return column.details.array && values.length > 0 ? values.toSorted(compareKeys) : values[0];
      };
  }
}

function firstToken(column: SearchColumn, resource: Resource): string | undefined {
  const values = tokensOf(column, resource).flatMap(({ value }) => value || []);
  return values.toSorted((a, b) => a.localeCompare(b))[0];
}

function wordsKey({ param, resourceType }: SearchColumn, resource: Resource): string | undefined {
  const { code } = param;
  if (code === 'address' || code.startsWith('address-')) {
    const texts = addressesOf(resourceType, resource).flatMap((address) =>
      addressText(code, address),
    );
    return texts.toSorted((a, b) => compareKeys(a, b))[0];
  }
  return nameKey(code, (resource as { name?: HumanName[] }).name ?? []);
}

/** Names are sorted by the one with the most important use. */
const USES = ['usual', 'official', undefined, 'temp', 'nickname', 'anonymous', 'old', 'maiden'];

function nameKey(code: string, names: HumanName[]): string | undefined {
  const candidates = names
    .map((name) => ({ text: nameText(code, name), rank: USES.indexOf(name.use) }))
    .filter(({ text }) => text !== '');
  candidates.sort((a, b) => a.rank - b.rank || a.text.localeCompare(b.text));
  return candidates[0]?.text;
}
