// The finished bundle: what its runtime lacks is found, in the bot's own code and in packages, and
// nothing else is.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { bundle } from '../../esbuild-script.mjs';
import { BuildError } from '../../tools/src/bundling/bundle-bots.ts';
import type { BuiltBots } from '../../tools/src/bundling/bundle-bots.ts';
import { describe as describeFinding } from '../../tools/src/bundling/finding.ts';
import { NODE_GLOBALS } from '../../tools/src/runtime/vmcontext-globals.ts';
import { runInSandbox } from '../../tools/src/runtime/sandbox.ts';
import { projectForTest } from '../project.ts';
import type { Project } from '../project.ts';

const POLICY = { accessPolicy: [{ resourceType: 'Patient' }] };

interface Outcome {
  /** The bots that were built. */
  built: string[];
  /** Errors and warnings, as a build prints them. */
  findings: string[];
}

async function build({ root }: Project): Promise<Outcome> {
  const home = process.cwd();
  process.chdir(root);
  try {
    return outcomeOf(await bundle());
  } catch (error) {
    if (error instanceof BuildError) {
      return outcomeOf(error.built);
    }
    throw error;
  } finally {
    process.chdir(home);
  }
}

function outcomeOf({ bots, findings }: BuiltBots): Outcome {
  const lines = findings.map((finding) => `${finding.severity} ${describeFinding(finding)}`);
  return { built: Object.keys(bots), findings: lines };
}

/** Builds one bot, and the packages that it imports, for a runtime. */
async function buildBot(
  runtimeVersion: 'awslambda' | 'vmcontext',
  code: string,
  packages: Record<string, string> = {},
): Promise<Outcome & { bundle: string }> {
  const project = projectForTest({ 'src/bots/a.ts': code });
  project.configure(['a'], { ...POLICY, runtimeVersion });
  for (const [name, text] of Object.entries(packages)) {
    project.write({
      [`packages/node_modules/${name}/package.json`]: JSON.stringify({ name, version: '1.2.3' }),
      [`packages/node_modules/${name}/index.js`]: text,
    });
  }
  const outcome = await build(project);
  const file = join(project.root, 'dist/bots/a.js');
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  return { ...outcome, bundle: text };
}

/** A bot that is built, with nothing to say about it. */
const CLEAN = { built: ['a'], findings: [] };

const handler = (expression: string): string =>
  `export async function handler(): Promise<unknown> {\n  return ${expression};\n}\n`;
/** A bot that calls the default export of a package. */
const caller = (name: string): string =>
  `// @ts-ignore
import call from '../../packages/node_modules/${name}/index.js';
${handler('call(1)')}`;

describe('own code that cannot run on vmcontext', () => {
  test.each([
    ["Buffer.from('x')", 'Buffer does not exist on vmcontext: import { Buffer }'],
    ['new AbortController().signal', 'AbortController does not exist on vmcontext'],
    ["console.error('x')", 'console.error: use console.log'],
    ['__dirname', '__dirname does not exist on vmcontext: a bundle has no folder'],
  ])('%s', async (expression, message) => {
    const { built, findings } = await buildBot('vmcontext', handler(expression));
    expect(findings).toEqual([expect.stringMatching(/^error src\/bots\/a\.ts:2:1\d: /)]);
    expect(findings[0]).toContain(message);
    expect(built).toEqual([]);
  });

  test.each([
    ["typeof Buffer === 'undefined' ? 'none' : Buffer.from('x').length"],
    ["console.log('x')"],
    ["{ Buffer: 1, crypto: 'a' }"],
    ['[1].map((Buffer) => Buffer + 1)'],
  ])('%s is allowed', async (expression) => {
    expect(await buildBot('vmcontext', handler(expression))).toMatchObject(CLEAN);
  });

  test('instanceof Error is a warning with the reason', async () => {
    const text = `export async function handler(): Promise<boolean> {
  try {
    await fetch('https://example.com');
    return true;
  } catch (error) {
    return error instanceof Error;
  }
}
`;
    const { built, findings } = await buildBot('vmcontext', text);
    expect(built).toEqual(['a']);
    expect(findings).toEqual([
      expect.stringMatching(
        /^warning src\/bots\/a\.ts:6:\d+: instanceof Error: compare error\.name/,
      ),
    ]);
    expect(await buildBot('awslambda', text)).toMatchObject(CLEAN);
  });
});

