// What the linter says in the editor, before a build: what vmcontext lacks where a bot runs there,
// and what fails when it runs.
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BOT, makeProject } from '../project.ts';
import type { Project } from '../project.ts';

interface Finding {
  filename: string;
  code: string;
  severity: string;
  /** Message and help, which is where the linter puts what to do. */
  text: string;
}

const TIMERS = "import { setTimeout } from 'node:timers/promises'";
/** An expression that uses something vmcontext lacks, and what the message has to name instead. */
const LACKING: [string, string][] = [
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
  ['new ReadableStream()', "from 'node:stream/web'"],
  ['global', 'import what you need'],
  ['__dirname', 'import the file'],
];
const MEMBERS = [
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
    const headers = { id: randomUUID() };
    const response = await fetch(new URL(url), { signal: controller.signal, headers });
    await setTimeout(1);
    console.log(Buffer.from('x').toString('base64'), new TextEncoder().encode('x').length);
    console.log(process.env['X']);
    return await response.text();
  } catch (error) {
    const isLate = (error as Error).name === 'AbortError';
    return isLate ? 'late' : new URLSearchParams({ a: 'b' }).toString();
  }
}
`;
/** Modules that a bot on vmcontext imports. */
const MODULES: Record<string, string> = {
  'src/shared/good.ts': GOOD,
  ...Object.fromEntries(
    LACKING.map(([code], index) => [`src/shared/lacking-${index}.ts`, file(code)]),
  ),
  ...Object.fromEntries(
    MEMBERS.map((name) => [`src/shared/this-${name}.ts`, file(`globalThis.${name}`)]),
  ),
  ...Object.fromEntries(
    MEMBERS.map((name) => [`src/shared/key-${name}.ts`, file(`globalThis['${name}']`)]),
  ),
  'src/shared/taken-out.ts':
    'const { setTimeout: later } = globalThis;\nlater(() => undefined, 1);\n',
  ...Object.fromEntries(
    CONSOLE.map((name) => [`src/shared/console-${name}.ts`, file(`console.${name}('x')`)]),
  ),
};

let project: Project;
let findings: Finding[];
const found = (name: string): Finding[] => findings.filter(({ filename }) => filename === name);

beforeAll(async () => {
  const imports = Object.keys(MODULES).map((path) => `import '../shared/${path.slice(11)}';\n`);
  const files = {
    ...MODULES,
    'src/shared/only-on-lambda.ts': file("Buffer.from('x')"),
    'src/shared/imports-bot.ts':
      "import { handler } from '../bots/one.ts';\nexport const x = handler;\n",
    'src/shared/imports-tools.ts':
      "import { bold } from '../../tools/src/output.ts';\nexport const x = bold;\n",
    'src/shared/floating.ts': `const go = async (): Promise<void> => undefined;
export const f = (): void => {
  go();
};
`,
    'src/shared/floating-read.ts': `import type { MedplumClient } from '@medplum/core';
