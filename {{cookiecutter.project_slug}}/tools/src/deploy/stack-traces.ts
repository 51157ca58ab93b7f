// The log of a deployed bot, with places in the sources instead of the bundle. No server gets
// source maps.
import { existsSync, readFileSync } from 'node:fs';
import { readManifestFile } from '../bundling/manifest.ts';
import { mapStack, namesBundlePlace } from '../runtime/source-maps.ts';
import { MANIFEST_FILE } from './bundle-code.ts';

/**
 * @param log - what the bot logged, and its error
 * @param name - of the bot
 * @param sha256 - of the code that ran
 * @param commit - that the code was built from
 * @returns the text, and a note if its places are those of the bundle
 */
export function describeWithSources(
  log: string,
  name: string,
  sha256: string | undefined,
  commit: string | undefined,
): { text: string; note: string | undefined } {
  const text = log.trimEnd();
  if (!namesBundlePlace(text)) {
    return { text, note: undefined };
  }
  const map = readMap(name, sha256);
  if (map !== undefined) {
    return { text: mapStack(text, map), note: undefined };
  }
  const checkout = commit
    ? ` For the sources: git checkout ${commit.replace('-dirty', '')} && ` +
      'npm run build -- --production'
    : '';
  return {
    text,
    note: `(Lines of the bundle: dist/ holds another build than the one that ran.${checkout})`,
  };
}

/**
 * @param name - of the bot
 * @param sha256 - of the code that ran
 * @returns the source map of the build that ran, if dist/ still holds it
 */
export function readMap(name: string, sha256: string | undefined): string | undefined {
  const file = `dist/bots/${name}.js.map`;
  if (!existsSync(MANIFEST_FILE) || !existsSync(file)) {
    return undefined;
  }
  const { bots } = readManifestFile(MANIFEST_FILE);
  return bots[name]?.sha256 === sha256 ? readFileSync(file, 'utf8') : undefined;
}
