// `npm run build`: checks and bundles; what is not clean leaves nothing to deploy.
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { BOT, projectForTest } from '../project.ts';
import { sharedExports, undocumented } from '../../tools/src/bundling/shared-exports.ts';

const DOCUMENTED = `/**
 * Adds.
 *
 * @param a - one
 * @param b - the other
 * @returns the sum
 */
`;

test('good code is bundled, and what an earlier build left in dist is gone', async () => {
  const project = projectForTest({ 'src/bots/a.ts': BOT });
  mkdirSync(join(project.root, 'dist/bots'), { recursive: true });
  writeFileSync(join(project.root, 'dist/bots/old.js'), '');
  const { code, stdout, stderr } = await project.node(
    'tools/bin/medplum-bots.cjs',
    'build',
    '--production',
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toMatch(/Built 1 bot into dist\/bots, \d+ kB in all\.\n$/);
  expect(readdirSync(join(project.root, 'dist/bots'))).toEqual(['a.js', 'a.js.map']);
  expect(
    JSON.parse(readFileSync(join(project.root, 'dist/manifest.json'), 'utf8')).production,
  ).toBe(true);
});

test('all that is wrong is told at once, and nothing is left in dist', async () => {
  const text = 'export const handle = (): void => console.error(1);\n';
  const project = projectForTest({
    'src/bots/a.ts': text,
    'src/shared/b.ts': 'export function b(): void {}\n',
  });
  const { code, stdout, stderr } = await project.node('tools/bin/medplum-bots.cjs', 'build');
  expect(stdout).toContain('use console.log');
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: `Error: src/shared/b.ts:1: b has no JSDoc: say what goes in and what comes out, for whoever shares it
Error: src/bots/a.ts exports no handler: give it an "export async function handler(medplum, event)"
Error: the code has to be lint-free and well typed before it is bundled: see above
`,
  });
  expect(existsSync(join(project.root, 'dist'))).toBe(false);
});

test.each([
  ['lint', 'export const handler = (): void => console.error(1);\n', 'use console.log'],
  [
    'types',
    'export const handler = (): number => "text";\n',
    "Type 'string' is not assignable to type 'number'",
  ],
  [
    'syntax that Node cannot strip',
    'export enum Kind { A }\nexport const handler = Kind;\n',
    'erasableSyntaxOnly',
  ],
])('%s: the tool says where, and the build fails', async (_, text, message) => {
  const project = projectForTest({ 'src/bots/a.ts': text });
  const { code, stdout, stderr } = await project.node('tools/bin/medplum-bots.cjs', 'build');
  expect(stdout).toContain(message);
  expect(stdout).toMatch(/src\/bots\/a\.ts:\d+:\d+/);
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: 'Error: the code has to be lint-free and well typed before it is bundled: see above\n',
  });
  expect(existsSync(join(project.root, 'dist'))).toBe(false);
});

test('a shared function without JSDoc: one line', async () => {
  const project = projectForTest({
    'src/bots/a.ts': BOT,
    'src/shared/sum.ts':
      'export function add(a: number, b: number): number {\n  return a + b;\n}\n',
  });
  const { code, stderr } = await project.node('tools/bin/medplum-bots.cjs', 'build');
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr:
      'Error: src/shared/sum.ts:1: add has no JSDoc: say what goes in and what comes out, for whoever shares it\n',
  });
});

describe('the JSDoc of shared functions', () => {
  const lacks = (text: string): string[] => {
    const project = projectForTest({ 'src/shared/x.ts': text });
    return undocumented(sharedExports(project.root)).map((line) =>
      line.replace(/: say what.*/, ''),
    );
  };
  test.each([
    [
      'all is said',
      `${DOCUMENTED}export function add(a: number, b = 1): number { return a + b; }`,
      [],
    ],
    [
      'an arrow',
      `${DOCUMENTED}export const add = (a: number, ...b: number[]): number => a + b.length;`,
      [],
    ],
    [
      'exported by a list',
      `${DOCUMENTED}function add(a: number, b: number): number { return a + b; }\nexport { add };`,
      [],
    ],
    [
      'nothing is returned',
      '/** Logs.\n * @param a - what */\nexport function log(a: string): void { console.log(a); }',
      [],
    ],
    ['a promise of nothing', '/** Waits. */\nexport async function wait(): Promise<void> {}', []],
    [
      'no function',
      'export const LIMIT = 3;\nexport interface A { b: string }\nexport type C = A;',
      [],
    ],
    [
      'not exported',
      'function add(a: number): number { return a; }\nexport const three = add(3);',
      [],
    ],
    [
      'taken apart',
      `/** X.\n * @param both - a and b\n * @returns a */\nexport function f({ a }: { a: 1 }): number { return a; }`,
      [],
    ],
    [
      'taken apart, not said',
      '/** X.\n * @returns a */\nexport function f({ a }: { a: 1 }): number { return a; }',
      ['src/shared/x.ts:3: the JSDoc of f lacks @param <name>'],
    ],
    [
      'one parameter is missing',
      `${DOCUMENTED}export function add(a: number, c: number): number { return a + c; }`,
      ['src/shared/x.ts:8: the JSDoc of add lacks @param c'],
    ],
    [
      'the result is missing',
      '/** X. */\nexport function f() { return 1; }',
      ['src/shared/x.ts:2: the JSDoc of f lacks @returns'],
    ],
    [
      'an arrow without',
      'export const f = async (a: string): Promise<string> => a;',
      ['src/shared/x.ts:1: f has no JSDoc'],
    ],
    [
      'a plain comment',
      '// Adds.\nexport function f(): void {}',
      ['src/shared/x.ts:2: f has no JSDoc'],
    ],
    [
      'that of something else',
      '/** Three. */\nexport const three = 3;\nexport function f(): void {}',
      ['src/shared/x.ts:3: f has no JSDoc'],
    ],
    [
      'after text that is not ASCII',
      "export const x = 'ä€😀';\n\n/** X. */\nexport function f(): number { return 1; }",
      ['src/shared/x.ts:4: the JSDoc of f lacks @returns'],
    ],
  ])('%s', (_, text, lines) => {
    expect(lacks(text)).toEqual(lines);
  });
});
