// An existing repository of bots, as it is before it is adopted.
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { basename, join, posix } from 'node:path';
import { exportsHandler } from '../bundling/source-files.ts';
import { UserError } from '../terminal/user-error.ts';
import { importsOf } from './imports.ts';

/** One bot of it: an entry of its medplum.config.json, or a file that exports a handler. */
export interface SourceBot {
  name: string;
  id?: string;
  source: string;
  /** Whether its medplum.config.json has it. */
  isConfigured: boolean;
}

interface PackageJson {
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
}

const CODE = /\.[cm]?[jt]sx?$/;
export const TEST = /\.(test|spec)\.[cm]?[jt]s$/;
const ENDINGS = [
  '',
  '.ts',
  '.mts',
  '.cts',
  '.tsx',
  '.js',
  '.mjs',
  '.json',
  '.d.ts',
  '/index.ts',
  '/index.js',
];
const IGNORED = /(^|\/)(node_modules|dist|build|coverage|\.[^/]+)\//;

export class SourceRepository {
  readonly root: string;
  /** Paths from its folder, with slashes. */
  readonly files: readonly string[];
  readonly #known: ReadonlySet<string>;
  readonly #aliases: readonly { prefix: string; folder: string }[];

  constructor(root: string) {
    if (!existsSync(root) || !statSync(root).isDirectory()) {
      throw new UserError(
        `${root} is not a folder. Give the folder of a repository, or its git address.`,
      );
    }
    this.root = root;
    // A repository that was generated from the same template has the same tools.
    const files = listFiles(root);
    const hasTools = files.includes('tools/bin/medplum-bots.cjs');
    this.files = hasTools ? files.filter((file) => !file.startsWith('tools/')) : files;
    this.#known = new Set(this.files);
    this.#aliases = readAliases(root);
  }

  read(file: string): string {
    return readFileSync(join(this.root, file), 'utf8');
  }

  has(file: string): boolean {
    return this.#known.has(file);
  }

  /**
   * @returns its bots: first those of its medplum.config.json, then other files that export a
   *   handler
   */
  bots(): SourceBot[] {
    const configured = this.#configuredBots();
    const sources = new Set(configured.map(({ source }) => source));
    const others = this.files
      .filter((file) => /\.[cm]?ts$/.test(file) && !TEST.test(file) && !/\.d\.[cm]?ts$/.test(file))
      .filter((file) => !sources.has(file) && isBot(this.read(file)))
      .map((source) => ({ name: nameFor(source), source, isConfigured: false }));
    return [...configured, ...others];
  }

  #configuredBots(): SourceBot[] {
    if (!this.has('medplum.config.json')) {
      return [];
    }
    let bots: unknown;
    try {
      ({ bots } = JSON.parse(this.read('medplum.config.json')) as { bots?: unknown });
    } catch {
      throw new UserError(`medplum.config.json in ${this.root} is not valid JSON.`);
    }
    const entries = Array.isArray(bots) ? (bots as Record<string, unknown>[]) : [];
    return entries.flatMap(({ name, id, source }) => {
      if (typeof name !== 'string' || typeof source !== 'string') {
        return [];
      }
      const file = posix.normalize(source.replaceAll('\\', '/'));
      return [{ name, source: file, isConfigured: true, ...(isUuid(id) && { id }) }];
    });
  }

  /**
   * @param file - a file of the repository
   * @returns the files of the repository that it imports, with the names that it gives them
   */
  imports(
    file: string,
  ): { specifier: string; start: number; end: number; target: string | undefined }[] {
    if (!CODE.test(file)) {
      return [];
    }
    return importsOf(file, this.read(file)).map((found) => ({
      ...found,
      target: this.resolve(file, found.specifier),
    }));
  }

  /** @returns the file that a specifier names, if it is one of the repository */
  resolve(from: string, specifier: string): string | undefined {
    const alias = this.#aliases.find(({ prefix }) => specifier.startsWith(prefix));
    if (alias) {
      return this.#find(posix.join(alias.folder, specifier.slice(alias.prefix.length)));
    }
    if (!/^\.{1,2}(\/|$)/.test(specifier)) {
      return undefined;
    }
    return this.#find(posix.join(posix.dirname(from), specifier));
  }

  #find(path: string): string | undefined {
    const written = ENDINGS.map((ending) => path + ending);
    // `./helpers.js` means helpers.ts, where TypeScript compiles to ES modules.
    const compiled = path.replace(/\.([cm]?)js$/, '.$1ts');
    return [...written, compiled].find((candidate) => this.has(candidate));
  }

  /**
   * @returns the `setupFiles` of its vitest configuration, which run before each of its test files
   */
  setupFiles(): string[] {
    const configs = this.files.filter((file) => /^vite(st)?\.config\.[cm]?[jt]s$/.test(file));
    return configs.flatMap((file) => {
      const list = /setupFiles:\s*(\[[^\]]*\]|['"][^'"]*['"])/.exec(this.read(file))?.[1] ?? '';
      const paths = [...list.matchAll(/['"]([^'"]+)['"]/g)].map(([, path = '']) => path);
      return paths.flatMap((path) => this.#find(posix.normalize(path)) ?? []);
    });
  }

  /** @returns the versions that its package.json asks for, by package */
  packages(): Record<string, string> {
    // A bot may be in a folder of its own in a larger repository, with its package.json above it.
    if (!this.has('package.json')) {
      return {};
    }
    const { dependencies, devDependencies } = JSON.parse(this.read('package.json')) as PackageJson;
    return { ...devDependencies, ...dependencies };
  }
}

