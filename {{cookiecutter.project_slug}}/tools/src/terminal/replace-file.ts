// Writes a file as a whole, or not at all.
import { renameSync, rmSync, writeFileSync } from 'node:fs';

/** The end of the name of a file that is not complete yet; one stays if the process is killed. */
export const UNFINISHED = '.new';

/**
 * Writes next to the file first, and then puts the new file in its place: if the disk is full, or
 * the process ends, the file is what it was.
 *
 * @param mode - who may read the new file; by default what the system gives new files
 * @throws the error of the file system
 */
export function replaceFile(path: string, content: string | Buffer, mode?: number): void {
  const fresh = `${path}${UNFINISHED}`;
  try {
    writeFileSync(fresh, content, { mode });
    renameSync(fresh, path);
  } catch (error) {
    rmSync(fresh, { force: true });
    throw error;
  }
}
