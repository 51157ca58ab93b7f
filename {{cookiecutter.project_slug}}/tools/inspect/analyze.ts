// `npm run analyze`: what is in each bundle, which shared code nobody uses, and what a change makes of it.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { bundle } from '../../esbuild-script.mjs';
import type { BundleInfo, Manifest } from '../build/bundles.ts';
import type { SharedExport } from '../build/shared-exports.ts';
import { carriedExports, sharedExports } from '../build/shared-exports.ts';
import { dim, main, readArgs, suggest, table, UserError } from '../cli.ts';
import { loadConfig } from '../config.ts';

interface BotReport extends Pick<BundleInfo, 'bytes' | 'own' | 'shared'> {
  name: string;
  minified: number;
  gzip: number;
  maxBytes: number;
  carries: SharedExport[];
}

/** A bot whose bundle a change makes different. */
interface Difference {
  name: string;
  /** Bytes of the minified bundle; undefined for a bot that was not there. */
  before: number | undefined;
  after: number | undefined;
  because: string[];
}

/** Builds everything as it is now, both ways, in a folder of its own. */
export async function analyze(folder: string): Promise<{ bots: BotReport[]; unused: SharedExport[]; now: Manifest }> {
  const plain = await bundle({ outdir: join(folder, 'plain') });
  const now = await bundle({ outdir: join(folder, 'minified'), production: true });
  const exports = sharedExports();
  const bots = loadConfig().bots.map(({ name, maxBytes }) => {
    const { file, bytes, own, shared } = plain.bots[name]!;
    const small = now.bots[name]!;
    const carries = carriedExports(readFileSync(file, 'utf8'), readFileSync(`${file}.map`, 'utf8'), exports);
    const gzip = gzipSync(readFileSync(small.file)).length;
    return { name, bytes, minified: small.bytes, gzip, own, shared, maxBytes, carries };
  });
  const carried = new Set(bots.flatMap(({ carries }) => carries.map(place)));
  return { bots, unused: exports.filter((item) => item.function && !carried.has(place(item))), now };
}

/** What the terminal shows. */
function show(bots: BotReport[], unused: SharedExport[]): string {
  const rows = bots.flatMap((bot) => [
    [bot.name, bot.bytes, bot.minified, bot.gzip, bot.own, `${Math.ceil((100 * bot.bytes) / bot.maxBytes)} %`],
    ...Object.entries(bot.shared).map(([file, { bytes }]) => [dim(`  ${file}`), dim(bytes.toLocaleString('en'))]),
  ]);
  return `${table(['bot', 'bytes', 'minified', 'gzip', 'own code', 'budget used'], rows)}${showUnused(unused)}`;
}

function showUnused(unused: SharedExport[]): string {
  return unused.length === 0 ? '' : `\n\nShared, but used by no bot: ${unused.map(place).join(', ')}`;
}

function place({ name, file, first }: SharedExport): string {
  return `${name} (${file}:${first})`;
}

/** The same for reading on GitHub or GitLab, with a drawing of who carries what. */
function markdown(bots: BotReport[], unused: SharedExport[]): string {
  const modules = [...new Set(bots.flatMap(({ shared }) => Object.keys(shared)))].toSorted();
  const short = modules.map((file) => file.replace('src/shared/', '').replace('.ts', ''));
  const rows = bots.map(({ name, bytes, minified, gzip, own, shared, maxBytes }) =>
    [name, bytes, minified, gzip, own, ...modules.map((file) => shared[file]?.bytes ?? ''), maxBytes].join(' | '),
  );
  const head = ['bot', 'bytes', 'minified', 'gzip', 'own code', ...short, 'budget'];
  const arrows = bots.flatMap(({ shared }, bot) =>
    modules.flatMap((file, i) => (shared[file] ? `  b${bot} --> s${i}` : [])),
  );
  return [
    '# What is in the bundles\n\nBytes; the columns of shared modules are before minifying.\n',
    `| ${head.join(' | ')} |\n|${' --- |'.repeat(head.length)}\n${rows.map((row) => `| ${row} |`).join('\n')}\n`,
    '```mermaid\nflowchart LR',
    ...bots.map(({ name }, bot) => `  b${bot}["${name}"]`),
    ...short.map((name, i) => `  s${i}(["${name}"])`),
    ...arrows,
    '```\n',
    `${showUnused(unused).trim()}\n`,
  ].join('\n');
}

