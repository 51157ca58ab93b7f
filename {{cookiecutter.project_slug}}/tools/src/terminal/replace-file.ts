// Writes a file as a whole, or not at all.
import { renameSync, rmSync, writeFileSync } from 'node:fs';

/**
 * Writes the text next to the file first, and then puts it in its place: if the disk is full, or the
 * process ends, the file is what it was.
 *
 * @throws the error of the file system
 */
export function replaceFile(path: string, text: string): void {
  const fresh = `${path}.new`;
  try {
    writeFileSync(fresh, text);
    renameSync(fresh, path);
  } catch (error) {
    rmSync(fresh, { force: true });
    throw error;
  }
}
