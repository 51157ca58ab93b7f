// Compares this repository with the version of the template that it was generated from or updated
// to.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { sha256Of } from '../bundling/sha256.ts';
import { UserError } from '../terminal/user-error.ts';

/** Written by the template. An update of the template replaces it together with the files. */
const MANIFEST_FILE = 'tools/template.json';

const manifestSchema = z.object({
  /** The template's git address. */
  address: z.string(),
  version: z.string(),
  /** The tag or commit of the template. */
  checkout: z.string(),
  /** Path -> SHA-256 of the file as the template wrote it. */
  files: z.record(z.string(), z.string()),
});

export type Manifest = z.infer<typeof manifestSchema>;

/** How the files of the template differ from what the template wrote. */
export interface FileStatus {
  unchanged: string[];
  changed: string[];
  /** Not there any more, and not found under another name. */
  missing: string[];
  /** Old path -> new path. */
  renamed: Map<string, string>;
}

/**
 * @param folder - the repository
 * @throws UserError if the manifest is missing or cannot be read
 */
export function readManifest(folder: string): Manifest {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(join(folder, MANIFEST_FILE), 'utf8'));
  } catch {
    throw new UserError(
      `${MANIFEST_FILE} cannot be read. Restore it with: git checkout ${MANIFEST_FILE}`,
    );
  }
  const result = manifestSchema.safeParse(content);
  if (!result.success) {
    throw new UserError(
      `${MANIFEST_FILE} is incomplete. Restore it with: git checkout ${MANIFEST_FILE}`,
    );
  }
  return result.data;
}

/**
 * Compares each file of the manifest with the file in the repository.
 *
 * @param folder - the repository
 * @param files - path -> SHA-256, from the manifest
 * @param renames - old path -> new path, from git's history
 */
export function compareFiles(
  folder: string,
  files: Record<string, string>,
  renames: ReadonlyMap<string, string>,
): FileStatus {
  const status: FileStatus = { unchanged: [], changed: [], missing: [], renamed: new Map() };
  for (const [path, hash] of Object.entries(files)) {
    const current = hashOf(join(folder, path));
    const newPath = renames.get(path);
    if (current === hash) {
      status.unchanged.push(path);
    } else if (current !== undefined) {
      status.changed.push(path);
    } else if (newPath !== undefined && existsSync(join(folder, newPath))) {
      status.renamed.set(path, newPath);
    } else {
      status.missing.push(path);
    }
  }
  return status;
}

function hashOf(path: string): string | undefined {
  try {
    return sha256Of(readFileSync(path));
  } catch {
    return undefined;
  }
}

/**
 * Finds what was renamed, in git's history and in the changes that are staged.
 *
 * @param folder - the repository
 * @returns old path -> path today; empty without git
 */
export function readRenames(folder: string): Map<string, string> {
  const committed = git(folder, 'log', '--reverse', '--format=', ...RENAMES_ONLY);
  const staged = git(folder, 'diff', '--cached', ...RENAMES_ONLY);
  const renames = new Map<string, string>();
  // With -z, each rename is three fields: R and a similarity, the old path, the new path.
  const fields = `${committed}${staged}`.split('\0').filter((field) => field.trim() !== '');
  for (let index = 0; index + 2 < fields.length; index += 3) {
    const from = fields[index + 1]!;
    const to = fields[index + 2]!;
    for (const [original, current] of renames) {
      if (current === from) {
        renames.set(original, to);
      }
    }
    renames.set(from, to);
  }
  return renames;
}

const RENAMES_ONLY = ['-z', '--relative', '--find-renames', '--diff-filter=R', '--name-status'];

/** @returns what git prints; nothing if there is no git or no repository, or if git would ask */
function git(folder: string, ...line: string[]): string {
  try {
    // With log.showSignature, git prints what GPG says among the names.
    return execFileSync('git', ['-c', 'log.showSignature=false', ...line], {
      cwd: folder,
      encoding: 'utf8',
      // Otherwise git asks for a user name where the template's repository is private.
      env: { ...process.env, GIT_TERMINAL_PROMPT: '0' },
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 60_000,
    });
  } catch {
    return '';
  }
}

/**
 * Asks the template's git repository for its newest version.
 *
 * @param address - of the template
 * @returns such as `1.2.0`; undefined if it cannot be reached or has no version yet
 */
export function newestVersion(address: string): string | undefined {
  const tags = git('.', 'ls-remote', '--tags', '--refs', '--', address);
  const versions = [...tags.matchAll(/refs\/tags\/v(\d+)\.(\d+)\.(\d+)$/gm)].map((match) =>
    match.slice(1).map(Number),
  );
  return versions.toSorted(compareVersions).at(-1)?.join('.');
}

/**
 * @param version - such as `1.2.0`
 * @param other - another version
 * @returns whether `version` is newer than `other`
 */
export function isNewer(version: string, other: string): boolean {
  return compareVersions(version.split('.').map(Number), other.split('.').map(Number)) > 0;
}

function compareVersions(left: number[], right: number[]): number {
  const differences = left.map((part, index) => part - (right[index] ?? 0));
  return differences.find((difference) => difference !== 0) ?? 0;
}

const linkSchema = z.object({ template: z.string(), commit: z.string() });

/**
 * Reads how the repository follows the template.
 *
 * @param folder - the repository
 * @returns the template's address and commit; undefined if it does not follow the template
 */
export function readLink(folder: string): { template: string; commit: string } | undefined {
  try {
    return linkSchema.parse(JSON.parse(readFileSync(join(folder, '.cruft.json'), 'utf8')));
  } catch {
    return undefined;
  }
}
