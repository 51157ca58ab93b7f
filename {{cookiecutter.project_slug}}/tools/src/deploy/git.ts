// What a deployment asks of git. A repository without git can be deployed, too: each answer may be
// undefined.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

function git(root: string, ...args: string[]): string | undefined {
  if (!isInRepository(root)) {
    return undefined;
  }
  try {
    return execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: 'pipe' }).trim();
  } catch {
    return undefined;
  }
}

/** Whether git can find a repository from this folder. Starting git to ask it takes longer. */
function isInRepository(folder: string): boolean {
  if (process.env['GIT_DIR'] !== undefined) {
    return true;
  }
  let current = resolve(folder);
  while (!existsSync(join(current, '.git'))) {
    const parent = dirname(current);
    if (parent === current) {
      return false;
    }
    current = parent;
  }
  return true;
}

/** The commit that is checked out, with `-dirty` if files differ from it. */
export function gitCommit(root: string): string | undefined {
  const commit = git(root, 'rev-parse', 'HEAD');
  if (commit === undefined) {
    return undefined;
  }
  return git(root, 'status', '--porcelain', '--', '.') ? `${commit}-dirty` : commit;
}

/** The first line of a commit's message; undefined if this clone does not have the commit. */
export function commitSubject(root: string, commit: string): string | undefined {
  return /^[0-9a-f]{7,64}$/.test(commit)
    ? git(root, 'log', '-1', '--format=%s', commit)
    : undefined;
}

/** Whether git keeps versions of this file. */
export function isTracked(file: string): boolean {
  return git(process.cwd(), 'ls-files', '--error-unmatch', '--', file) !== undefined;
}
