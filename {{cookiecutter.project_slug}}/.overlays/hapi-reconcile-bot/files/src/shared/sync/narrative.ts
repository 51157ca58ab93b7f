// Narratives (XHTML in Resource.text) in one normal form, to compare them: servers rewrite quotes,
// the order of attributes, and entities.

/**
 * The entities of XHTML for the characters from 160 to 255, in order, and the most frequent of the
 * others.
 */
const LATIN_1 = `
  nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2
  sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc
  Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve
  Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute
  acirc atilde auml aring aelig ccedil egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde
  ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc uuml yacute thorn yuml
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
 * Rewrites narrative so that two spellings of the same are equal: attributes sorted and in one kind
 * of quotes, no empty tags, no entities, whitespace as single blanks.
 *
 * @param div - The XHTML of `text.div`.
 * @returns A text to compare; it is not XHTML any more.
 */
export function normalizedNarrative(div: string): string {
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
