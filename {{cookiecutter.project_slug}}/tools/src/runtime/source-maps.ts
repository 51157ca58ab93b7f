// Turns places in a deployed bundle into places in the sources.
import { SourceMap } from 'node:module';
import type { SourceMapPayload } from 'node:module';
import { relative, resolve } from 'node:path';
import { COLUMNS_BEFORE_BUNDLE, LAMBDA_FILE, LINES_BEFORE_BUNDLE } from './bundle-place.ts';

/**
 * A place in a bundle as stack traces name it: in a script without a name on vmcontext, in user.cjs
 * on Lambda.
 */
const VMCONTEXT_PLACE = String.raw`evalmachine\.<anonymous>:(?<vmLine>\d+):(?<vmColumn>\d+)`;
const LAMBDA_NAME = LAMBDA_FILE.replace('.', String.raw`\.`);
const LAMBDA_PLACE = String.raw`(?<=\(|at )[^()\n]*?${LAMBDA_NAME}:(?<line>\d+):(?<column>\d+)`;
const PLACE = new RegExp(`${VMCONTEXT_PLACE}|${LAMBDA_PLACE}`, 'g');

/** A place in a source file. Line and column count from 1. */
export interface SourcePlace {
  /** Relative to the repository, such as `src/bots/my-bot.ts`. */
  file: string;
  line: number;
  column: number;
}

/** Finds the source of a place in a bundle; undefined for the lines that a runtime adds. */
export type SourceFinder = (line: number, column: number) => SourcePlace | undefined;

/** @returns whether a text names a place in a bundle */
export function namesBundlePlace(text: string): boolean {
  return text.search(PLACE) >= 0;
}

/**
 * @param map - the text of the bundle's source map
 * @param folder - where the bundle is, from the repository's folder
 * @returns finds the source of a place in the bundle; undefined for the lines that a runtime adds
 */
export function sourceFinder(map: string, folder = 'dist/bots'): SourceFinder {
  const sources = new SourceMap(JSON.parse(map) as SourceMapPayload);
  return (line, column) => {
    const entry = sources.findEntry(line - 1, column - 1);
    // For a line that is not in it, the map gives its nearest entry. An entry may have no source.
    if (!('originalSource' in entry) || !entry.originalSource || entry.generatedLine !== line - 1) {
      return undefined;
    }
    return {
      file: sourceFile(entry.originalSource, folder),
      line: entry.originalLine + 1,
      column: entry.originalColumn + 1,
    };
  };
}

/**
 * @param text - a log or a stack trace whose lines point into a deployed bundle
 * @param map - the text of the bundle's source map
 * @param folder - where the bundle is, from the repository's folder
 * @returns the text with each place that is known replaced by the place in the sources
 */
export function mapStack(text: string, map: string, folder?: string): string {
  return replacePlaces(text, sourceFinder(map, folder));
}

/** As mapStack, for many texts of one bundle: reading its source map takes some milliseconds. */
export function replacePlaces(text: string, find: SourceFinder): string {
  return text.replaceAll(PLACE, (...match) => {
    const [whole] = match as [string];
    const place = find(...bundlePlace(match.at(-1) as Record<string, string | undefined>));
    return place ? `${place.file}:${place.line}:${place.column}` : whole;
  });
}

/**
 * @param map - the text of the bundle's source map
 * @param file - a source, relative to the repository
 * @param folder - where the bundle is, from the repository's folder
 * @returns the lines of the source as they were when the bundle was built, if the map holds them
 */
export function sourceLines(map: string, file: string, folder = 'dist/bots'): string[] | undefined {
  const { sources, sourcesContent } = JSON.parse(map) as SourceMapPayload;
  const index = sources.findIndex((source) => sourceFile(source, folder) === file);
  return sourcesContent?.[index]?.split('\n');
}

/**
 * @param source - as a source map names it: an address relative to the bundle, such as
 *   `../../src/bots/my-bot.ts`
 * @returns the file, relative to the repository
 */
function sourceFile(source: string, folder: string): string {
  // esbuild writes addresses: in a folder such as `Ordner für Bots` the letters are escaped.
  const path = resolve(folder, decodeURIComponent(source));
  return relative(process.cwd(), path).replaceAll('\\', '/');
}

/** @returns line and column in the bundle's own file */
function bundlePlace(groups: Record<string, string | undefined>): [number, number] {
  if (groups['line'] !== undefined) {
    return [Number(groups['line']), Number(groups['column'])];
  }
  const line = Number(groups['vmLine']) - LINES_BEFORE_BUNDLE;
  return [line, Number(groups['vmColumn']) - (line === 1 ? COLUMNS_BEFORE_BUNDLE : 0)];
}
