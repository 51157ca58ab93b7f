// What a deployment asks of git. A repository without git can be deployed, too: each answer may be
// undefined.
import { execFileSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

/** How much git may print: `status` names each file that it does not know. */
const MAX_OUTPUT = 256 * 1024 * 1024;

function git(root: string, ...args: string[]): string | undefined {
  return isInRepository(root) ? tryGit(root, ...args).output : undefined;
}

/** @returns its output if it succeeded; its exit code if it ended at all */
function tryGit(root: string, ...args: string[]): { output?: string; code?: number | undefined } {
  try {
    const output = execFileSync('git', args, {
      cwd: root,
      encoding: 'utf8',
      stdio: 'pipe',
      maxBuffer: MAX_OUTPUT,
    });
    return { output: output.trim(), code: 0 };
  } catch (error) {
    return { code: (error as { status?: number | null }).status ?? undefined };
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

/** The exit code of `git ls-files --error-unmatch` for a file that git does not track. */
const NOT_TRACKED = 1;

/**
 * Whether git keeps versions of this file, or of the one that it links to, in whatever repository.
 *
 * @returns undefined if git cannot say it: it is not installed, or does not trust the folder
 */
export function isTracked(file: string): boolean | undefined {
  const answers = [resolve(file), realpathSync(file)].map((path) => {
    const folder = dirname(path);
    if (!isInRepository(folder)) {
      return false;
    }
    const { code } = tryGit(folder, 'ls-files', '--error-unmatch', '--', basename(path));
    return code === 0 || (code === NOT_TRACKED ? false : undefined);
  });
  return answers.includes(true) || (answers.includes(undefined) ? undefined : false);
}
