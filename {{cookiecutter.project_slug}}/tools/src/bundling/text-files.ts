// Files that a bot may import as text: import letter from './letter.html'. The build and the tests
// load them alike.
import type { Loader } from 'esbuild';
import { readFileSync } from 'node:fs';

const TEXT_ENDINGS = ['.csv', '.graphql', '.hl7', '.html', '.md', '.sql', '.txt', '.xml'];

/** For esbuild: the text of the file becomes the default export. */
export const TEXT_LOADERS: Record<string, Loader> = Object.fromEntries(
  TEXT_ENDINGS.map((ending) => [ending, 'text']),
);

/** For Vite, and with it for vitest: the same. */
export interface TextFilesPlugin {
  name: string;
  enforce: 'pre';
  load(id: string): string | undefined;
}

/** @returns a plugin of Vite that loads the same files as text */
export function textFiles(): TextFilesPlugin {
  return {
    name: 'text-files',
    enforce: 'pre',
    load(id) {
      const isText = TEXT_ENDINGS.some((ending) => id.endsWith(ending));
      return isText ? `export default ${JSON.stringify(readFileSync(id, 'utf8'))};` : undefined;
    },
  };
}
