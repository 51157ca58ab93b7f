// The code of a bot: its bundle in dist/, checked before any request, and the tags that say what it
// is made of.
import type { Coding } from '@medplum/fhirtypes';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Manifest } from '../bundling/manifest.ts';
import { sha256Of } from '../bundling/sha256.ts';
import type { BotConfig } from '../config/config.ts';
import { UserError } from '../terminal/user-error.ts';

export const MANIFEST_FILE = 'dist/manifest.json';

export interface Code {
  /** Path of the bundle. */
  file: string;
  /** The same, below the repository's folder. */
  dist: string;
  /** Of the bundle, in hex. */
  sha256: string;
  /** `<name>.<start of sha256>.cjs`: what `executableCode.title` becomes. */
  title: string;
  /**
   * The shared modules it is made of, by path: `src/shared/http-helpers.ts` ->
   * `http-helpers@<hash>`.
   */
  shared: Map<string, string>;
  /** The bot's own source, in the same form. */
  source: Map<string, string>;
}

/**
 * @param root - the repository's folder
 * @throws UserError if there is no build, or if its manifest cannot be used
 */
export function readManifest(root: string): Manifest {
  let text: string;
  try {
    text = readFileSync(join(root, MANIFEST_FILE), 'utf8');
  } catch {
    throw new UserError(`${MANIFEST_FILE} is missing: nothing is built yet. Run: npm run build`);
  }
  const manifest = parseJson(text);
  if (!isManifest(manifest)) {
    throw new UserError(
      `${MANIFEST_FILE} is damaged, or of an older version of these tools. Run: npm run build`,
    );
  }
  return manifest;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isManifest(value: unknown): value is Manifest {
  if (!isObject(value) || !isObject(value['bots']) || !isObject(value['failed'])) {
    return false;
  }
  return (
    Object.values(value['bots']).every(isBuiltBot) &&
    Object.values(value['failed']).every(isListOfTexts)
  );
}

function isListOfTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function isBuiltBot(value: unknown): boolean {
  if (!isObject(value) || typeof value['sha256'] !== 'string' || !isObject(value['shared'])) {
    return false;
  }
  const modules = Object.values(value['shared']);
  return (
    modules.every((module) => isObject(module) && typeof module['sha256'] === 'string') &&
    isObject(value['sources'])
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Reads source files, each once for all bots. */
export class SourceHashes {
  readonly #root: string;
  readonly #hashes = new Map<string, string | undefined>();

  /** @param root - the repository's folder */
  constructor(root: string) {
    this.#root = root;
  }

  /** @returns the hash of a file's text; undefined if there is no such file */
  of(path: string): string | undefined {
    if (!this.#hashes.has(path)) {
      this.#hashes.set(path, hashOfFile(join(this.#root, path)));
    }
    return this.#hashes.get(path);
  }
}

function hashOfFile(file: string): string | undefined {
  const content = readIfThere(file);
  return content === undefined ? undefined : sha256Of(content);
}

/** @returns undefined if there is no such file */
function readIfThere(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return undefined;
    }
    throw error;
  }
}

/**
 * Checks that a bundle is there, is the one that the build made and checked, and is made of the
 * sources as they are now.
 *
 * @param sources - shared by all bots
 * @throws UserError that says what is wrong with it
 */
export function loadCode(
  root: string,
  bot: BotConfig,
  manifest: Manifest,
  sources: SourceHashes,
): Code {
  const { name, dist, source } = bot;
  const built = manifest.bots[name];
  const [failure] = manifest.failed[name] ?? [];
  if (failure !== undefined) {
    throw new UserError(`${name} could not be built: ${failure}. Run: npm run build`);
  }
  const content = readIfThere(join(root, dist));
  if (content === undefined) {
    throw new UserError(`${dist} is missing, so ${name} cannot be deployed. Run: npm run build`);
  }
  const sha256 = sha256Of(content);
  if (built?.sha256 !== sha256) {
    throw new UserError(
      `${dist} is not the bundle that ${MANIFEST_FILE} describes. Run: npm run build`,
    );
  }
  const edited = Object.entries(built.sources)
    .filter(([path, sha]) => sources.of(path) !== sha)
    .map(([path]) => path);
  if (edited.length > 0) {
    throw new UserError(
      `dist/ is older than src/: ${edited.join(', ')} changed after the build. ` +
        'Run: npm run build -- --production',
    );
  }
  const shared = Object.entries(built.shared).map(
    ([path, module]) => [path, moduleVersion(path, module.sha256)] as const,
  );
  return {
    file: join(root, dist),
    dist,
    sha256,
    title: `${name}.${sha256.slice(0, 16)}.cjs`,
    shared: new Map(shared),
    source: sourceVersion(source, sources.of(source)),
  };
}

function sourceVersion(source: string, sha256: string | undefined): Map<string, string> {
  return new Map(sha256 === undefined ? [] : [[source, moduleVersion(source, sha256)]]);
}

/** @throws UserError if the bundle is no longer the one that was planned */
export function readBundle({ file, dist, sha256 }: Code): string {
  const content = readIfThere(file);
  if (content === undefined || sha256Of(content) !== sha256) {
    throw new UserError(`${dist} was built again after the plan was made. Run it again`);
  }
  return content.toString('utf8');
}

/** `src/shared/http-helpers.ts` -> `http-helpers@1a2b3c4d5e6f` */
function moduleVersion(path: string, sha256: string): string {
  const module = path.replace(/^src\/(shared|bots)\//, '').replace(/\.ts$/, '');
  return `${module}@${sha256.slice(0, 12)}`;
}

/**
 * What a Bot's tags say of its code: a search such as
 * `Bot?_tag=<system>/shared|http-helpers@1a2b3c4d5e6f` finds every deployed bot that carries this
 * version.
 *
 * @param system - identifierSystem
 * @param commit - see gitCommit
 */
export function codeTags(
  system: string,
  code: Pick<Code, 'shared' | 'source'>,
  commit: string | undefined,
): Coding[] {
  const tags = [
    ...[...code.shared.values()].map((module) => ({ system: `${system}/shared`, code: module })),
    ...[...code.source.values()].map((module) => ({ system: `${system}/source`, code: module })),
  ];
  if (commit) {
    tags.push({ system: `${system}/commit`, code: commit });
  }
  return tags;
}
