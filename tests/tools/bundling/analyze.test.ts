// `npm run analyze`: what is in the bundles, and exactly which bots a change of the shared code
// makes different.
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { bundle } from '../../esbuild-script.mjs';
import { deploy, prepare } from '../../tools/src/deploy/deploy.ts';
import { differences, manifestAt } from '../../tools/src/bundling/differences.ts';
import { LOCAL } from '../../tools/src/medplum/local-project.ts';
import { startMedplumServer } from '../../tools/src/medplum/server.ts';
import { makeProject, projectForTest, run } from '../project.ts';
import type { Project } from '../project.ts';

const analyze = (project: Project, ...args: string[]) => project.command('analyze', ...args);

async function commit({ root }: Project): Promise<void> {
  const identity = [
    '-c',
    'user.name=Test',
    '-c',
    'user.email=test@example.com',
    '-c',
    'commit.gpgsign=false',
  ];
  for (const args of [
    ['init', '--quiet'],
    ['add', '--force', '--all', '--', ':!node_modules', ':!dist'],
    [...identity, 'commit', '--quiet', '-m', 'x'],
  ]) {
    expect(await run('git', args, root)).toMatchObject({ code: 0 });
  }
}

const doc = '/** X.\n * @param a - a\n * @returns x */\n';
const SHARED = `${doc}export function greeting(a: string): string {
  return \`Hello, \${a}\`;
}

${doc}export function farewell(a: string): string {
  return \`Good-bye, \${a}\`;
}

${doc}export const shout = (a: string): string => a.toUpperCase();

export const LIMIT = [1, 2, 3];
`;
const bot = (name: string) =>
  `import { ${name} } from '../shared/words.ts';
export const handler = () => ({ text: ${name}('x') });
`;
const sample = () =>
  projectForTest({
    'src/shared/words.ts': SHARED,
    'src/bots/hello.ts': bot('greeting'),
    'src/bots/bye.ts': bot('farewell'),
  });

