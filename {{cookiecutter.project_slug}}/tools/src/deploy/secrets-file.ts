// A file of secrets, NAME=value a line, as `util.parseEnv` reads it. What it would leave out or cut
// is an error.
import { parseEnv } from 'node:util';

export interface SecretsFile {
  secrets: Map<string, string>;
  /** What would be lost or changed silently: `line 3 is not NAME=value`. Never holds a value. */
  problems: string[];
}

/** `NAME=` or `export NAME=`, and the rest of the line. */
const ASSIGNMENT = /^\s*(?:export\s+)?([A-Za-z_][\w.-]*)\s*=\s*(.*)$/;

const QUOTES = ['"', "'", '`'];

/**
 * @param text - of the file; a byte order mark and Windows line ends are allowed
 */
export function parseSecretsFile(text: string): SecretsFile {
  const clean = text.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n');
  const { names, problems } = scanLines(clean.split('\n'));
  const secrets = new Map(Object.entries(parseEnv(clean) as Record<string, string>));
  const twice = names.filter((name, index) => names.indexOf(name) < index);
  return {
    secrets,
    problems: [
      ...problems,
      ...twice.map((name) => `${name} is given twice`),
      ...[...secrets].filter(([, value]) => !value).map(([name]) => `${name} has no value`),
    ],
  };
}

/** Walks through the lines as parseEnv does, to find those that it skips or cuts. */
function scanLines(lines: readonly string[]): { names: string[]; problems: string[] } {
  const names: string[] = [];
  const problems: string[] = [];
  let index = 0;
  while (index < lines.length) {
    const line = lines[index] ?? '';
    const place = `line ${index + 1}`;
    const [, name, value = ''] = ASSIGNMENT.exec(line) ?? [];
    if (name === undefined) {
      if (line.trim() !== '' && !line.trim().startsWith('#')) {
        problems.push(`${place} is not NAME=value`);
      }
      index += 1;
      continue;
    }
    names.push(name);
    const quote = value.charAt(0);
    if (!QUOTES.includes(quote)) {
      if (/\S#/.test(value)) {
        problems.push(`${place} (${name}): "#" starts a comment; put the value in quotes`);
      }
      index += 1;
      continue;
    }
    const end = findClosingQuote(lines, index, value.slice(1), quote);
    if (end === undefined) {
      problems.push(`${place} (${name}): the closing quote is missing`);
      index += 1;
      continue;
    }
    if (!/^\s*(#.*)?$/.test(end.rest)) {
      problems.push(`line ${end.line + 1} (${name}): there is text after the closing quote`);
    }
    index = end.line + 1;
  }
  return { names, problems };
}

function findClosingQuote(
  lines: readonly string[],
  first: number,
  firstText: string,
  quote: string,
): { line: number; rest: string } | undefined {
  for (let line = first; line < lines.length; line++) {
    const text = line === first ? firstText : (lines[line] ?? '');
    const position = text.indexOf(quote);
    if (position >= 0) {
      return { line, rest: text.slice(position + 1) };
    }
  }
  return undefined;
}