test.each([
  ["Buffer.from('x')"],
  ["console.error('x')"],
  ['new AbortController().signal.aborted'],
  ['crypto.randomUUID()'],
])('%s is allowed on awslambda', async (expression) => {
  expect(await buildBot('awslambda', handler(expression))).toMatchObject(CLEAN);
});

test('a portable bot is checked for both runtimes', async () => {
  const project = projectForTest({ 'src/bots/a.ts': handler("Buffer.from('x')") });
  project.configure(['a'], { ...POLICY, portable: true });
  expect((await build(project)).findings).toEqual([
    expect.stringContaining('Buffer does not exist on vmcontext'),
  ]);
});

test('shared code is checked as the bots that carry it run', async () => {
  const project = projectForTest({
    'src/shared/encode.ts': `export const encode = (text: string): string =>
  Buffer.from(text).toString('base64');
export const length = (text: string): number => text.length;
`,
    'src/bots/a.ts': `import { encode } from '../shared/encode.ts';\n${handler("encode('x')")}`,
    'src/bots/b.ts': `import { length } from '../shared/encode.ts';\n${handler("length('x')")}`,
  });
  project.configure(['a', 'b'], { ...POLICY, runtimeVersion: 'vmcontext' });
  // The other bot carries no line of it.
  expect(await build(project)).toEqual({
    built: ['b'],
    findings: [
      expect.stringMatching(/^error src\/shared\/encode\.ts:2:\d+: Buffer does not exist/),
    ],
  });
});

describe('packages', () => {
  test('a global that vmcontext lacks: a warning that names the package', async () => {
    const packages = { encoder: 'export default (x) => Buffer.from([x]).toString();' };
    expect(await buildBot('vmcontext', caller('encoder'), packages)).toMatchObject({
      built: ['a'],
      findings: [
        'warning packages/node_modules/encoder/index.js:1:23: encoder 1.2.3 uses Buffer, ' +
          'which vmcontext does not have: the bot fails if it reaches that code. ' +
          'Import src/shared/node-globals.ts before it, which provides them, ' +
          'or run the bot on awslambda',
      ],
    });
    expect(await buildBot('awslambda', caller('encoder'), packages)).toMatchObject(CLEAN);
  });

  test('a global that the package tests for first is not mentioned', async () => {
    const packages = {
      careful: "export default (x) => (typeof Buffer === 'undefined' ? x : Buffer.from([x]));",
    };
    expect(await buildBot('vmcontext', caller('careful'), packages)).toMatchObject(CLEAN);
  });

  test('a bot accepts the warnings about a package, also where warnings are errors', async () => {
    const project = projectForTest({
      'src/bots/a.ts': caller('encoder'),
      'src/bots/b.ts': caller('encoder'),
      'packages/node_modules/encoder/package.json': '{ "name": "encoder", "version": "1.2.3" }',
      'packages/node_modules/encoder/index.js':
        "export default (x) => [Buffer.from('x'), require(x)];",
    });
    project.configure(['a', 'b'], { ...POLICY, runtimeVersion: 'vmcontext' });
    const file = 'medplum.config.json';
    const config = JSON.parse(readFileSync(join(project.root, file), 'utf8')) as {
      strictness: string;
      bots: [{ acceptedPackages: string[] }];
    };
    config.strictness = 'strict';
    config.bots[0].acceptedPackages = ['encoder'];
    project.write({ [file]: JSON.stringify(config) });
    const { built, findings } = await build(project);
    expect(built).toEqual(['a']);
    expect(findings).toEqual([
      expect.stringContaining('encoder 1.2.3: require() of an expression'),
      expect.stringContaining('encoder 1.2.3 uses Buffer'),
    ]);
  });

  test.each(['awslambda', 'vmcontext'] as const)('__dirname on %s', async (runtime) => {
    const packages = { reader: "export default (x) => __dirname + '/data.json' + x;" };
    const { built, findings } = await buildBot(runtime, caller('reader'), packages);
    expect(built).toEqual(['a']);
    expect(findings).toEqual([expect.stringContaining('reader 1.2.3 uses __dirname')]);
  });

  test.each(['awslambda', 'vmcontext'] as const)(
    'require() of an expression on %s',
    async (runtime) => {
      const packages = { loader: 'module.exports = (x) => require(x);' };
      const { built, findings } = await buildBot(runtime, caller('loader'), packages);
      expect(built).toEqual(['a']);
      expect(findings).toEqual([
        expect.stringContaining(
          'loader 1.2.3: require() of an expression: the bundler cannot know what to copy in',
        ),
      ]);
    },
  );

  test('require() of an expression that names no file: says which package', async () => {
    const packages = { locales: "module.exports = (x) => require('./locales/' + x);" };
    expect(await buildBot('awslambda', caller('locales'), packages)).toMatchObject({
      built: [],
      findings: [
        expect.stringContaining(
          'locales 1.2.3: require() of an expression: no file matches "./locales/**/*", ' +
            'so it fails on a server.',
        ),
      ],
    });
  });

  test('import() of an expression fails on vmcontext only', async () => {
    const packages = { dynamic: 'export default (x) => import(x);' };
    const { findings } = await buildBot('vmcontext', caller('dynamic'), packages);
    expect(findings).toEqual([
      expect.stringContaining('dynamic 1.2.3: import() of an expression fails on vmcontext'),
    ]);
    expect(await buildBot('awslambda', caller('dynamic'), packages)).toMatchObject(CLEAN);
  });
});

