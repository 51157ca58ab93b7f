// `npm run build`: which findings are errors, which are warnings, and what is left in dist.
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { describe as describeFinding } from '../../tools/src/bundling/finding.ts';
import { BOT, projectForTest } from '../project.ts';
import type { Project } from '../project.ts';
import { sharedExports, undocumented } from '../../tools/src/bundling/shared-exports.ts';

const DOCUMENTED = `/**
 * Adds.
 *
 * @param a - one
 * @param b - the other
 * @returns the sum
 */
`;

const build = (project: Project, ...args: string[]) => project.command('build', ...args);
const built = ({ root }: Project) =>
  readdirSync(join(root, 'dist/bots')).filter((file) => file.endsWith('.js'));
const manifestOf = ({ root }: Project) =>
  JSON.parse(readFileSync(join(root, 'dist/manifest.json'), 'utf8'));
/** medplum.config.json with these members added to it. */
function configure(project: Project, members: object): void {
  const config = JSON.parse(readFileSync(join(project.root, 'medplum.config.json'), 'utf8'));
  project.write({ 'medplum.config.json': JSON.stringify({ ...config, ...members }) });
}

const POLICY = { accessPolicy: [{ resourceType: 'Patient' }] };
const STYLE = `export async function handler(_: unknown, event: any): Promise<object> {
  if (event.input == null) return {};
  enum Kind { A, B }
  return { kind: Kind.A, first: event.input.list[0] };
}
`;

test('good code is bundled, and what an earlier build left in dist is removed', async () => {
  const project = projectForTest({ 'src/bots/a.ts': BOT });
  project.configure(['a'], POLICY);
  mkdirSync(join(project.root, 'dist/bots'), { recursive: true });
  writeFileSync(join(project.root, 'dist/bots/old.js'), '');
  const line = ['tools/bin/medplum-bots.cjs', 'build', '--production'];
  const { code, stdout, stderr } = await project.node(...line);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toMatch(/Built 1 bot into dist\/bots, \d+ kB in all\.\n$/);
  expect(readdirSync(join(project.root, 'dist/bots'))).toEqual(['a.js', 'a.js.map']);
  expect(manifestOf(project).production).toBe(true);
});

describe('an error of one bot', () => {
  test.each([
    [
      'types',
      'export const handler = (): number => "text";\n',
      "src/bots/bad.ts:1:38: Type 'string' is not assignable to type 'number'. (TS2322)",
    ],
    [
      'a request that nothing waits for',
      `export async function handler(): Promise<object> {
  fetch('https://example.com');
  return {};
}
`,
      'src/bots/bad.ts:2:3: Promises must be awaited',
    ],
    ['syntax', 'export const handler = ;\n', 'src/bots/bad.ts:1:24: Unexpected ";"'],
    [
      'no handler',
      'export const handle = 1;\n',
      'src/bots/bad.ts exports no handler: add "export async function handler(medplum, event)"',
    ],
  ])('%s: is named with its place, and the others are built', async (_, text, message) => {
    const project = projectForTest({ 'src/bots/bad.ts': text, 'src/bots/good.ts': BOT });
    const { code, stdout, stderr } = await build(project);
    expect(stderr).toContain(`Error: ${message}`);
    expect(stdout).toMatch(/^Built 1 bot into dist\/bots, \d kB in all\. Not built: bad\.$/m);
    expect(code).toBe(1);
    expect(built(project)).toEqual(['good.js']);
    const { failed } = manifestOf(project);
    expect(failed.bad.join('\n')).toContain(message);
  });

  test('in shared code: the bots that import it', async () => {
    const project = projectForTest({
      'src/bots/user.ts': `import { one } from '../shared/one.ts';
export const handler = () => ({ one });
`,
      'src/bots/other.ts': BOT,
      'src/shared/one.ts': 'export const one: number = "1";\n',
    });
    expect((await build(project)).code).toBe(1);
    expect(built(project)).toEqual(['other.js']);
  });

  test('in a test: every bot is built, and the exit code is 1', async () => {
    const project = projectForTest({
      'src/bots/a.ts': BOT,
      'tests/a.test.ts': 'export const one: number = "1";\n',
    });
    const { code, stderr } = await build(project);
    expect(stderr).toContain('Error: tests/a.test.ts:1:14: ');
    expect(code).toBe(1);
    expect(built(project)).toEqual(['a.js']);
  });

  test.each([
    ["import x from 'left-pad';\nexport const handler = x;\n"],
    ["import 'left-pad';\nexport const handler = (): number => 1;\n"],
  ])('an import that is missing is named once: %s', async (text) => {
    const project = projectForTest({ 'src/bots/a.ts': text });
    const { stderr } = await build(project);
    expect(stderr.match(/left-pad/g)).toHaveLength(2); // its name, and in the command
    expect(stderr).toContain('"left-pad" cannot be found: npm install --save-dev left-pad\n');
  });

  test('types that a package lacks are a warning, with what may have them', async () => {
    const project = projectForTest({
      'src/bots/a.ts': `import type { Page } from '@medplum/core/pages';
${BOT}export type { Page };
`,
    });
    const { code, stderr } = await build(project, '--verbose');
    expect(stderr).toContain(
      'Types may be in @types/medplum__core: npm install --save-dev @types/medplum__core (TS2307)',
    );
    expect(stderr).not.toContain('Error');
    expect(code).toBe(0);
    expect(built(project)).toEqual(['a.js']);
  });

  test('many of one kind: the first three, and a number', async () => {
    const lines = Array.from({ length: 12 }, (_, i) => `export const x${i}: number = 'text';\n`);
    const project = projectForTest({ 'src/bots/a.ts': BOT + lines.join('') });
    const { stderr } = await build(project);
    expect(stderr.match(/TS2322\)$/gm)).toHaveLength(3);
    expect(stderr).toContain('  and 9 more (TS2322). npm run build -- --verbose shows all.');
    expect((await build(project, '--verbose')).stderr.match(/TS2322\)$/gm)).toHaveLength(12);
  });
});