/** Builds an earlier state of the repository beside this one, with the packages that are installed here. */
export function manifestAt(ref: string, folder: string): Manifest {
  const git = (...args: string[]): string => execFileSync('git', args, { encoding: 'utf8', stdio: 'pipe' }).trim();
  let commit: string, inside: string;
  try {
    inside = git('rev-parse', '--show-prefix');
    commit = git('rev-parse', '--verify', '--quiet', `${ref}^{commit}`);
  } catch {
    throw new UserError(`"${ref}" cannot be found in this git repository: fetch it, or name a branch, tag or commit.`);
  }
  const worktree = join(folder, 'then');
  git('-c', 'core.hooksPath=/dev/null', 'worktree', 'add', '--quiet', '--detach', worktree, commit);
  try {
    const root = join(worktree, inside);
    if (!existsSync(join(root, 'node_modules'))) {
      symlinkSync(resolve('node_modules'), join(root, 'node_modules'), 'junction');
    }
    execFileSync(process.execPath, ['esbuild-script.mjs', '--production'], { cwd: root, stdio: 'pipe' });
    return JSON.parse(readFileSync(join(root, 'dist/manifest.json'), 'utf8')) as Manifest;
  } catch (error) {
    const line = String((error as { stderr?: unknown }).stderr ?? error).split('\n')[0];
    throw new UserError(`${ref} cannot be built: ${line?.replace(/^Error: /, '')}`);
  } finally {
    git('worktree', 'remove', '--force', worktree);
  }
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
    const modules = new Set([...Object.keys(old?.shared ?? {}), ...Object.keys(now?.shared ?? {})]);
    const because = [...modules].filter((file) => old?.shared[file]?.sha256 !== now?.shared[file]?.sha256);
    if (!old || !now) because.splice(0, Infinity, old ? 'no longer in medplum.config.json' : 'new');
    else if (because.length === 0 || old.own !== now.own) because.push('its own code');
    return [{ name, before: old?.bytes, after: now?.bytes, because }];
  });
}

function showDifferences(ref: string, found: Difference[]): string {
  const again = found.filter(({ after }) => after !== undefined).map(({ name }) => name);
  const deploy = again.length > 0 ? `To deploy again: ${again.join(', ')}` : `No bundle differs from ${ref}.`;
  const rows = found.map(({ name, before, after, because }) => {
    const change = (after ?? 0) - (before ?? 0);
    return [name, before ?? '', after ?? '', change > 0 ? `+${change}` : change, because.join(', ')];
  });
  return rows.length === 0
    ? deploy
    : `${table(['bot', `at ${ref}`, 'now', 'change', 'because of'], rows)}\n\n${deploy}`;
}

/** Which bundles carry an export of src/shared. */
function find(name: string, bots: BotReport[]): { export: string; bots: string[] }[] {
  const exports = sharedExports();
  const wanted = exports.filter((item) => item.name === name);
  const hint = suggest(
    name,
    exports.map((item) => item.name),
  );
  if (wanted.length === 0) throw new UserError(`Nothing that src/shared exports is called "${name}".${hint}`);
  return wanted.map(place).map((item) => {
    const carrying = bots.filter(({ carries }) => carries.some((carried) => place(carried) === item));
    return { export: item, bots: carrying.map((bot) => bot.name) };
  });
}

if (import.meta.main) {
  await main(async () => {
    const options = { against: { type: 'string' }, find: { type: 'string' }, json: { type: 'boolean' } } as const;
    const { values } = readArgs({ options });
    const print = (data: unknown, text: string): void =>
      console.log(values.json ? JSON.stringify(data, null, 2) : text);
    const folder = mkdtempSync(join(tmpdir(), 'analyze-'));
    try {
      const { bots, unused, now } = await analyze(folder);
      if (values.find !== undefined) {
        const found = find(values.find, bots);
        print(found, found.map((item) => `${item.export}: ${item.bots.join(', ') || 'in no bundle'}`).join('\n'));
      } else if (values.against !== undefined) {
        const found = differences(manifestAt(values.against, folder), now);
        print(
          { differences: found, unused: unused.map(place) },
          showDifferences(values.against, found) + showUnused(unused),
        );
      } else {
        mkdirSync('dist', { recursive: true });
        writeFileSync('dist/report.md', markdown(bots, unused));
        const plain = bots.map(({ carries, ...bot }) => ({ ...bot, carries: carries.map(place) }));
        print(
          { bots: plain, unused: unused.map(place) },
          `${show(bots, unused)}\n\nThe same with a drawing: dist/report.md`,
        );
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
}
