// The files of src/bots, against the bots of medplum.config.json.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { BotConfig } from '../config/config.ts';
import type { Finding } from './finding.ts';

const TEST = /\.(test|spec)\.[cm]?ts$/;
const HANDLER =
  /^\s*export\s+(?:async\s+)?function\s*\*?\s*handler\b|^\s*export\s+(?:const|let|var)\s+handler\b|^\s*export\s*\{[^}]*\bhandler\b[^}]*\}/m;

/**
 * The TypeScript files of src/bots that could be bots: no tests, no declarations, nothing that an
 * editor left there.
 *
 * @param root - the repository's folder
 * @returns paths from there, with slashes, sorted
 */
function botFiles(root: string = process.cwd()): string[] {
  const folder = join(root, 'src/bots');
  // Quicker than a glob, whose code Node has to load first.
  const files = existsSync(folder)
    ? readdirSync(folder, { recursive: true, encoding: 'utf8' })
    : [];
  return files
    .filter((file) => /\.[cm]?ts$/.test(file) && !/^[.#~]/.test(basename(file)))
    .filter((file) => !TEST.test(file) && !/\.d\.[cm]?ts$/.test(file))
    .map((file) => `src/bots/${file.replaceAll('\\', '/')}`)
    .toSorted();
}

/** Whether a source file exports something that is called `handler`. */
export function exportsHandler(text: string): boolean {
  return HANDLER.test(text);
}

/**
 * A bot without its file, and a file with a handler that is not a bot of the configuration. Other
 * files in src/bots are helpers of the bots next to them.
 *
 * @param bots - of medplum.config.json
 * @param root - the repository's folder
 */
export function checkSourceFiles(
  bots: readonly BotConfig[],
  root: string = process.cwd(),
): Finding[] {
  const findings: Finding[] = [];
  const files = new Set(botFiles(root));
  for (const bot of bots) {
    if (!files.has(bot.source) && !existsSync(join(root, bot.source))) {
      findings.push({
        severity: 'error',
        kind: 'missing-source',
        file: bot.source,
        message: `does not exist: write it, or remove "${bot.name}" from medplum.config.json`,
        bots: [bot.name],
      });
    }
  }
  const sources = new Set(bots.map((bot) => bot.source));
  for (const file of files) {
    if (!sources.has(file) && exportsHandler(readFileSync(join(root, file), 'utf8'))) {
      findings.push({
        severity: 'error',
        kind: 'unknown-bot',
        file,
        message:
          'exports a handler and is not in medplum.config.json: add it to "bots", ' +
          'or rename the export',
        bots: [],
      });
    }
  }
  return findings;
}
