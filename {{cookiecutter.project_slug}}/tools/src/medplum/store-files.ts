// Keeps what the local Medplum stores in a folder (`--persist`): a JSON file for each version of
// each resource. A file is complete when it gets its name and is never written again, so nothing is
// half-written whenever the process ends.
import * as fs from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { WithId } from '@medplum/core';
import type { Resource } from '@medplum/fhirtypes';
import type { Version } from './version.ts';
import { LOCAL } from './local-project.ts';
import { isRunning } from '../config/running-server.ts';
import { replaceFile, UNFINISHED } from '../terminal/replace-file.ts';
import { UserError } from '../terminal/user-error.ts';

/** Changes when files of an earlier version of the tools cannot be read any more. */
const FORMAT = 1;
const FORMAT_FILE = 'format.json';
const LOCK_FILE = 'lock.json';
/** The bytes of a Binary, next to its versions. */
const CONTENT_FILE = 'content';
/** The beginning of the name that a folder has while its files are removed. */
const REMOVED = 'removed-';
/** The clients of the local project: their secrets are new at each start, and are not kept. */
const NOT_KEPT = [LOCAL.clientId, LOCAL.noAdminId];

/** What a folder holds. */
export interface StoredFiles {
  /** In the order in which they were written. */
  versions: Version[];
  /** What Binary resources hold, by id. */
  contents: Map<string, Buffer>;
}

/**
 * A folder with the layout `<type>/<id>/<order>.json`. Only this user can read it: it holds the
 * project's secrets.
 */
export class StoreFiles {
  readonly #folder: string;

  /**
   * Takes a folder into use; it is created where it does not exist.
   *
   * @throws UserError where another process uses it, or its files are not of a local Medplum
   */
  constructor(folder: string) {
    this.#folder = folder;
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#checkFormat();
    this.#lock();
  }

  /** @throws UserError that names a file which cannot be read */
  read(): StoredFiles {
    for (const name of fs.globSync(`${REMOVED}*`, { cwd: this.#folder })) {
      fs.rmSync(join(this.#folder, name), { recursive: true });
    }
    const versions: Version[] = [];
    const contents = new Map<string, Buffer>();
    for (const path of fs.globSync('*/*/*', { cwd: this.#folder })) {
      const file = join(this.#folder, path);
      if (path.endsWith(UNFINISHED)) {
        fs.rmSync(file);
      } else if (basename(path) === CONTENT_FILE) {
        contents.set(basename(dirname(path)), fs.readFileSync(file));
      } else {
        versions.push(readVersion(file));
      }
    }
    return { versions: versions.toSorted((a, b) => a.order - b.order), contents };
  }

  writeVersion({ resource, deleted, order }: Version): void {
    if (NOT_KEPT.includes(resource.id)) {
      return;
    }
    const text = JSON.stringify({ order, deleted, resource }, null, 2);
    this.#write(join(resource.resourceType, resource.id, `${order}.json`), text);
  }

  /** @param id - of the Binary resource */
  writeContent(id: string, bytes: Buffer): void {
    this.#write(join('Binary', id, CONTENT_FILE), bytes);
  }

  /** Removes a resource with all its versions. */
  remove(type: string, id: string): void {
    const removed = join(this.#folder, `${REMOVED}${id}`);
    try {
      fs.renameSync(join(this.#folder, type, id), removed);
    } catch {
      return; // nothing of it was kept
    }
    fs.rmSync(removed, { recursive: true });
  }

  /** Lets other processes use the folder. */
  readonly close = (): void => {
    process.off('exit', this.close);
    fs.rmSync(join(this.#folder, LOCK_FILE), { force: true });
  };

  #write(path: string, content: string | Buffer): void {
    const file = join(this.#folder, path);
    fs.mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    replaceFile(file, content, 0o600);
  }

  #checkFormat(): void {
    const file = join(this.#folder, FORMAT_FILE);
    const found = readJson(file) as { format?: number } | undefined;
    if (found?.format === FORMAT) {
      return;
    }
    if (found !== undefined || fs.readdirSync(this.#folder).length > 0) {
      throw new UserError(
        `${this.#folder} has files that this version did not write: ` +
          'give --persist another folder, or delete this one.',
      );
    }
    this.#write('.gitignore', '*\n'); // it may hold patients and secrets
    this.#write(FORMAT_FILE, JSON.stringify({ format: FORMAT }));
  }

  #lock(): void {
    const file = join(this.#folder, LOCK_FILE);
    const holder = readJson(file) as { pid: number } | undefined;
    if (holder && holder.pid !== process.pid && isRunning(holder.pid)) {
      throw new UserError(
        `${this.#folder} is used by another local Medplum (process ${holder.pid}): ` +
          'stop it, or give --persist another folder.',
      );
    }
    this.#write(LOCK_FILE, JSON.stringify({ pid: process.pid }));
    process.once('exit', this.close);
  }
}

function readVersion(file: string): Version {
  const version = readJson(file) as Version | undefined;
  if (typeof version?.order !== 'number' || !isResource(version.resource)) {
    throw new UserError(`${file} cannot be read: delete it, or its folder.`);
  }
  return version;
}

function isResource(value: unknown): value is WithId<Resource> {
  const { resourceType, id } = (value ?? {}) as Partial<Resource>;
  return typeof resourceType === 'string' && typeof id === 'string';
}

/** @returns undefined where there is no such file, or it holds no JSON */
function readJson(file: string): unknown {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}
