// Text files that people write, in whatever encoding their editor or shell has chosen.
import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { UserError } from '../terminal/user-error.ts';

/**
 * Reads UTF-8 strictly: characters of another encoding would be replaced, and a secret or a text
 * for patients would be another one.
 *
 * @param file - its path
 * @param name - for the message
 * @returns its text, without a byte order mark
 * @throws UserError if it is not UTF-8; the error of the file system
 */
export function readText(file: string, name: string = file): string {
  const content = readFileSync(file);
  const text = decode(content);
  // UTF-16 without a mark has a NUL in each character of ASCII.
  if (text === undefined || text.includes('\0')) {
    throw new UserError(`${name} is not UTF-8. Save it as UTF-8.`);
  }
  return text;
}

function decode(content: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch {
    return undefined;
  }
}

/**
 * @param file - NAME=value, one a line
 * @returns its variables, as `util.parseEnv` reads them
 * @throws UserError if it is not UTF-8; the error of the file system
 */
export function readVariables(file: string): Record<string, string | undefined> {
  return parseEnv(readText(file));
}
