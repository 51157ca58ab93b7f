// Watches what bots are made of. Folders that are deleted, restored, or replaced by another branch
// stay watched.
import { watch } from 'chokidar';
import { relative, resolve } from 'node:path';
import { CONFIG_FILE } from '../config/config.ts';
import { LOCAL_SECRETS_FILE } from '../local-servers.ts';

/**
 * Editors and git write files in several steps: how long nothing has to happen, in milliseconds.
 */
const SETTLE = 30;

/** What bots are made of. */
const SOURCES = ['src', CONFIG_FILE, LOCAL_SECRETS_FILE];

export interface SourceWatcher {
  close(): Promise<void>;
}

/**
 * Calls back when files have settled after a change, never twice at the same time.
 *
 * @param changed - called with the paths that were written, with slashes, from the repository's
 *   folder
 * @param others - files to watch too, such as a sample event
 * @returns once everything is watched
 */
export async function watchSources(
  changed: (paths: string[]) => Promise<unknown>,
  others: readonly string[] = [],
): Promise<SourceWatcher> {
  const root = process.cwd();
  const toPath = (file: string): string => relative(root, file).replaceAll('\\', '/');
  const files = [...SOURCES, ...others.map((file) => toPath(resolve(file)))];
  // The folder itself is watched, not src/: a watched folder that is deleted would not be noticed
  // when it comes back.
  const watcher = watch(root, {
    ignoreInitial: true,
    ignored: (path) => !isWatched(toPath(path), files),
  });
  let timer: NodeJS.Timeout | undefined;
  let work: Promise<unknown> = Promise.resolve();
  let paths = new Set<string>();
  watcher.on('all', (_event, path) => {
    paths.add(toPath(path));
    clearTimeout(timer);
    timer = setTimeout(() => {
      const settled = [...paths];
      paths = new Set();
      work = work.then(() => changed(settled));
    }, SETTLE);
  });
  await new Promise<void>((resolve) => watcher.once('ready', resolve));
  return {
    close: async () => {
      clearTimeout(timer);
      await watcher.close();
    },
  };
}

/** Whether a path is one of the files, inside of one, or a folder on the way to one. */
function isWatched(path: string, files: readonly string[]): boolean {
  return (
    path === '' ||
    files.some((file) => {
      return path === file || path.startsWith(`${file}/`) || file.startsWith(`${path}/`);
    })
  );
}
