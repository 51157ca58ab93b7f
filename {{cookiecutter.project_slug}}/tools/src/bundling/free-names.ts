// Parses a bundle, and marks the names that it uses without defining them: they have to be globals
// of the runtime.
import { transform } from 'esbuild';
import { SourceMap } from 'node:module';
import type { SourceMapPayload } from 'node:module';
import type { Syntax } from './syntax.ts';

export interface MarkedBundle {
  program: Syntax;
  /** @returns the name that is meant, if an identifier in `program` is one of the free names */
  freeName(identifier: string): string | undefined;
  /** @returns the place in the bundle of an offset in `program`, both counted from 1 */
  locate(offset: number): { line: number; column: number } | undefined;
}

const MARK = '__free_name_';

/**
 * esbuild replaces a name by its `define` only where no scope defines it, so what comes out marked
 * is free.
 *
 * @param code - of a bundle
 * @param names - to look for
 */
export async function markFreeNames(code: string, names: readonly string[]): Promise<MarkedBundle> {
  const marked = await transform(code, {
    define: Object.fromEntries(names.map((name) => [name, MARK + name])),
    legalComments: 'none',
    sourcemap: 'external',
    logLevel: 'silent',
  });
  // Comes with vite, which parses with it. Most bundles do not get here.
  const { parseSync } = await import('rolldown/utils');
  const { program } = parseSync('bundle.cjs', marked.code, { preserveParens: false });
  let map: SourceMap | undefined; // decoded when the first place is asked for
  let lines: number[] | undefined;
  return {
    program: program as unknown as Syntax,
    freeName: (identifier) =>
      identifier.startsWith(MARK) ? identifier.slice(MARK.length) : undefined,
    locate: (offset) => {
      map ??= new SourceMap(JSON.parse(marked.map) as SourceMapPayload);
      lines ??= lineStarts(marked.code);
      const line = lines.findLastIndex((start) => start <= offset);
      const entry = map.findEntry(line, offset - lines[line]!);
      return 'originalLine' in entry
        ? { line: entry.originalLine + 1, column: entry.originalColumn + 1 }
        : undefined;
    },
  };
}

/** @returns the offset of the first character of each line */
function lineStarts(text: string): number[] {
  return [0, ...Array.from(text.matchAll(/\n/g), ({ index }) => index + 1)];
}

/**
 * A quick look: parsing a bundle takes a hundred times as long.
 *
 * @returns the names among these that the text may use as globals
 */
export function namesIn(code: string, names: readonly string[]): string[] {
  const partOfName = '[\\w$]';
  const memberOfOther = '(?<!\\bglobalThis\\??)\\.'; // `timers.setTimeout`
  const required = `require\\(["'](?:node:)?`; // `require("node:crypto")`
  const pattern = new RegExp(
    `\\b(?<!${partOfName}|${memberOfOther}|${required})(?:${names.join('|')})(?!${partOfName})`,
    'g',
  );
  return [...new Set(code.match(pattern))];
}
