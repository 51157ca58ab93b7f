// The bundles that tests deploy: built as for production, and built again only when something they
// are made of changes.
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { CONFIG_FILE } from '../config/config.ts';
import { UserError } from '../terminal/user-error.ts';

const CACHE = join('node_modules', '.cache', 'medplum-bots', 'test-bundles');
/** Beside the bundles: why some are not there. */
const ERRORS_FILE = 'errors.txt';
/** Sets of bundles that are kept. */
const KEPT = 3;
/** What a bundle is made of. */
const INGREDIENTS = [
  'src/**/*',
  'tools/src/bundling/*',
  'esbuild-script.mjs',
  CONFIG_FILE,
  'package-lock.json',
];

/**
 * Builds all bots, or finds them in the cache.
 *
 * @param names - of the bots that are needed
 * @returns a folder with `dist/` and medplum.config.json
 * @throws UserError if one of these bots cannot be built
 */
export async function buildForTests(names: readonly string[]): Promise<string> {
  const folder = join(CACHE, hashOfIngredients());
  if (!fs.existsSync(folder)) {
    await build(folder);
    removeOldFolders();
  }
  const missing = names.find((name) => !fs.existsSync(join(folder, 'dist', 'bots', `${name}.js`)));
  if (missing !== undefined) {
    const errors = fs.readFileSync(join(folder, ERRORS_FILE), 'utf8');
    throw new UserError([`${missing} cannot be built:`, errors].join('\n'));
  }
  return folder;
}

/**
 * Builds into a folder of its own first: tests in other processes may look for the same bundles.
 */
async function build(folder: string): Promise<void> {
  const { bundle } = (await import('../../../esbuild-script.mjs')) as {
    bundle(options: { production: boolean; outdir: string }): Promise<unknown>;
  };
  const fresh = `${folder}.${process.pid}`;
  fs.mkdirSync(fresh, { recursive: true });
  try {
    const outdir = join(fresh, 'dist', 'bots');
    // A bot with an error is left out, and the others are there.
    const errors = await bundle({ production: true, outdir }).then(
      () => '',
      (error: Error) => error.message,
    );
    fs.mkdirSync(outdir, { recursive: true });
    fs.writeFileSync(join(fresh, ERRORS_FILE), errors);
    fs.copyFileSync(CONFIG_FILE, join(fresh, CONFIG_FILE));
    if (!fs.existsSync(folder)) {
      fs.renameSync(fresh, folder);
    }
  } finally {
    fs.rmSync(fresh, { recursive: true, force: true });
  }
}

function hashOfIngredients(): string {
  const hash = createHash('sha256');
  for (const path of INGREDIENTS.flatMap((pattern) => fs.globSync(pattern)).toSorted()) {
    if (fs.statSync(path).isFile()) {
      hash.update(path).update('\0').update(fs.readFileSync(path)).update('\0');
    }
  }
  return hash.digest('hex').slice(0, 32);
}

function removeOldFolders(): void {
  const folders = fs.readdirSync(CACHE).map((name) => join(CACHE, name));
  const newestFirst = folders.toSorted((a, b) => fs.statSync(b).mtimeMs - fs.statSync(a).mtimeMs);
  for (const folder of newestFirst.slice(KEPT)) {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}
