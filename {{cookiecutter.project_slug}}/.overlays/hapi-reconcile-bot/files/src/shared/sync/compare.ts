// Whether a resource on the target is what a write would make it.
import type { Coding, Resource } from '@medplum/fhirtypes';

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

/**
 * The entities of XHTML for the characters from 160 to 255, in order, and the most frequent of the
 * others.
 */
const LATIN_1 = `
  nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn
  sup2 sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave
  Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml
  ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN
  szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml igrave iacute
  icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc uuml
  yacute thorn yuml
`
  .trim()
  .split(/\s+/);
const OTHERS: Record<string, string> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  ndash: '\u2013',
  mdash: '\u2014',
  lsquo: '\u2018',
  rsquo: '\u2019',
  ldquo: '\u201c',
  rdquo: '\u201d',
  bull: '\u2022',
  hellip: '\u2026',
  euro: '\u20ac',
  trade: '\u2122',
  le: '\u2264',
  ge: '\u2265',
};

/**
 * Rewrites narrative (the XHTML of `text.div`) so that two spellings of the same are equal:
 * attributes sorted and in one kind of quotes, no empty tags, no entities, whitespace as single
 * blanks. It is not XHTML any more.
 */
function normalizedNarrative(div: string): string {
  const tags = /<(\/?)([A-Za-z][\w:-]*)((?:\s+[\w:-]+\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*(\/?)>/g;
  const sorted = div.replace(
    tags,
    (_tag, end: string, name: string, list: string, close: string) => {
      const attributes = [...list.matchAll(/([\w:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g)];
      const texts = attributes
        .map(([, key, double, single]) => `${key}=${double ?? single}`)
        .sort();
      const open = `<${[`${end}${name}`, ...texts].join(' ')}>`;
      return close ? `${open}</${name}>` : open;
    },
  );
  const decoded = sorted.replace(
    /&(#x?[0-9a-f]+|\w+);/gi,
    (entity, code: string) => character(code) ?? entity,
  );
  return decoded.replace(/\s+/g, ' ').trim();
}

function character(code: string): string | undefined {
  const [, hexadecimal, decimal] = /^#(?:x([0-9a-f]+)|(\d+))$/i.exec(code) ?? [];
  if (hexadecimal ?? decimal) {
    const point = hexadecimal
      ? Number.parseInt(hexadecimal, 16)
      : Number.parseInt(decimal ?? '', 10);
    return point <= 0x10_ff_ff ? String.fromCodePoint(point) : undefined;
  }
  const index = LATIN_1.indexOf(code);
  return index >= 0 ? String.fromCharCode(160 + index) : OTHERS[code];
}
