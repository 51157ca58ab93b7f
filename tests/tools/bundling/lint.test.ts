// What the linter refuses in the code of bots, and that it names what to use instead.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BOT, makeProject } from '../project.ts';
import type { Project } from '../project.ts';

interface Finding {
  filename: string;
  code: string;
  /** Message and help, which is where the linter puts what to do. */
  text: string;
}

const TIMERS = "import { setTimeout } from 'node:timers/promises'";
/** An expression that uses something vmcontext lacks -> what has to be named instead. */
const REFUSED: [string, string][] = [
  ['setTimeout(f, 1)', TIMERS],
  ['setInterval(f, 1)', TIMERS],
  ['setImmediate(f)', TIMERS],
  ['clearTimeout(1)', TIMERS],
  ['clearInterval(1)', TIMERS],
  ['clearImmediate(undefined)', TIMERS],
  ['new AbortController()', "import { transferableAbortController } from 'node:util'"],
  ['AbortSignal.timeout(1)', "import { transferableAbortController } from 'node:util'"],
  ["Buffer.from('x')", "import { Buffer } from 'node:buffer'"],
  ["atob('x')", "import { Buffer } from 'node:buffer'"],
  ["btoa('x')", "import { Buffer } from 'node:buffer'"],
  ["new Blob(['x'])", "import { Blob } from 'node:buffer'"],
  ['crypto.randomUUID()', "from 'node:crypto'"],
  ['structuredClone({})', 'JSON.parse(JSON.stringify(resource))'],
  ['new Headers()', 'a plain object'],
  ["new Request('https://example.com')", 'a plain object'],
  ['new Response()', 'a plain object'],
  ['new FormData()', 'JSON or URLSearchParams'],
  ['performance.now()', "import { performance } from 'node:perf_hooks'"],
  ['queueMicrotask(f)', 'use await'],
  ['new ReadableStream()', "import { ReadableStream } from 'node:stream/web'"],
  ['global', 'import what you need'],
  ['__dirname', 'import the data'],
];
const OBJECTS = [
  'setTimeout',
  'AbortController',
  'Buffer',
  'crypto',
  'structuredClone',
  'Headers',
  'performance',
];
const CONSOLE = ['error', 'warn', 'info', 'debug', 'trace', 'table'];

const file = (code: string): string =>
  `export const f = (): void => undefined;\nexport const g = (): unknown => ${code};\n`;
const GOOD = `// What a bot may use on both runtimes.
import { Buffer } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { transferableAbortController } from 'node:util';

export async function everything(url: string): Promise<string> {
  const controller = transferableAbortController();
  try {
    const response = await fetch(new URL(url), { signal: controller.signal, headers: { id: randomUUID() } });
    await setTimeout(1);
    console.log(Buffer.from('x').toString('base64'), new TextEncoder().encode('x').length, process.env['X']);
    return await response.text();
  } catch (error) {
    return (error as Error).name === 'AbortError' ? 'late' : new URLSearchParams({ a: 'b' }).toString();
  }
}
`;

let project: Project;
let findings: Finding[];
const found = (name: string): Finding[] => findings.filter(({ filename }) => filename === name);

