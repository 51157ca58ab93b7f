// A finding with the line of the source that it is about.
import { readFileSync } from 'node:fs';
import { describe } from '../bundling/finding.ts';
import type { Finding } from '../bundling/finding.ts';
import { dim, red } from '../terminal/output.ts';

/** @returns the finding in one line, then the line of the source with a mark below the place */
export function withSourceLine(finding: Finding): string {
  const text = red(describe(finding));
  const { file, line, column = 1 } = finding;
  const source = file !== undefined && line !== undefined ? readLine(file, line) : undefined;
  if (source === undefined) {
    return text;
  }
  const margin = `  ${line} | `;
  const mark = `${' '.repeat(margin.length + column - 1)}${red('^')}`;
  return `${text}\n${dim(margin)}${source}\n${mark}`;
}

function readLine(file: string, line: number): string | undefined {
  try {
    return readFileSync(file, 'utf8').split('\n')[line - 1];
  } catch {
    return undefined; // deleted since
  }
}
