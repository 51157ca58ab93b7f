// The tools that the small repositories of these tests share. Node keeps what it has compiled for
// each path, so a copy for each repository would be compiled again and again.
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const GENERATED = join(import.meta.dirname, '..');

/** A link to its folder `tools` makes a folder a repository with the tools. */
export const SHARED_TOOLS = join(import.meta.dirname, 'shared-tools');

/** Copies the tools, once for each run of vitest. */
export function setup(): void {
  rmSync(SHARED_TOOLS, { recursive: true, force: true });
  for (const part of ['tools', 'esbuild-script.mjs', 'package.json']) {
    cpSync(join(GENERATED, part), join(SHARED_TOOLS, part), { recursive: true });
  }
  // Checks of overlays are about files that the small repositories do not have.
  rmSync(join(SHARED_TOOLS, 'tools/src/checks'), { recursive: true, force: true });
}
