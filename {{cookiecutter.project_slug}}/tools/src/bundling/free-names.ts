// Names that a bundle uses without defining them: they have to be globals of the runtime.
import { transform } from 'esbuild';
import { SourceMap } from 'node:module';
import type { SourceMapPayload } from 'node:module';

export interface FreeName {
  name: string;
  /** `typeof name`, which is allowed for names that do not exist. */
  isTypeof: boolean;
  /** `value instanceof name` */
  isInstanceof: boolean;
  /** What follows it: `.error(…`. */
  after: string;
  /** Of the bundle; the first is 1. */
  line: number;
  column: number;
}

const MARK = '__free_name_';

/**
 * esbuild replaces a name by its `define` only where no scope defines it, so what comes out marked
 * is free.
 *
 * @param code - of a bundle
 * @param names - to look for
 * @returns each place where one of them is used
 */
export async function findFreeNames(code: string, names: readonly string[]): Promise<FreeName[]> {
  const candidates = names.filter((name) => mayUse(code, name));
  if (candidates.length === 0) {
    return [];
  }
  const define = Object.fromEntries(candidates.map((name) => [name, MARK + name]));
  const marked = await transform(code, {
    define,
    legalComments: 'none',
    sourcemap: 'external',
    logLevel: 'silent',
  });
  const map = new SourceMap(JSON.parse(marked.map) as SourceMapPayload);
  const pattern = new RegExp(`(typeof |instanceof )?${MARK}(\\w+)`, 'g');
  const found: FreeName[] = [];
  marked.code.split('\n').forEach((text, row) => {
    for (const match of text.matchAll(pattern)) {
      const [whole, operator = '', name = ''] = match;
      const entry = map.findEntry(row, match.index + operator.length);
      if (!('originalLine' in entry)) {
        continue;
      }
      found.push({
        name,
        isTypeof: operator === 'typeof ',
        isInstanceof: operator === 'instanceof ',
        after: text.slice(match.index + whole.length),
        line: entry.originalLine + 1,
        column: entry.originalColumn + 1,
      });
    }
  });
  return found;
}

/** A quick look: parsing a bundle takes a hundred times as long. */
function mayUse(code: string, name: string): boolean {
  return new RegExp(`(?<![.\\w$])${name}\\b`).test(code);
}
