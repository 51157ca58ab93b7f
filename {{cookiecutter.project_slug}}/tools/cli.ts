// Terminal manners that all commands share: errors of one line, flags, colours, tables.
import { enableCompileCache } from 'node:module';
import { parseArgs, stripVTControlCharacters, styleText } from 'node:util';
import type { ParseArgsConfig } from 'node:util';

/** A mistake that the person at the keyboard can mend. Its message says what is wrong, where, and what to do. */
export class UserError extends Error {
  override name = 'UserError';
}

/**
 * Runs a command, prints what went wrong in one line and sets the exit code. What it imports while it runs is compiled
 * once and kept by Node (a third of a start's time), so commands import here what is large.
 *
 * @param run - the command; a number it returns becomes the exit code
 */
export async function main(run: () => Promise<number | void> | number | void): Promise<void> {
  enableCompileCache();
  // A reader that closes early (`npm run logs | head`) is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  try {
    process.exitCode = (await run()) ?? process.exitCode ?? 0;
  } catch (error) {
    process.exitCode = 1;
    const message = error instanceof Error ? error.message : String(error);
    if (error instanceof UserError) {
      // Several mistakes are several lines, each whole in itself.
      for (const line of message.split('\n')) console.error(`${styleText('red', 'Error:', stderr)} ${line}`);
      return;
    }
    console.error(`${styleText('red', 'Error:', stderr)} ${message.split('\n')[0]}`);
    console.error(process.env['DEBUG'] ? error : 'This was not expected. Set DEBUG=1 in the environment to see where.');
  }
}

/**
 * Reads the command line. A flag that does not exist is refused with a suggestion, and a flag that npm kept for
 * itself (`npm run plan --json` instead of `npm run plan -- --json`) is named instead of being lost.
 *
 * @param config - as for `parseArgs` of node:util
 * @returns `{ values, positionals }`
 * @throws UserError
 */
export function readArgs<T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
  const flags = Object.keys(config.options ?? {}).map((name) => `--${name}`);
  const given = process.argv.map((argument) => argument.split('=')[0]);
  const kept = flags.find((flag) => !given.includes(flag) && keptByNpm(flag));
  if (kept) {
    const script = process.env['npm_lifecycle_event'] ?? '<script>';
    throw new UserError(`npm kept ${kept} for itself. Put two dashes before it: npm run ${script} -- ${kept}`);
  }
  const once = flags.filter((flag) => !config.options?.[flag.slice(2)]?.multiple);
  const twice = once.find((flag) => given.indexOf(flag) !== given.lastIndexOf(flag));
  if (twice) throw new UserError(`${twice} was given more than once: only the last would count, so say it once.`);
  try {
    return parseArgs(config);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const [, named = ''] = /'([^' ]*)/.exec(message) ?? [];
    const known = ` Known: ${flags.join(', ') || 'none'}.`;
    if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION')
      throw new UserError(`There is no flag ${named}.${suggest(named, flags) || known}`);
    if (code === 'ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL')
      throw new UserError(`${named} is not expected here, only flags are.${known}`);
    throw new UserError(`${named} ${/not take/.test(message) ? 'takes no value.' : 'needs a value after it.'}`);
  }
}

/** npm tells a script which flags npm itself took, in variables named npm_config_… (empty or "false": not set). */
function keptByNpm(flag: string): boolean {
  return !['', 'false'].includes(process.env[`npm_config_${flag.slice(2).replaceAll('-', '_')}`] ?? '');
}

/**
 * ` Did you mean "…"?`, or an empty string where nothing known is near.
 *
 * @param word - what was written
 * @param known - what would have been right
 */
export function suggest(word: string, known: readonly string[]): string {
  const distances = known.map((candidate) => ({ candidate, distance: editDistance(word, candidate) }));
  const best = distances.toSorted((a, b) => a.distance - b.distance)[0];
  return best && best.distance <= word.length * 0.4 ? ` Did you mean "${best.candidate}"?` : '';
}

/** Levenshtein distance without regard to case. */
function editDistance(from: string, to: string): number {
  const [a, b] = [from.toLowerCase(), to.toLowerCase()];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length]!;
}

// styleText leaves colours out for NO_COLOR and where the stream is no terminal.
const stderr = { stream: process.stderr };
export const bold = (text: string): string => styleText('bold', text);
export const dim = (text: string): string => styleText('dim', text);
export const green = (text: string): string => styleText('green', text);
export const red = (text: string): string => styleText('red', text);
export const yellow = (text: string): string => styleText('yellow', text);

/**
 * Lines things up in columns; a column of numbers stands to the right.
 *
 * @param headers - one for each column
 * @param rows - cells, which may be coloured; the last ones of a row may be left out
 */
export function table(headers: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const text = (cell: string | number = ''): string => (typeof cell === 'number' ? cell.toLocaleString('en') : cell);
  const plain = (cell?: string | number): string => stripVTControlCharacters(text(cell));
  const columns = headers.map((header, column) => {
    const cells = rows.map((row) => plain(row[column]));
    return {
      width: Math.max(header.length, ...cells.map((cell) => cell.length)),
      numbers: cells.every((cell) => /^([+-]?[\d,.]+( %)?)?$/.test(cell)),
    };
  });
  const line = (row: readonly (string | number)[]): string => {
    const cells = columns.map(({ width, numbers }, column) => {
      const space = ' '.repeat(width - plain(row[column]).length);
      return numbers ? space + text(row[column]) : text(row[column]) + space;
    });
    return cells.join('  ').trimEnd();
  };
  return [bold(line(headers)), ...rows.map(line)].join('\n');
}
