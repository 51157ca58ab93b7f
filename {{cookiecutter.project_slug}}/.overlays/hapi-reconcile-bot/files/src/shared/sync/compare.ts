// Compares a resource on the target with what a write would store there.
import type { Coding, Resource } from '@medplum/fhirtypes';
import { HTML_ENTITIES } from '../html-entities.ts';

/**
 * Compares the copy that would be written with the resource on the target.
 *
 * What a server adds (version, time, source) does not count, nor how it spells what means the same:
 * HAPI 8.8 rewrites narrative, sorts tags, and gives a tag without a system the system of another
 * one.
 *
 * @param copy - What would be written; see copyOf.
 * @param existing - The resource, as the target has it, if it is there.
 * @returns True if a write would change nothing.
 */
export function isSame(copy: Resource, existing: Resource | undefined): boolean {
  return (
    existing !== undefined &&
    isSameSet(copy.meta?.tag, existing.meta?.tag) &&
    isSameSet(copy.meta?.security, existing.meta?.security) &&
    textOf(copy) === textOf(existing)
  );
}

function isSameSet(wanted: Coding[] = [], existing: Coding[] = []): boolean {
  const found = existing.filter(({ code }) => code !== undefined);
  const isThere = ({ system, code }: Coding): boolean =>
    found.some((other) => other.code === code && (system === undefined || other.system === system));
  return wanted.every(isThere) && distinct(found) === distinct(wanted);
}

/** How many codings there are, whatever their texts and versions. */
function distinct(codings: Coding[]): number {
  return new Set(codings.map(({ system, code }) => `${system}|${code}`)).size;
}

/**
 * A text that is the same for resources that mean the same. Not isDeepStrictEqual: on vmcontext,
 * Medplum's objects belong to another realm, and would never be equal.
 */
function textOf({ meta, ...content }: Resource): string {
  const profile = [...new Set(meta?.profile)].sort();
  return JSON.stringify(normalized({ ...content, profile }, ''));
}

/** A copy in which equal things look equal: members in order, narrative normalized. */
function normalized(value: unknown, name: string): unknown {
  if (typeof value === 'string') {
    return normalizedText(value, name);
  }
  if (Array.isArray(value)) {
    return value.map((item: unknown) => normalized(item, name));
  }
  if (typeof value !== 'object' || value === null) {
    return value;
  }
  const members = Object.entries(value).filter(
    ([key, member]) => member !== undefined && !isBesideNothing(key, value),
  );
  members.sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(members.map(([key, member]) => [key, normalized(member, key)]));
}

/**
 * HAPI drops the extensions of primitives in a list (`_given`) if the list holds no value at all.
 */
function isBesideNothing(key: string, parent: object): boolean {
  const members = parent as Record<string, unknown>;
  const primitives = members[key.slice(1)];
  const hasValue = Array.isArray(primitives) && primitives.some((item) => item !== null);
  return key.startsWith('_') && Array.isArray(members[key]) && !hasValue;
}

/**
 * HAPI rewrites narrative, and removes the whitespace in base64 data (Attachment.data, and
 * Signature.data).
 */
function normalizedText(text: string, name: string): string {
  switch (name) {
    case 'div':
      return normalizedNarrative(text);
    case 'data':
      return text.replace(/\s+/g, '');
    default:
      return text;
  }
}

/**
 * Rewrites narrative (the XHTML of `text.div`) so that two spellings of the same are equal:
 * attributes sorted and in one kind of quotes, no empty tags, no entities, no comments, whitespace
 * as single blanks. It is not XHTML any more.
 */
function normalizedNarrative(div: string): string {
  const tags = /<(\/?)([A-Za-z][\w:-]*)((?:\s+[\w:-]+\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*(\/?)>/g;
  const sorted = div
    .replace(/<!--.*?-->/gs, ' ')
    .replace(tags, (_tag, end: string, name: string, list: string, close: string) => {
      const attributes = [...list.matchAll(/([\w:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g)];
      const texts = attributes
        .map(([, key, double, single]) => `${key}=${double ?? single}`)
        .sort();
      const open = `<${[`${end}${name}`, ...texts].join(' ')}>`;
      return close ? `${open}</${name}>` : open;
    });
  const decoded = sorted.replace(
    /&(#x?[0-9a-f]+|\w+);/gi,
    (entity, code: string) => character(code) ?? entity,
  );
  return decoded.replace(/\s+/g, ' ').trim();
}

function character(code: string): string | undefined {
  const [, hexadecimal, decimal] = /^#(?:x([0-9a-f]+)|(\d+))$/i.exec(code) ?? [];
  const digits = hexadecimal ?? decimal;
  if (!digits) {
    return HTML_ENTITIES.get(code);
  }
  const point = Number.parseInt(digits, hexadecimal ? 16 : 10);
  return point <= 0x10_ff_ff ? String.fromCodePoint(point) : undefined;
}