describe('style', () => {
  test('is counted, and stops nothing', async () => {
    const project = projectForTest({ 'src/bots/a.ts': STYLE });
    project.configure(['a'], POLICY);
    const { code, stderr } = await build(project);
    expect(code).toBe(0);
    expect(stderr).toMatch(/^\d warnings about style: .*1 no-explicit-any.*\n$/);
    expect(stderr).toContain('1 eqeqeq');
    expect((await build(project, '--verbose')).stderr).toMatch(
      /^Warning: src\/bots\/a\.ts:2:\d+: Expected === and instead saw ==/m,
    );
  });

  test('is an error where the repository is strict', async () => {
    const project = projectForTest({ 'src/bots/a.ts': STYLE, 'src/bots/b.ts': BOT });
    project.configure(['a', 'b'], POLICY);
    configure(project, { strictness: 'strict' });
    const { code, stderr } = await build(project);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^Error: src\/bots\/a\.ts:1:\d+: Unexpected `any`/m);
    expect(built(project)).toEqual(['b.js']);
    const lint = await project.node('node_modules/oxlint/bin/oxlint', '--type-aware', 'src');
    expect(lint.code).toBe(1);
  });

  test('includes the JSDoc of shared functions', async () => {
    const project = projectForTest({
      'src/bots/a.ts': BOT,
      'src/shared/sum.ts':
        'export function add(a: number, b: number): number {\n  return a + b;\n}\n',
    });
    const { code, stderr } = await build(project, '--verbose');
    expect(code).toBe(0);
    expect(stderr).toContain(
      'Warning: src/shared/sum.ts:1: add has no JSDoc: describe what goes in and what comes ' +
        'out for the bots that import it\n',
    );
  });
});

test('a bot without an access policy is a warning that says what it may do', async () => {
  const project = projectForTest({ 'src/bots/a.ts': BOT });
  expect((await build(project)).stderr).toContain(
    'Warning: Without an access policy, a may read, change and delete everything in the ' +
      'project, other bots included.',
  );
  for (const settings of [POLICY, { accessPolicy: 'Bots' }, { runAsUser: true }]) {
    project.configure(['a'], settings);
    expect((await build(project)).stderr).toBe('');
  }
});

test('many bots without an access policy are one warning', async () => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
  const project = projectForTest(
    Object.fromEntries(names.map((name) => [`src/bots/${name}.ts`, BOT])),
  );
  project.configure(names, {});
  const { stderr } = await build(project);
  expect(stderr.match(/Without an access policy/g)).toHaveLength(1);
  expect(stderr).toContain('Without an access policy, a, b, c, d, e and 2 more may read');
});

test('a bot that imports another bot is a warning', async () => {
  const project = projectForTest({
    'src/bots/a.ts': BOT,
    'src/bots/b.ts': `import { handler as first } from './a.ts';\nexport const handler = first;\n`,
  });
  const { code, stderr } = await build(project);
  expect(code).toBe(0);
  expect(stderr).toContain(
    'Warning: src/bots/b.ts imports the bot src/bots/a.ts, and carries its handler: ' +
      'move what both need to src/shared\n',
  );
});

describe('the JSDoc of shared functions', () => {
  const lacks = (text: string): string[] => {
    const project = projectForTest({ 'src/shared/x.ts': text });
    return undocumented(sharedExports(project.root)).map((finding) =>
      describeFinding(finding).replace(/: describe what.*/, ''),
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
      `/** X.
 * @param both - a and b
 * @returns a */
export function f({ a }: { a: 1 }): number { return a; }`,
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