beforeAll(async () => {
  project = makeProject({
    'src/shared/good.ts': GOOD,
    ...Object.fromEntries(
      REFUSED.map(([code], index) => [`src/shared/refused-${index}.ts`, file(code)]),
    ),
    ...Object.fromEntries(
      OBJECTS.map((name) => [`src/shared/this-${name}.ts`, file(`globalThis.${name}`)]),
    ),
    ...Object.fromEntries(
      OBJECTS.map((name) => [`src/shared/key-${name}.ts`, file(`globalThis['${name}']`)]),
    ),
    'src/shared/taken-out.ts':
      'const { setTimeout: later } = globalThis;\nlater(() => undefined, 1);\n',
    ...Object.fromEntries(
      CONSOLE.map((name) => [`src/shared/console-${name}.ts`, file(`console.${name}('x')`)]),
    ),
    'src/shared/console-of-this.ts': file(`globalThis.console.error('x')`),
    'src/shared/instance.ts':
      'export const isError = (e: unknown): boolean => e instanceof Error || e instanceof TypeError;\n',
    'src/shared/imports-bot.ts':
      "import { handler } from '../bots/one.ts';\nexport const x = handler;\n",
    'src/shared/imports-tools.ts':
      "import { bold } from '../../tools/src/terminal/output.ts';\nexport const x = bold;\n",
    'src/shared/floating.ts':
      'const go = async (): Promise<void> => undefined;\nexport const f = (): void => {\n  go();\n};\n',
    'src/shared/misused.ts':
      'export const f = async (l: string[]): Promise<void> => {\n  l.forEach(async (s) => console.log(await s));\n};\n',
    'src/shared/awaits-nothing.ts': 'export const f = async (): Promise<number> => await 1;\n',
    'src/shared/throws-text.ts': "export const f = (): void => {\n  throw 'x';\n};\n",
    'src/bots/one.ts': BOT,
    'src/bots/imports-bot.ts':
      "import { handler as other } from './one.ts';\nexport const handler = other;\n",
    'src/bots/imports-script.ts': "import '../../scripts/x.ts';\nexport const handler = 1;\n",
    'src/bots/imports-test.ts': "import '../../tests/x.ts';\nexport const handler = 1;\n",
    'scripts/x.ts':
      "setTimeout(() => console.error(globalThis.performance.now(), Buffer.from('x')), 1);\n",
    'tests/x.ts': "console.error(new Error('x') instanceof Error);\n",
  });
  rmSync(join(project.root, 'tools'), { recursive: true });
  project.write({ 'tools/src/output.ts': 'export const bold = console.error;\n' });
  const { stdout } = await project.node(
    'node_modules/oxlint/bin/oxlint',
    '--type-aware',
    '-f',
    'json',
  );
  const { diagnostics } = JSON.parse(stdout) as {
    diagnostics: { filename: string; code: string; message: string; help?: string }[];
  };
  findings = diagnostics.map(({ filename, code, message, help }) => {
    return { filename: filename.replaceAll('\\', '/'), code, text: `${message} ${help ?? ''}` };
  });
});
afterAll(() => project.remove());

test('what is there on both runtimes may be used', () => {
  expect(found('src/shared/good.ts')).toEqual([]);
});

test('scripts, tests and tools may use all of Node', () => {
  expect([
    ...found('scripts/x.ts'),
    ...found('tests/x.ts'),
    ...found('tools/src/output.ts'),
  ]).toEqual([]);
});

describe('refused in src, with the replacement named', () => {
  test.each(REFUSED.map(([code, instead], index) => [code, instead, index] as const))(
    '%s',
    (_, instead, index) => {
      const [first] = found(`src/shared/refused-${index}.ts`);
      expect(first).toMatchObject({
        code: 'eslint(no-restricted-globals)',
        text: expect.stringContaining(instead),
      });
    },
  );

  test.each(OBJECTS)('globalThis.%s, also by its name in brackets', (name) => {
    const instead = REFUSED.find(([code]) => code.includes(name))![1];
    for (const place of [`src/shared/this-${name}.ts`, `src/shared/key-${name}.ts`]) {
      expect(found(place)).toMatchObject([
        { code: 'eslint(no-restricted-properties)', text: expect.stringContaining(instead) },
      ]);
    }
  });

  test('a global taken out of globalThis', () => {
    expect(found('src/shared/taken-out.ts')).toMatchObject([
      { text: expect.stringContaining(TIMERS) },
    ]);
  });

  test.each(CONSOLE)('console.%s', (name) => {
    expect(found(`src/shared/console-${name}.ts`)).toMatchObject([
      { text: expect.stringContaining('use console.log') },
    ]);
  });

  test('console by way of globalThis', () => {
    expect(found('src/shared/console-of-this.ts')).toMatchObject([
      { text: expect.stringContaining('Write console.log') },
    ]);
  });

  test('instanceof with errors', () => {
    expect(found('src/shared/instance.ts').map(({ code }) => code)).toEqual(
      Array(2).fill('unicorn(no-instanceof-builtins)'),
    );
  });

  test.each([
    ['src/shared/imports-bot.ts', 'move what both need to src/shared'],
    ['src/bots/imports-bot.ts', 'move what both need to src/shared'],
    ['src/shared/imports-tools.ts', 'A bundle must not carry it'],
    ['src/bots/imports-script.ts', 'A bundle must not carry it'],
    ['src/bots/imports-test.ts', 'A bundle must not carry it'],
  ])('the import in %s', (name, text) => {
    expect(found(name)).toMatchObject([
      { code: 'eslint(no-restricted-imports)', text: expect.stringContaining(text) },
    ]);
  });

  test.each([
    ['src/shared/floating.ts', 'typescript(no-floating-promises)'],
    ['src/shared/misused.ts', 'typescript(no-misused-promises)'],
    ['src/shared/awaits-nothing.ts', 'typescript(await-thenable)'],
    ['src/shared/throws-text.ts', 'typescript(only-throw-error)'],
  ])('%s: %s', (name, code) => {
    expect(found(name).map((finding) => finding.code)).toContain(code);
  });
});