describe('analyze', () => {
  test('shows each bot with its modules and what no bot uses; writes the report', async () => {
    const project = sample();
    const { code, stdout, stderr } = await analyze(project);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^bot +bytes +minified +gzip +own code +budget used$/m);
    expect(stdout).toMatch(/^hello( +[\d,]+){4} +1 %\n {2}src\/shared\/words\.ts +\d+$/m);
    expect(stdout).toContain('Shared, but used by no bot:\n- shout (src/shared/words.ts:18)');
    const report = readFileSync(join(project.root, 'dist/report.md'), 'utf8');
    expect(report).toMatch(/^\| hello \| \d+ \| \d+ \| \d+ \| \d+ \| \d+ \| 1000000 \|$/m);
    expect(report).toContain(
      '```mermaid\nflowchart LR\n  b0["hello"]\n  b1["bye"]\n  s0(["words"])\n' +
        '  b0 --> s0\n  b1 --> s0\n```',
    );
  });

  test('as JSON', async () => {
    const { bots, unused } = JSON.parse((await analyze(sample(), '--json')).stdout);
    expect(unused).toEqual(['shout (src/shared/words.ts:18)']);
    expect(
      bots.map(({ name, carries }: { name: string; carries: string[] }) => [name, carries]),
    ).toEqual([
      ['hello', ['greeting (src/shared/words.ts:4)']],
      ['bye', ['farewell (src/shared/words.ts:11)']],
    ]);
    for (const { bytes, minified, gzip } of bots) {
      expect(bytes > minified && minified > gzip && gzip > 100).toBe(true);
    }
  });

  test.each([
    [['greeting'], 'greeting (src/shared/words.ts:4): hello\n'],
    [['shout'], 'shout (src/shared/words.ts:18): in no bundle\n'],
    [['LIMIT'], 'LIMIT (src/shared/words.ts:20): in no bundle\n'],
  ])('--find %s', async ([name], text) => {
    expect(await analyze(sample(), '--find', name!)).toEqual({ code: 0, stdout: text, stderr: '' });
  });

  test('a bot with an error is left out, and the others are shown', async () => {
    const project = sample();
    await commit(project);
    project.write({ 'src/bots/bye.ts': 'export const handler = ;\n' });
    const { code, stdout, stderr } = await analyze(project);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/^Error: src\/bots\/bye\.ts:1:\d+: [^\n]*\n$/),
    });
    expect(stdout).toMatch(/^hello( +[\d,]+){4} +1 %$/m);
    expect(stdout).not.toMatch(/^bye/m);
    expect((await analyze(project, '--against', 'HEAD')).stdout).toMatch(
      /^No bundle differs from HEAD\.\n/,
    );
  });

  test('a bundle over its budget is shown: that is where to look', async () => {
    const project = sample();
    project.configure(['hello', 'bye'], { maxBytes: 500 });
    const { code, stdout } = await analyze(project);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^hello( +[\d,]+){4} +\d{3} %$/m);
  });

  test('--find something that is not there', async () => {
    const stderr =
      'Error: Nothing that src/shared exports is called "greetings". Did you mean "greeting"?\n';
    expect(await analyze(sample(), '--find', 'greetings')).toEqual({ code: 1, stdout: '', stderr });
  });

  test('--against an earlier commit: which bots differ, by how much, and why', async () => {
    const project = sample();
    await commit(project);
    expect((await analyze(project, '--against', 'HEAD')).stdout).toMatch(
      /^No bundle differs from HEAD\.\n/,
    );
    project.write({
      'src/shared/words.ts': SHARED.replace('Hello', 'Good morning').replace(
        '/** X.',
        '/** Something else.',
      ),
      'src/bots/third.ts': bot('shout'),
      'src/bots/bye.ts': '',
    });
    project.configure(['hello', 'third']);
    const { stdout } = await analyze(project, '--against', 'HEAD');
    expect(stdout).toMatch(/^hello +\d+ +\d+ +\+7 {2}src\/shared\/words\.ts$/m);
    expect(stdout).toMatch(/^third +\d+ +\+\d+ {2}new$/m);
    expect(stdout).toMatch(/^bye +\d+ +-\d+ {2}no longer in medplum\.config\.json$/m);
    expect(stdout).toContain('To deploy again: hello, third\n');
    expect(stdout).toContain('Shared, but used by no bot:\n- farewell (src/shared/words.ts:11)');
    expect(
      (await run('git', ['worktree', 'list'], project.root)).stdout.trim().split('\n'),
    ).toHaveLength(1);
    expect(
      (await run('git', ['status', '--short', 'src', 'medplum.config.json'], project.root)).stdout,
    ).toContain('src/bots/third.ts');
  });

  test('--against what cannot be found or built', async () => {
    const project = sample();
    const missing =
      'Error: "v1" cannot be found in this git repository: fetch it, or name a branch, ' +
      'tag or commit.\n';
    expect(await analyze(project, '--against', 'v1')).toMatchObject({ code: 1, stderr: missing });
    project.write({ 'src/bots/bye.ts': 'export const x = 1;\n' });
    await commit(project);
    project.write({ 'src/bots/bye.ts': bot('farewell') });
    const broken =
      'Error: HEAD cannot be built: src/bots/bye.ts exports no handler: ' +
      'add "export async function handler(medplum, event)"\n';
    expect(await analyze(project, '--against', 'HEAD')).toMatchObject({ code: 1, stderr: broken });
  });
});

