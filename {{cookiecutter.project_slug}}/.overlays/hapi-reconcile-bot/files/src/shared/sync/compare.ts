// Whether a resource on the target is what a write would make it.
import type { Coding, Resource } from '@medplum/fhirtypes';
import { normalizedNarrative } from './narrative.ts';

/**
 * Compares the copy that would be written with the resource on the target.
 *
 * What a server adds (version, time, source) does not count, nor how it spells what means the same:
 * HAPI 8.8 rewrites narrative, sorts tags, and gives a tag without a system the system of another
 * one.
 *
 * @param copy - What would be written; see copyOf.
 * @param existing - The resource, as the target has it.
 * @returns True if a write would change nothing.
 */
export function isSame(copy: Resource, existing: Resource): boolean {
  return (
    isSameSet(copy.meta?.tag, existing.meta?.tag) &&
    isSameSet(copy.meta?.security, existing.meta?.security) &&
    textOf(copy) === textOf(existing)
  );
}

function isSameSet(wanted: Coding[] = [], existing: Coding[] = []): boolean {
  const found = existing.filter(({ code }) => code !== undefined);
  const isThere = ({ system, code }: Coding): boolean =>
    found.some((other) => other.code === code && (system === undefined || other.system === system));
  return (
    wanted.every(isThere) &&
    found.length === new Set(wanted.map(({ system, code }) => `${system}|${code}`)).size
  );
}

/**
 * A text that is the same for resources that mean the same. Not isDeepStrictEqual: on vmcontext,
 * Medplum's objects belong to another realm, and would never be equal.
 */
function textOf({ meta, ...content }: Resource): string {
  const profile = [...(meta?.profile ?? [])].sort();
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
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  members.sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(members.map(([key, member]) => [key, normalized(member, key)]));
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
