// `npm run analyze`: what is in each bundle, which shared code nobody uses, and what a change makes of it.
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { bundle } from '../../../esbuild-script.mjs';
import type { BundleInfo, Manifest } from './bundles.ts';
import { carriedExports, sharedExports } from './shared-exports.ts';
import type { SharedExport } from './shared-exports.ts';
import { dim, table } from '../terminal/output.ts';
import { suggest } from '../terminal/suggest.ts';
import { UserError } from '../terminal/user-error.ts';
import { loadConfig } from '../config/config.ts';

interface BotReport extends Pick<BundleInfo, 'bytes' | 'own' | 'shared'> {
  name: string;
  minified: number;
  gzip: number;
  maxBytes: number;
  /** Exports of src/shared, as `place` writes them. */
  carries: string[];
}

const place = ({ name, file, first }: SharedExport): string => `${name} (${file}:${first})`;

/** Builds everything as it is now, plain and minified, in a folder of its own. */
async function analyze(
  folder: string,
): Promise<{ bots: BotReport[]; unused: string[]; now: Manifest }> {
  const plain = await bundle({ outdir: join(folder, 'plain') });
  const now = await bundle({ outdir: join(folder, 'minified'), production: true });
  const exports = sharedExports();
  const bots = loadConfig().bots.map(({ name, maxBytes }) => {
    const { file, bytes, own, shared } = plain.bots[name]!;
    const carried = carriedExports(
      readFileSync(file, 'utf8'),
      readFileSync(`${file}.map`, 'utf8'),
      exports,
    );
    const small = now.bots[name]!;
    const gzip = gzipSync(readFileSync(small.file)).length;
    return {
      name,
      bytes,
      minified: small.bytes,
      gzip,
      own,
      shared,
      maxBytes,
      carries: carried.map(place),
    };
  });
  const functions = exports.filter((item) => item.function).map(place);
  return {
    bots,
    unused: functions.filter((item) => !bots.some(({ carries }) => carries.includes(item))),
    now,
  };
}

const showUnused = (unused: string[]): string =>
  unused.length === 0 ? '' : ['\n\nShared, but used by no bot:', ...unused].join('\n- ');

function show(bots: BotReport[], unused: string[]): string {
  const rows = bots.flatMap(({ name, bytes, minified, gzip, own, shared, maxBytes }) => [
    [name, bytes, minified, gzip, own, `${Math.ceil((100 * bytes) / maxBytes)} %`],
    ...Object.entries(shared).map(([file, part]) => [
      dim(`  ${file}`),
      dim(part.bytes.toLocaleString('en')),
    ]),
  ]);
  return `${table(['bot', 'bytes', 'minified', 'gzip', 'own code', 'budget used'], rows)}${showUnused(unused)}`;
}

/** The same for GitHub and GitLab, with a drawing of which bot carries what. */
function markdown(bots: BotReport[], unused: string[]): string {
  const modules = [...new Set(bots.flatMap(({ shared }) => Object.keys(shared)))].toSorted();
  const names = modules.map((file) => file.replace('src/shared/', '').replace('.ts', ''));
  const row = (cells: (string | number)[]): string => `| ${cells.join(' | ')} |`;
  return [
    '# What is in the bundles\n\nIn bytes; shared modules before minifying.\n',
    row(['bot', 'bytes', 'minified', 'gzip', 'own code', ...names, 'budget']),
    row(Array<string>(names.length + 6).fill('---')),
    ...bots.map(({ name, bytes, minified, gzip, own, shared, maxBytes }) => {
      return row([
        name,
        bytes,
        minified,
        gzip,
        own,
        ...modules.map((file) => shared[file]?.bytes ?? ''),
        maxBytes,
      ]);
    }),
    '\n```mermaid\nflowchart LR',
    ...bots.map(({ name }, bot) => `  b${bot}["${name}"]`),
    ...names.map((name, module) => `  s${module}(["${name}"])`),
    ...bots.flatMap(({ shared }, bot) =>
      Object.keys(shared).map((file) => `  b${bot} --> s${modules.indexOf(file)}`),
    ),
    `\`\`\`${showUnused(unused)}\n`,
  ].join('\n');
}

/**
 * Builds an earlier state of the repository, with the packages that are installed now.
 *
 * @param ref - branch, tag or commit
 * @param folder - to build it in
 * @returns the manifest of its minified bundles
 * @throws UserError if there is no such state, or it cannot be built
 */