/** With git, what git knows of; without, everything but the usual generated folders. */
function listFiles(root: string): string[] {
  try {
    const listed = execFileSync(
      'git',
      ['ls-files', '-z', '--cached', '--others', '--exclude-standard'],
      { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 1e8 },
    );
    const files = listed.split('\0').filter((file) => file && existsSync(join(root, file)));
    if (files.length > 0) {
      return files.filter((file) => !IGNORED.test(`/${file}`));
    }
  } catch {
    // Not a git repository, or no git.
  }
  return globSync('**/*', {
    cwd: root,
    exclude: (name) => name === 'node_modules' || name === '.git',
  })
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => !IGNORED.test(`/${file}`) && statSync(join(root, file)).isFile());
}

/** The `paths` of its tsconfig.json that end with a star: `@/*` -> `src/*`. */
function readAliases(root: string): { prefix: string; folder: string }[] {
  try {
    const text = readFileSync(join(root, 'tsconfig.json'), 'utf8');
    const json = JSON.parse(
      text.replaceAll(/^\s*\/\/.*$/gm, '').replaceAll(/,(\s*[}\]])/g, '$1'),
    ) as {
      compilerOptions?: { baseUrl?: string; paths?: Record<string, string[]> };
    };
    const { baseUrl = '.', paths = {} } = json.compilerOptions ?? {};
    return Object.entries(paths).flatMap(([pattern, [target]]) =>
      pattern.endsWith('/*') && target?.endsWith('/*')
        ? [{ prefix: pattern.slice(0, -1), folder: posix.join(baseUrl, target.slice(0, -1)) }]
        : [],
    );
  } catch {
    return [];
  }
}

const DEFAULT_HANDLER = /^export default (?:async )?function handler\b/m;

function isBot(text: string): boolean {
  return exportsHandler(text) || DEFAULT_HANDLER.test(text);
}

/** File and folder names that say nothing about a bot. */
const GENERAL_NAMES = ['index', 'bot', 'handler', 'main', 'src', 'bots', 'lib', '.'];

/**
 * `src/bots/lab/index.ts` -> `lab`, `reports/src/bot.mts` -> `reports`, `src/hello-patient.ts` ->
 * `hello-patient`
 */
function nameFor(source: string): string {
  const stem = source.replace(/\.[cm]?ts$/, '');
  const parts = stem.split('/').toReversed();
  return parts.find((part) => !GENERAL_NAMES.includes(part)) ?? basename(stem);
}

function isUuid(id: unknown): id is string {
  return typeof id === 'string' && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id);
}
