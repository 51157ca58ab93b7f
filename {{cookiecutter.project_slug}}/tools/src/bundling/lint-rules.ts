// Rules of the linter that depend on the bots: what vmcontext lacks is pointed out in the files
// that run there.
import { existsSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import type { OxlintOverride } from 'oxlint';
import type { BotConfig, Config } from '../config/config.ts';
import { runtimesOf } from '../config/runtimes.ts';
import { CONSOLE_HINT, CONSOLE_METHODS, VMCONTEXT_LACKS } from '../runtime/vmcontext-globals.ts';

const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*['"](\.{1,2}\/[^'"]+)['"]/g;
const ENDINGS = ['', '.ts', '.mts', '.cts', '/index.ts'];

/**
 * What the rules depend on, as it stands in medplum.config.json. It is not validated here, which
 * the build does: the linter, and each editor, would wait twice as long for the rules.
 */
interface LintedConfig {
  strictness?: Config['strictness'] | undefined;
  bots: Pick<BotConfig, 'source' | 'runtimeVersion' | 'portable'>[];
}

/**
 * @param root - the repository's folder
 * @returns whether every warning is an error; false where the configuration cannot be read, which
 *   the build reports
 */
export function isStrict(root: string = process.cwd()): boolean {
  return readConfig(root).strictness === 'strict';
}

/**
 * @param root - the repository's folder
 * @returns overrides for the bots that run on vmcontext, and for what they import; none if no bot
 *   does
 */
export function vmcontextOverrides(root: string = process.cwd()): OxlintOverride[] {
  const sources = readConfig(root)
    .bots.filter((bot) => runtimesOf(bot).includes('vmcontext'))
    .map(({ source }) => source);
  const files = [...withImports(sources, root)];
  if (files.length === 0) {
    return [];
  }
  const globals = Object.entries(VMCONTEXT_LACKS).map(([name, hint]) => ({
    name,
    message: `vmcontext does not have it: ${hint}.`,
  }));
  const methods = CONSOLE_METHODS.map((property) => ({
    object: 'console',
    property,
    message: `${CONSOLE_HINT}.`,
  }));
  const members = globals.map(({ name, message }) => ({
    object: 'globalThis',
    property: name,
    message,
  }));
  return [
    {
      files,
      rules: {
        'no-restricted-globals': ['warn', ...globals],
        'no-restricted-properties': ['warn', ...methods, ...members],
      },
    },
  ];
}

function readConfig(root: string): LintedConfig {
  try {
    const text = readFileSync(join(root, 'medplum.config.json'), 'utf8');
    const { strictness, bots } = JSON.parse(text) as LintedConfig;
    return { strictness, bots: bots.filter(({ source }) => typeof source === 'string') };
  } catch {
    return { bots: [] };
  }
}

/** The files, and those of the repository that they import, directly or not. */
function withImports(files: readonly string[], root: string): Set<string> {
  const found = new Set<string>();
  const waiting = [...files];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (found.has(file) || !existsSync(join(root, file))) {
      continue;
    }
    found.add(file);
    for (const [, specifier = ''] of readFileSync(join(root, file), 'utf8').matchAll(IMPORT)) {
      const target = posix.join(posix.dirname(file), specifier.replace(/\.js$/, '.ts'));
      const ending = ENDINGS.find(
        (end) => /\.[cm]?ts$/.test(target + end) && existsSync(join(root, target + end)),
      );
      if (ending !== undefined) {
        waiting.push(target + ending);
      }
    }
  }
  return found;
}
