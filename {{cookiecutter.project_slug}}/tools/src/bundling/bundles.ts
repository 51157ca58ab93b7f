// What must be true of the bots before and after they are bundled, and what the manifest says about each.
import type { BuildFailure, BuildResult, Message } from 'esbuild';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { UserError } from '../terminal/user-error.ts';
import type { BotConfig } from '../config/config.ts';

/** dist/manifest.json */
export interface Manifest {
  /** Minified. */
  production: boolean;
  bots: Record<string, BundleInfo>;
}

export interface BundleInfo {
  file: string;
  bytes: number;
  /** Of the .js file. */
  sha256: string;
  /** Bytes of the bot's own code in the bundle. */
  own: number;
  /** The modules of src/shared in it: bytes in the bundle, and the hash of their source text. */
  shared: Record<string, { bytes: number; sha256: string }>;
}

/**
 * Every file in src/bots is a bot of the configuration, and the reverse.
 *
 * @param bots - of medplum.config.json
 * @throws UserError
 */
export function checkSources(bots: readonly BotConfig[]): void {
  const names = (existsSync('src/bots') ? readdirSync('src/bots') : []).filter(
    (name) => !name.startsWith('.'),
  );
  const files = new Set(names.map((name) => `src/bots/${name}`));
  const sources = new Set(bots.map((bot) => bot.source));
  const missing = bots.filter((bot) => !files.has(bot.source));
  const strangers = [...files].filter((file) => !sources.has(file));
  refuse([
    ...missing.map(
      (bot) =>
        `${bot.source} is not there: write it, or take "${bot.name}" out of medplum.config.json`,
    ),
    ...strangers.map(
      (file) => `${file} is not in medplum.config.json: add it to "bots", or move it to src/shared`,
    ),
  ]);
}

/**
 * Looks into the bundles that esbuild wrote, and removes those of bots that are no more.
 *
 * @param bots - that were bundled, each into `<name>.js`
 * @param outdir - where they are
 * @param result - esbuild's
 * @returns for each bot what the manifest says of it
 * @throws UserError if a bot has no handler or is over its budget
 */
export function inspectBundles(
  bots: readonly BotConfig[],
  outdir: string,
  result: BuildResult<{ metafile: true }>,
): Manifest['bots'] {
  const outputs = new Map(
    Object.entries(result.metafile.outputs).map(([path, { inputs }]) => [basename(path), inputs]),
  );
  for (const file of readdirSync(outdir))
    if (!outputs.has(file)) rmSync(join(outdir, file), { recursive: true });
  const mistakes = result.warnings
    .filter(({ location }) => location?.file.startsWith('src/'))
    .map(inOneLine);
  const hashes = new Map<string, string>();
  const infos: Manifest['bots'] = {};
  for (const bot of bots) {
    const inputs = outputs.get(`${bot.name}.js`)!;
    const contents = readFileSync(join(outdir, `${bot.name}.js`));
    const info: BundleInfo = {
      file: `${outdir.replaceAll('\\', '/')}/${bot.name}.js`,
      bytes: contents.length,
      sha256: sha256(contents),
      own: inputs[bot.source]?.bytesInOutput ?? 0,
      shared: {},
    };
    for (const source of Object.keys(inputs).toSorted()) {
      const bytes = inputs[source]!.bytesInOutput;
      if (!source.startsWith('src/shared/') || bytes === 0) continue;
      if (!hashes.has(source)) hashes.set(source, sha256(readFileSync(source)));
      info.shared[source] = { bytes, sha256: hashes.get(source)! };
    }
    infos[bot.name] = info;
    if (!exportsHandler(contents.toString())) {
      mistakes.push(
        `${bot.source} exports no handler: give it an "export async function handler(medplum, event)"`,
      );
    }
    if (info.bytes > bot.maxBytes) {
      const [largest] = Object.entries(inputs).toSorted(
        ([, a], [, b]) => b.bytesInOutput - a.bytesInOutput,
      );
      const sizes = `${info.bytes} bytes, ${bot.maxBytes} are its budget, and most are ${largest![0]}`;
      mistakes.push(
        `${bot.source} makes a bundle of ${sizes}: import less, or raise maxBytes in medplum.config.json`,
      );
    }
  }
  refuse(mistakes);
  return infos;
}

/** esbuild ends a CommonJS file with a list of its exports that is never run, for Node to read. */
function exportsHandler(code: string): boolean {
  const list = /\(module\.exports ?= ?\{([^}]*)\}/.exec(
    code.slice(code.lastIndexOf('(module.exports')),
  );
  return /\bhandler\b/.test(list?.[1] ?? '');
}

/**
 * Turns esbuild's failure into lines for people.
 *
 * @param failure - what `build` of esbuild rejected with
 * @throws UserError always
 */
export function explainFailure(failure: unknown): never {
  const { errors } = failure as Partial<BuildFailure>;
  throw errors ? new UserError(errors.map(inOneLine).join('\n')) : failure;
}

function inOneLine({ text, location }: Message): string {
  const place = location ? `${location.file}:${location.line}:${location.column + 1}: ` : '';
  const missing = /^Could not resolve "([^"]*)"/.exec(text)?.[1];
  if (missing === undefined) return `${place}${text}`;
  const cure = /^[./]/.test(missing)
    ? 'write the path of a file, with its ending'
    : `npm install --save-dev ${missing}`;
  return `${place}"${missing}" cannot be found: ${cure}`;
}

function sha256(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

function refuse(mistakes: string[]): void {
  if (mistakes.length > 0) throw new UserError(mistakes.join('\n'));
}