describe('100 generated changes', () => {
  /** A thread for bots takes long to start, and none is run. */
  const NO_RUNS = { run: () => Promise.reject(new Error('No bot is run in this test')) };

  /** Repeatable numbers from 0 to `below` (Park and Miller). */
  const numbers = (seed: number) => {
    let state = seed * 7919 + 1;
    return (below: number): number => (state = (state * 48271) % 2147483647) % below;
  };

  // Shared functions f0 … f11, three a module, each calling some with a lower number; and bots that
  // call some.
  const FUNCTIONS = 12;
  interface Graph {
    calls: number[][];
    bots: number[][];
  }
  const moduleOf = (f: number): string => `src/shared/m${Math.floor(f / 3)}.ts`;
  const imports = (from: string, used: number[]): string =>
    used
      .filter((f) => moduleOf(f) !== from)
      .map(
        (f) =>
          `import { f${f} } from ` +
          `'${from.startsWith('src/bots') ? '../shared' : '.'}/m${Math.floor(f / 3)}.ts';\n`,
      )
      .join('');
  const reach = (graph: Graph, start: number[]): Set<number> => {
    const found = new Set(start);
    for (const f of found) {
      for (const next of graph.calls[f]!) {
        found.add(next);
      }
    }
    return found;
  };
  const generate = (next: (below: number) => number): Graph => ({
    calls: Array.from({ length: FUNCTIONS }, (_, f) =>
      Array.from({ length: FUNCTIONS }, (__, g) => g).filter((g) => g < f && next(4) === 0),
    ),
    bots: Array.from({ length: 6 }, () =>
      Array.from({ length: FUNCTIONS }, (_, f) => f).filter(() => next(4) === 0),
    ),
  });
  const filesOf = (graph: Graph, texts: string[], comments: string[]): Record<string, string> => {
    const files: Record<string, string> = {};
    for (let first = 0; first < FUNCTIONS; first += 3) {
      const own = [first, first + 1, first + 2];
      const used = [...new Set(own.flatMap((f) => graph.calls[f]!))];
      const definitions = own.map(
        (f) =>
          `// ${comments[f]}
export function f${f}(): string {
  return ['${texts[f]}', ${graph.calls[f]!.map((g) => `f${g}()`).join(', ')}].join();
}
`,
      );
      files[moduleOf(first)] = imports(moduleOf(first), used) + definitions.join('');
    }
    graph.bots.forEach((used, index) => {
      const file = `src/bots/bot-${index}.ts`;
      files[file] =
        `${imports(file, used)}export const handler = () => ({ texts: ` +
        `[${used.map((f) => `f${f}()`).join(', ')}] });\n`;
    });
    return files;
  };

  test.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])(
    'repository %i: analyze, the plan and the calls agree on ten changes',
    async (seed) => {
      const next = numbers(seed);
      const graph = generate(next);
      const texts = Array.from({ length: FUNCTIONS }, (_, f) => `text of ${f}`);
      const project = makeProject(filesOf(graph, texts, texts));
      const server = await startMedplumServer({ workers: NO_RUNS });
      const home = process.cwd();
      try {
        process.chdir(project.root);
        Object.assign(process.env, {
          MEDPLUM_BASE_URL: server.baseUrl,
          MEDPLUM_PROJECT_ID: LOCAL.projectId,
        });
        Object.assign(process.env, {
          MEDPLUM_CLIENT_ID: LOCAL.clientId,
          MEDPLUM_CLIENT_SECRET: LOCAL.clientSecret,
        });
        await commit(project);
        await bundle({ production: true });
        expect((await deploy({ yes: true, log: () => undefined })).failed).toEqual([]);
        const then = manifestAt('HEAD', project.root);
        for (let change = 0; change < 10; change++) {
          const changed = Array.from({ length: FUNCTIONS }, (_, f) => f).filter(
            () => next(8) === 0,
          );
          const onlyCommented = next(FUNCTIONS);
          const newTexts = texts.map((text, f) =>
            changed.includes(f) ? `${text}, changed` : text,
          );
          project.write(
            filesOf(
              graph,
              newTexts,
              texts.map((text, f) => (f === onlyCommented ? `${text}!` : text)),
            ),
          );
          const now = await bundle({ production: true });
          const named = differences(then, now).map(({ name }) => name);

          const { plan } = await prepare({});
          const planned = plan.changes
            .filter(({ steps }) => steps.some(({ type }) => type === 'deploy'))
            .map(({ name }) => name);
          const calling = graph.bots.flatMap((used, index) => {
            const reached = reach(graph, used);
            return changed.some((f) => reached.has(f)) ? [`bot-${index}`] : [];
          });
          expect(named).toEqual(calling);
          expect(planned.toSorted()).toEqual(calling);
        }
      } finally {
        process.chdir(home);
        await server.stop();
        rmSync(project.root, { recursive: true, force: true });
      }
    },
  );
});
