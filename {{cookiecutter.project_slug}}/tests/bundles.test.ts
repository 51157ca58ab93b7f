// Every bot, built: it loads on both runtimes, and carries the shared functions that it uses and no others.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { bundle } from '../esbuild-script.mjs';
import { carriedExports, sharedExports } from '../tools/src/bundling/shared-exports.ts';
import { loadConfig } from '../tools/src/config/config.ts';
import { runInSandbox } from '../tools/src/runtime/sandbox.ts';

const folder = mkdtempSync(join(tmpdir(), 'bundles-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const functions = sharedExports().filter((shared) => shared.function);
const { bots } = await bundle({ outdir: join(folder, 'bots') });

describe.each(loadConfig().bots)('$name', ({ name, source }) => {
  const info = bots[name]!;
  const code = readFileSync(info.file, 'utf8');
  const carried = carriedExports(code, readFileSync(`${info.file}.map`, 'utf8'), functions);

  test.each(['vmcontext', 'awslambda'] as const)('loads on %s, with a handler', async (runtime) => {
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
    const imports = [...readFileSync(source, 'utf8').matchAll(/^import \{([^}]*)\} from '\.\.\/shared\//gm)];
    const names = imports.flatMap(([, list]) => list!.split(',').map((item) => item.trim().split(' ')[0]));
    const imported = names.filter((item) => functions.some((shared) => shared.name === item));
    expect(carried.map((shared) => shared.name)).toEqual(expect.arrayContaining(imported));
    expect(Object.keys(info.shared)).toEqual(expect.arrayContaining(carried.map(({ file }) => file)));
  });

  test('carries no shared function that it does not use', () => {
    // A function that is only defined stands there once; where two have one name, esbuild numbers them.
    const uses = (shared: string): number => code.match(new RegExp(`\\b${shared}\\d*\\b`, 'g'))?.length ?? 0;
    expect(carried.filter((shared) => uses(shared.name) < 2)).toEqual([]);
  });
});
