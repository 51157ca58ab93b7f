// Which npm package a file of a bundle belongs to.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface NpmPackage {
  name: string;
  version: string;
}

const folders = new Map<string, NpmPackage>();

/**
 * @param file - from the repository's folder: `node_modules/zod/v4/core/util.js`
 * @param root - the repository's folder
 * @returns undefined for a file of the repository itself
 */
export function packageOf(file: string, root: string = process.cwd()): NpmPackage | undefined {
  // The last node_modules counts: a package may have packages of its own.
  const folder = /^(.*\bnode_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1];
  if (folder === undefined) {
    return undefined;
  }
  const path = join(root, folder);
  const known = folders.get(path);
  if (known) {
    return known;
  }
  const name = folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length);
  const found = { name, version: readVersion(path) };
  folders.set(path, found);
  return found;
}

function readVersion(folder: string): string {
  try {
    const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
      version?: string;
    };
    return version ?? 'unknown';
  } catch {
    return 'unknown';
  }
}