export function manifestAt(ref: string, folder: string): Manifest {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { encoding: 'utf8', stdio: 'pipe' }).trim();
  const worktree = join(folder, 'then');
  let inside: string;
  try {
    inside = git('rev-parse', '--show-prefix');
    const commit = git('rev-parse', '--verify', '--quiet', `${ref}^{commit}`);
    git(
      '-c',
      'core.hooksPath=/dev/null',
      'worktree',
      'add',
      '--quiet',
      '--detach',
      worktree,
      commit,
    );
  } catch {
    throw new UserError(
      `"${ref}" cannot be found in this git repository: fetch it, or name a branch, tag or commit.`,
    );
  }
  try {
    const root = join(worktree, inside);
    const packages = join(root, 'node_modules');
    if (!existsSync(packages)) symlinkSync(resolve('node_modules'), packages, 'junction');
    execFileSync(process.execPath, ['esbuild-script.mjs', '--production'], {
      cwd: root,
      stdio: 'pipe',
    });
    return JSON.parse(readFileSync(join(root, 'dist/manifest.json'), 'utf8')) as Manifest;
  } catch (error) {
    const [line] = String((error as { stderr?: unknown }).stderr ?? error).split('\n');
    throw new UserError(`${ref} cannot be built: ${line!.replace(/^Error: /, '')}`);
  } finally {
    git('worktree', 'remove', '--force', worktree);
  }
}

/** A bot whose bundle a change makes different: its bytes, and which shared modules are the reason. */
interface Difference {
  name: string;
  before: number | undefined;
  after: number | undefined;
  because: string[];
}

/**
 * What differs between two builds. The bots with an `after` are those that a deployment would deploy again.
 *
 * @param before - manifest of minified bundles
 * @param after - the same
 */
export function differences(before: Manifest, after: Manifest): Difference[] {
  const names = new Set([...Object.keys(before.bots), ...Object.keys(after.bots)]);
  return [...names].flatMap((name): Difference[] => {
    const [old, now] = [before.bots[name], after.bots[name]];
    if (old?.sha256 === now?.sha256) return [];
    const sizes = { name, before: old?.bytes, after: now?.bytes };
    if (!old || !now)
      return [{ ...sizes, because: [now ? 'new' : 'no longer in medplum.config.json'] }];
    const modules = [...new Set([...Object.keys(old.shared), ...Object.keys(now.shared)])];
    const because = modules.filter((file) => old.shared[file]?.sha256 !== now.shared[file]?.sha256);
    return [
      {
        ...sizes,
        because:
          because.length === 0 || old.own !== now.own ? [...because, 'its own code'] : because,
      },
    ];
  });
}

function showDifferences(ref: string, found: Difference[]): string {
  const again = found.filter(({ after }) => after !== undefined).map(({ name }) => name);
  const deploy =
    again.length > 0 ? `To deploy again: ${again.join(', ')}` : `No bundle differs from ${ref}.`;
  const rows = found.map(({ name, before, after, because }) => {
    const change = (after ?? 0) - (before ?? 0);
    return [
      name,
      before ?? '',
      after ?? '',
      change > 0 ? `+${change}` : change,
      because.join(', '),
    ];
  });
  return found.length === 0
    ? deploy
    : `${table(['bot', `at ${ref}`, 'now', 'change', 'because of'], rows)}\n\n${deploy}`;
}

/** Which bundles carry an export of src/shared: several, where several modules have one of that name. */
function find(name: string, bots: BotReport[]): { export: string; bots: string[] }[] {
  const exports = sharedExports();
  const wanted = exports.filter((item) => item.name === name).map(place);
  const hint = suggest(
    name,
    exports.map((item) => item.name),
  );
  if (wanted.length === 0)
    throw new UserError(`Nothing that src/shared exports is called "${name}".${hint}`);
  return wanted.map((item) => {
    return {
      export: item,
      bots: bots.filter(({ carries }) => carries.includes(item)).map((bot) => bot.name),
    };
  });
}

export interface AnalyzeOptions {
  /** A branch, tag or commit to compare with. */
  against?: string;
  /** The name of an export of src/shared: which bundles carry it. */
  find?: string;
  json?: boolean;
}

/**
 * Builds everything and prints what is in the bundles; also writes dist/report.md.
 *
 * @throws UserError
 */
export async function printAnalysis(options: AnalyzeOptions): Promise<void> {
  const print = (data: unknown, text: string): void => {
    console.log(options.json ? JSON.stringify(data, null, 2) : text);
  };
  const folder = mkdtempSync(join(tmpdir(), 'analyze-'));
  try {
    const { bots, unused, now } = await analyze(folder);
    if (options.find !== undefined) {
      const found = find(options.find, bots);
      const lines = found.map(
        (item) => `${item.export}: ${item.bots.join(', ') || 'in no bundle'}`,
      );
      print(found, lines.join('\n'));
    } else if (options.against !== undefined) {
      const found = differences(manifestAt(options.against, folder), now);
      print(
        { differences: found, unused },
        showDifferences(options.against, found) + showUnused(unused),
      );
    } else {
      mkdirSync('dist', { recursive: true });
      writeFileSync('dist/report.md', markdown(bots, unused));
      print({ bots, unused }, `${show(bots, unused)}\n\nThe same with a drawing: dist/report.md`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
