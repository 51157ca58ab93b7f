// Every bot, built: it loads on each runtime that it has to run on, and carries the shared
// functions that it imports.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { bundle } from '../esbuild-script.mjs';
import { BuildError } from '../tools/src/bundling/bundle-bots.ts';
import type { BuiltBots } from '../tools/src/bundling/bundle-bots.ts';
import { runtimesOf } from '../tools/src/config/runtimes.ts';
import { carriedExports } from '../tools/src/bundling/carried-exports.ts';
import { sharedExports } from '../tools/src/bundling/shared-exports.ts';
import { loadConfig } from '../tools/src/config/config.ts';
import { runInSandbox } from '../tools/src/runtime/sandbox.ts';

const folder = mkdtempSync(join(tmpdir(), 'bundles-'));
const outdir = join(folder, 'bots');
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const { bots: built, failed } = await buildAll();
const functions = sharedExports().filter((shared) => shared.function);

/** Bundles every bot; those with an error are in `failed`. */
async function buildAll(): Promise<BuiltBots> {
  try {
    return await bundle({ outdir });
  } catch (error) {
    if (error instanceof BuildError) {
      return error.built;
    }
    throw error;
  }
}

describe.each(loadConfig().bots)('$name', (bot) => {
  test('can be bundled', () => {
    expect(failed[bot.name] ?? []).toEqual([]);
  });

  const info = built[bot.name];
  if (!info) {
    return;
  }
  const code = readFileSync(info.file, 'utf8');
  const map = readFileSync(`${info.file}.map`, 'utf8');
  const carried = carriedExports(code, map, outdir, functions);

  test.each(runtimesOf(bot))('loads on %s, with a handler', async (runtimeVersion) => {
    const runtime = runtimeVersion === 'vmcontext' ? 'vmcontext' : 'awslambda';
    // Another handler takes the place of the bot's, and only looks at it.
    const where = runtime === 'vmcontext' ? 'exports' : 'module.exports';
    const probe = `const found = typeof ${where}.handler;
      ${runtime === 'vmcontext' ? '' : 'module.exports = {};'} ${where}.handler = async () => ({ found });`;
    const event = { bot: {}, input: {}, contentType: 'application/fhir+json', secrets: {} };
    const run = await runInSandbox(`${code}\n${probe}`, { runtime, medplum: {}, event });
    expect(run.error).toBeUndefined();
    expect(run.result).toEqual({ found: 'function' });
  });

  test('carries the shared functions that it imports', () => {
    const source = readFileSync(bot.source, 'utf8');
    const imports = source.matchAll(/^import \{([^}]*)\} from '\.\.\/shared\//gm);
    const names = [...imports].flatMap(([, list = '']) =>
      list.split(',').map((item) => item.trim().split(' ')[0]),
    );
    const imported = names.filter((name) => functions.some((shared) => shared.name === name));
    expect(carried.map((shared) => shared.name)).toEqual(expect.arrayContaining(imported));
    const files = carried.map(({ file }) => file);
    expect(Object.keys(info.shared)).toEqual(expect.arrayContaining(files));
  });

  test('carries no shared function that it does not use', () => {
    // A function that is only defined is named once; where two have one name, esbuild numbers them.
    const uses = (name: string): number =>
      code.match(new RegExp(`\\b${name}\\d*\\b`, 'g'))?.length ?? 0;
    expect(carried.filter((shared) => uses(shared.name) < 2)).toEqual([]);
  });
});