export const f = (medplum: MedplumClient): void => {
  medplum.readResource('Patient', '1');
};
`,
    'src/shared/misused.ts': `export const f = async (l: string[]): Promise<void> => {
  l.forEach(async (s) => console.log(await s));
};
`,
    'src/shared/awaits-nothing.ts': 'export const f = async (): Promise<number> => await 1;\n',
    'src/shared/throws-text.ts': "export const f = (): void => {\n  throw 'x';\n};\n",
    'src/shared/nested.ts':
      "export const f = (a: boolean, b: boolean): string => (a ? 'a' : b ? 'b' : 'c');\n",
    'src/shared/spread.ts': 'export const f = (a: object): object => ({ ...{ b: 1 }, ...a });\n',
    'src/shared/one-line.ts':
      'export function f(a: boolean): number {\n  if (a) return 1;\n  return 2;\n}\n',
    'src/bots/one.ts': `import '../shared/only-on-lambda.ts';\n${BOT}`,
    'src/bots/on-vmcontext.ts': `${imports.join('')}${BOT}`,
    'src/bots/imports-script.ts': "import '../../scripts/x.ts';\nexport const handler = 1;\n",
    'src/bots/imports-test.ts': "import '../../tests/x.ts';\nexport const handler = 1;\n",
    'scripts/x.ts':
      "setTimeout(() => console.error(globalThis.performance.now(), Buffer.from('x')), 1);\n",
    'tests/x.ts': "console.error(new Error('x') instanceof Error);\n",
  };
  project = makeProject(files, { checksEverything: true });
  const bots = ['one', 'imports-script', 'imports-test', 'on-vmcontext'].map((name) => ({
    name,
    source: `src/bots/${name}.ts`,
    dist: `dist/bots/${name}.js`,
    ...(name === 'on-vmcontext' && { runtimeVersion: 'vmcontext' }),
  }));
  project.write({
    'medplum.config.json': JSON.stringify({ identifierSystem: 'urn:x', bots }),
    'tools/src/output.ts': 'export const bold = console.error;\n',
  });
  const { stdout } = await project.node(
    'node_modules/oxlint/bin/oxlint',
    '--type-aware',
    '-f',
    'json',
  );
  const { diagnostics } = JSON.parse(stdout) as {
    diagnostics: {
      filename: string;
      code: string;
      severity: string;
      message: string;
      help?: string;
    }[];
  };
  findings = diagnostics.map(({ filename, code, severity, message, help }) => ({
    filename: filename.replaceAll('\\', '/'),
    code,
    severity,
    text: `${message} ${help ?? ''}`,
  }));
});
afterAll(() => rmSync(project.root, { recursive: true, force: true }));

test('what both runtimes have may be used', () => {
  expect(found('src/shared/good.ts')).toEqual([]);
});

test('scripts, tests and tools may use all of Node', () => {
  expect([
    ...found('scripts/x.ts'),
    ...found('tests/x.ts'),
    ...found('tools/src/output.ts'),
  ]).toEqual([]);
});

test('so may bots that run on awslambda only, and what they import', () => {
  expect(found('src/shared/only-on-lambda.ts')).toEqual([]);
});

describe('what a bot on vmcontext imports: a hint that names the replacement', () => {
  test.each(LACKING.map(([code, instead], index) => [code, instead, index] as const))(
    '%s',
    (_, instead, index) => {
      const [first] = found(`src/shared/lacking-${index}.ts`);
      expect(first).toMatchObject({
        code: 'eslint(no-restricted-globals)',
        severity: 'warning',
        text: expect.stringContaining(instead),
      });
    },
  );

  test.each(MEMBERS)('globalThis.%s, also by its name in brackets', (name) => {
    const instead = LACKING.find(([code]) => code.includes(name))![1];
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
});

describe('on every runtime', () => {
  test.each([
    ['src/shared/imports-bot.ts', 'move what both need to src/shared'],
    ['src/shared/imports-tools.ts', 'move what both need to src/shared'],
    ['src/bots/imports-script.ts', 'A bundle must not carry it'],
    ['src/bots/imports-test.ts', 'A bundle must not carry it'],
  ])('the import in %s', (name, text) => {
    expect(found(name)).toMatchObject([
      { code: 'eslint(no-restricted-imports)', text: expect.stringContaining(text) },
    ]);
  });

  test.each([
    ['src/shared/floating.ts', 'error', 'typescript(no-floating-promises)'],
    ['src/shared/floating-read.ts', 'error', 'typescript(no-floating-promises)'],
    ['src/shared/misused.ts', 'error', 'typescript(no-misused-promises)'],
    ['src/shared/awaits-nothing.ts', 'warning', 'typescript(await-thenable)'],
    ['src/shared/throws-text.ts', 'warning', 'typescript(only-throw-error)'],
    ['src/shared/nested.ts', 'warning', 'eslint(no-nested-ternary)'],
    ['src/shared/spread.ts', 'warning', 'unicorn(no-useless-spread)'],
    ['src/shared/one-line.ts', 'warning', 'eslint(curly)'],
  ])('%s: %s %s', (name, severity, code) => {
    expect(found(name)).toContainEqual(expect.objectContaining({ severity, code }));
  });
});
