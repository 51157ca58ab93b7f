// Which bundles a change makes different, and because of what.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { UserError } from '../terminal/user-error.ts';
import type { BundleInfo, Manifest } from './manifest.ts';

/** A bot whose bundle is different: its bytes, and which modules and packages are the reason. */
export interface Difference {
  name: string;
  before: number | undefined;
  after: number | undefined;
  because: string[];
}

/**
 * @param before - manifest of minified bundles
 * @param after - the same, later
 * @returns the bots whose bundles differ; those with an `after` are the ones that a deployment
 *   would deploy again. Bots that have an error later are left out
 */
export function differences(before: Manifest, after: Manifest): Difference[] {
  const names = new Set([...Object.keys(before.bots), ...Object.keys(after.bots)]);
  return [...names].flatMap((name): Difference[] => {
    const [earlier, later] = [before.bots[name], after.bots[name]];
    if (earlier?.sha256 === later?.sha256 || name in after.failed) {
      return [];
    }
    const because = reasons(earlier, later);
    return [{ name, before: earlier?.bytes, after: later?.bytes, because }];
  });
}

function reasons(earlier: BundleInfo | undefined, later: BundleInfo | undefined): string[] {
  if (!earlier) {
    return ['new'];
  }
  if (!later) {
    return ['no longer in medplum.config.json'];
  }
  const modules = new Set([...Object.keys(earlier.shared), ...Object.keys(later.shared)]);
  const changed = [...modules].filter(
    (file) => earlier.shared[file]?.sha256 !== later.shared[file]?.sha256,
  );
  changed.push(...changedPackages(earlier, later));
  if (changed.length === 0 || earlier.own !== later.own) {
    changed.push('its own code');
  }
  return changed;
}

/** `zod 4.6.6 -> 4.6.7`, `zod 4.6.7 (new)`, `zod 4.6.7 (removed)` */
function changedPackages(earlier: BundleInfo, later: BundleInfo): string[] {
  // A manifest of an older version of these tools lists no packages.
  const before = versions(earlier.packages ?? {});
  const after = versions(later.packages ?? {});
  const names = [...new Set([...before.keys(), ...after.keys()])];
  return names.flatMap((name) => {
    const [old, current] = [before.get(name), after.get(name)];
    if (old === current) {
      return [];
    }
    if (old === undefined) {
      return [`${name} ${current} (new)`];
    }
    return [current === undefined ? `${name} ${old} (removed)` : `${name} ${old} -> ${current}`];
  });
}

/** The versions of each package; a bundle may carry two of one. */
function versions(packages: BundleInfo['packages']): Map<string, string> {
  const found = new Map<string, string>();
  for (const label of Object.keys(packages)) {
    const at = label.lastIndexOf('@');
    const name = label.slice(0, at);
    const earlier = found.get(name);
    const version = label.slice(at + 1);
    found.set(name, earlier === undefined ? version : `${earlier} and ${version}`);
  }
  return found;
}

/**
 * Builds an earlier state of the repository, with the packages of its own package-lock.json: those
 * that are installed, if the two lock files are the same, or else what `npm ci` installs.
 *
 * @param ref - branch, tag or commit
 * @param folder - to build it in
 * @returns the manifest of its minified bundles
 * @throws UserError if there is no such state, or it cannot be built
 */
export function manifestAt(ref: string, folder: string): Manifest {
  const worktree = join(folder, 'earlier');
  const prefix = checkOut(ref, worktree);
  try {
    const root = join(worktree, prefix);
    installPackages(root);
    execFileSync(process.execPath, ['esbuild-script.mjs', '--production'], {
      cwd: root,
      stdio: 'pipe',
    });
    return JSON.parse(readFileSync(join(root, 'dist/manifest.json'), 'utf8')) as Manifest;
  } catch (error) {
    throw new UserError(`${ref} cannot be built: ${firstLine(error)}`);
  } finally {
    git('worktree', 'remove', '--force', worktree);
  }
}

/** @returns the path of the repository's folder inside its git repository */
function checkOut(ref: string, worktree: string): string {
  try {
    const prefix = git('rev-parse', '--show-prefix');
    const commit = git('rev-parse', '--verify', '--quiet', `${ref}^{commit}`);
    const add = ['worktree', 'add', '--quiet', '--detach', worktree, commit];
    git('-c', 'core.hooksPath=/dev/null', ...add);
    return prefix;
  } catch {
    throw new UserError(
      `"${ref}" cannot be found in this git repository: fetch it, or name a branch, tag or commit.`,
    );
  }
}

function git(...args: string[]): string {
  return execFileSync('git', args, { encoding: 'utf8', stdio: 'pipe' }).trim();
}

function installPackages(root: string): void {
  const packages = join(root, 'node_modules');
  if (existsSync(packages)) {
    return;
  }
  const lock = 'package-lock.json';
  const isSame =
    !existsSync(join(root, lock)) ||
    readFileSync(join(root, lock), 'utf8') === readFileSync(lock, 'utf8');
  if (isSame) {
    symlinkSync(resolve('node_modules'), packages, 'junction');
    return;
  }
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  execFileSync(npm, ['ci', '--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts'], {
    cwd: root,
    stdio: 'pipe',
    shell: process.platform === 'win32',
  });
}

function firstLine(error: unknown): string {
  const { stderr } = error as { stderr?: unknown };
  const [line] = String(stderr ?? error).split('\n');
  return line!.replace(/^Error: /, '');
}