describe('src/shared/node-globals.ts', () => {
  const nodeGlobals = readFileSync('src/shared/node-globals.ts', 'utf8');

  test('gives vmcontext each global that the check counts on', async () => {
    const project = projectForTest({
      'src/shared/node-globals.ts': nodeGlobals,
      'src/bots/a.ts': `import '../shared/node-globals.ts';
export async function handler(_: unknown, event: { input: string[] }): Promise<unknown> {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 1);
  await new Promise((resolve) => controller.signal.addEventListener('abort', resolve));
  const globals = globalThis as unknown as Record<string, unknown>;
  return {
    missing: event.input.filter((name) => globals[name] === undefined),
    decoded: atob(Buffer.from('x').toString('base64')),
    clone: structuredClone({ id: [1] }),
    random: crypto.getRandomValues(new Uint8Array(2)).length,
  };
}
`,
    });
    project.configure(['a'], { ...POLICY, runtimeVersion: 'vmcontext' });
    expect(await build(project)).toMatchObject(CLEAN);
    const code = readFileSync(join(project.root, 'dist/bots/a.js'), 'utf8');
    const event = {
      bot: { reference: 'Bot/1' },
      input: [...NODE_GLOBALS],
      contentType: 'application/json',
      secrets: {},
    };
    expect(await runInSandbox(code, { runtime: 'vmcontext', medplum: {}, event })).toMatchObject({
      result: { missing: [], decoded: 'x', clone: { id: [1] }, random: 2 },
    });
  });

  test('what it does not have stays missing, and the warning says so', async () => {
    const project = projectForTest({
      'src/bots/a.ts': caller('form'),
      'packages/node_modules/form/package.json': '{ "name": "form", "version": "1.0.0" }',
      'packages/node_modules/form/index.js':
        "export default (x) => [new FormData(), Buffer.from('x')];",
    });
    project.configure(['a'], { ...POLICY, runtimeVersion: 'vmcontext' });
    expect((await build(project)).findings).toEqual([
      expect.stringContaining(
        'form 1.0.0 uses Buffer, FormData, which vmcontext does not have: ' +
          'the bot fails if it reaches that code. Import src/shared/node-globals.ts before it, ' +
          'which provides all but FormData, or run the bot on awslambda',
      ),
    ]);
  });
});

test('import() of a built-in works on vmcontext, as the bundle requires it', async () => {
  const text = `export async function handler(): Promise<string> {
  const { randomUUID } = await import('node:crypto');
  return randomUUID();
}
`;
  const outcome = await buildBot('vmcontext', text);
  expect(outcome).toMatchObject(CLEAN);
  expect(outcome.bundle).not.toContain('import(');
  expect(outcome.bundle).toContain('require("node:crypto")');
});

test('an import that is dropped, as its package says that it has no side effects', async () => {
  const project = projectForTest({
    'src/bots/a.ts': `// @ts-ignore
import '../../packages/node_modules/pure/index.js';
${handler('1')}`,
    'packages/node_modules/pure/package.json': '{ "name": "pure", "sideEffects": false }',
    'packages/node_modules/pure/index.js': 'globalThis.pure = 1;\n',
  });
  project.configure(['a'], POLICY);
  expect((await build(project)).findings).toEqual([
    expect.stringContaining(
      'src/bots/a.ts:2:8: Ignoring this import: its package.json says that it has no side effects',
    ),
  ]);
});
