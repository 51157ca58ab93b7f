// Names and addresses: a search term's words must each begin a word of the stored text. The words
// are those of PostgreSQL's `to_tsvector('simple', …)`, which the real server searches with.
import * as core from '@medplum/core';
import type { Filter } from '@medplum/core';
import type { Address, HumanName, Resource } from '@medplum/fhirtypes';
import { anyOf, isNegation, not, refuseSets } from './conditions.ts';
import type { Condition } from './conditions.ts';
import type { SearchColumn } from './parameters.ts';

export function wordsCondition(column: SearchColumn, filter: Filter): Condition {
  refuseSets(filter);
  const alternatives = core.splitSearchOnComma(filter.value).map((value): Condition => {
    const matches = textMatcher(filter.operator, value);
    return (resource) => storedTexts(column, resource).some(matches);
  });
  return isNegation(filter.operator) ? not(anyOf(alternatives)) : anyOf(alternatives);
}

/** `:missing` is not a special case on the real server either: it looks for the word "true". */
function textMatcher(operator: core.Operator, value: string): (text: string) => boolean {
  if (operator === core.Operator.EXACT) {
    return (text) => text === value.trim();
  }
  if (operator === core.Operator.CONTAINS) {
    const part = value.toLowerCase();
    return (text) => text.toLowerCase().includes(part);
  }
  const phrases = searchPhrases(value);
  return (text) => {
    const words = wordsOf(text);
    return phrases.every((phrase) => containsPhrase(words, phrase));
  };
}

/**
 * @returns the words of a term; a hyphenated word is a phrase, whose words must follow each other
 */
function searchPhrases(value: string): string[][] {
  const withoutPunctuation = value.replaceAll(/[^\p{Letter}\p{Number}-]/gu, ' ').trim();
  return withoutPunctuation
    .split(/\s+/)
    .map(wordsOf)
    .filter((words) => words.length > 0);
}

function containsPhrase(words: string[], phrase: string[]): boolean {
  return words.some((_, start) =>
    phrase.every((part, index) => words[start + index]?.startsWith(part)),
  );
}

/** E-mail addresses, host names, paths, numbers and hyphenated words are words of their own. */
const WORD = new RegExp(
  [
    String.raw`[\p{L}\p{N}._+-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)+`,
    String.raw`\p{L}[\p{L}\p{N}]*(?:\.\p{L}[\p{L}\p{N}]*)+`,
    String.raw`\p{L}[\p{L}\p{N}]*(?:/[\p{L}\p{N}]+)+`,
    String.raw`\p{L}[\p{L}\p{N}]*(?:-\p{L}[\p{L}\p{N}]*)+`,
    String.raw`(?<![\p{L}\p{N}])\p{N}+\p{L}[\p{L}\p{N}]*`,
    String.raw`[+-]?\p{N}+(?:\.\p{N}+)*(?!\p{L})`,
    String.raw`[\p{L}\p{N}]+`,
  ].join('|'),
  'gu',
);

/** @returns the words of a text in order; a hyphenated word comes first whole, then in parts */
function wordsOf(text: string): string[] {
  return [...text.toLowerCase().matchAll(WORD)].flatMap(([word]) =>
    /^\p{L}[^.@/]*-/u.test(word) ? [word, ...word.split('-')] : [word],
  );
}

function storedTexts({ param, resourceType }: SearchColumn, resource: Resource): string[] {
  const { code } = param;
  if (code === 'address' || code.startsWith('address-')) {
    return addressesOf(resourceType, resource).flatMap((address) => addressText(code, address));
  }
  const { name = [] } = resource as { name?: HumanName[] };
  return name.flatMap((human) => nameText(code, human) || []);
}

/** @returns "given given family" for the code `name`; what `text` has more than that is added */
export function nameText(code: string, name: HumanName): string {
  if (code === 'given') {
    return core.formatGivenName(name);
  }
  if (code === 'family') {
    return core.formatFamilyName(name);
  }
  let result = core.formatHumanName(name);
  const words = new Set(result.toLowerCase().split(/\s+/));
  for (const word of (name.text ?? '').toLowerCase().split(/\s+/)) {
    if (word && !words.has(word)) {
      result += ` ${word}`;
      words.add(word);
    }
  }
  return result;
}

export function addressesOf(resourceType: string, resource: Resource): Address[] {
  if (resourceType === 'InsurancePlan') {
    const { contact = [] } = resource as { contact?: { address?: Address }[] };
    return contact.flatMap(({ address }) => address ?? []);
  }
  const { address = [] } = resource as { address?: Address | Address[] };
  return [address].flat();
}

const ADDRESS_MEMBERS = {
  'address-city': 'city',
  'address-country': 'country',
  'address-postalcode': 'postalCode',
  'address-state': 'state',
  'address-use': 'use',
} as const;

export function addressText(code: string, address: Address): string[] {
  if (code === 'address') {
    return [core.formatAddress(address)].filter((text) => text !== '');
  }
  const member = ADDRESS_MEMBERS[code as keyof typeof ADDRESS_MEMBERS];
  const text = address[member]?.trim();
  return text ? [text] : [];
}
