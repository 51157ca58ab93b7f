// Watches what bots are made of. Folders that are deleted, restored, or replaced by another branch
// stay watched.
import { watch } from 'chokidar';
import { relative } from 'node:path';
import { CONFIG_FILE } from '../config/config.ts';
import { LOCAL_SECRETS_FILE } from '../local-servers.ts';

/**
 * Editors and git write files in several steps: how long nothing has to happen, in milliseconds.
 */
const SETTLE = 30;

export interface SourceWatcher {
  close(): Promise<void>;
}

/**
 * Calls back when files have settled after a change, never twice at the same time.
 *
 * @param changed - called with the paths that were written, with slashes, from the repository's
 *   folder
 * @returns once everything is watched
 */
export async function watchSources(
  changed: (paths: string[]) => Promise<unknown>,
): Promise<SourceWatcher> {
  const root = process.cwd();
  // The folder itself is watched, not src/: a watched folder that is deleted would not be noticed
  // when it comes back.
  const watcher = watch(root, {
    ignoreInitial: true,
    ignored: (path) => !isWatched(relative(root, path).replaceAll('\\', '/')),
  });
  let timer: NodeJS.Timeout | undefined;
  let work: Promise<unknown> = Promise.resolve();
  let paths = new Set<string>();
  watcher.on('all', (_event, path) => {
    paths.add(relative(root, path).replaceAll('\\', '/'));
    clearTimeout(timer);
    timer = setTimeout(() => {
      const settled = [...paths];
      paths = new Set();
      work = work.then(() => changed(settled));
    }, SETTLE);
  });
  await new Promise<void>((resolve) => watcher.once('ready', resolve));
  return { close: () => watcher.close() };
}

function isWatched(path: string): boolean {
  return ['', 'src', CONFIG_FILE, LOCAL_SECRETS_FILE].includes(path) || path.startsWith('src/');
}
