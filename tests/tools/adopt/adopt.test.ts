// `medplum-bots adopt`: an example repository of 25 bots is adopted, built, tested and deployed;
// and what it does with each kind of file.
import { Operator } from '@medplum/core';
import type { Bot } from '@medplum/fhirtypes';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { deploy } from '../../tools/src/deploy/deploy.ts';
import { LOCAL } from '../../tools/src/medplum/local-project.ts';
import { startMedplumServer } from '../../tools/src/medplum/server.ts';
import { makeProject, projectForTest } from '../project.ts';
import type { Project } from '../project.ts';
import type { CommandOutput } from '../run-command.ts';

const EXAMPLE = join(import.meta.dirname, 'example');
const GENERATED = join(import.meta.dirname, '../..');
const adopt = (project: Project, ...args: string[]): Promise<CommandOutput> =>
  project.command('adopt', ...args, '--no-install');
const read = ({ root }: Project, file: string): string => readFileSync(join(root, file), 'utf8');
const botsOf = (project: Project): { name: string; id?: string; source: string }[] =>
  JSON.parse(read(project, 'medplum.config.json')).bots;

/** A folder with these files, which goes away with the test. */
function sourceRepository(texts: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'bots of a team-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const [path, text] of Object.entries(texts)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return folder;
}

describe('the example repository', () => {
  let project: Project;
  let outcome: CommandOutput;
  beforeAll(async () => {
    project = makeProject({});
    cpSync(join(GENERATED, 'vitest.config.ts'), join(project.root, 'vitest.config.ts'));
    outcome = await adopt(project, EXAMPLE);
  });
  afterAll(() => project.remove());

  test('is adopted, with something left to do for two bots', () => {
    expect(outcome.stderr).toBe('');
    expect(outcome.stdout).toMatch(
      /^25 of 25 bots were adopted, with \d+ new files\. Left to do for 2\.$/m,
    );
    expect(outcome.stdout.match(/to do: .*/g)).toEqual([
      'to do: src/bots/forms/print-form.ts reads a file when it runs: import it, ' +
        'as a bundle has no folder',
      'to do: its handler takes (event, medplum): Medplum calls handler(medplum, event)',
    ]);
  });

  test('keeps the ids of deployed bots', () => {
    const bots = botsOf(project);
    expect(bots).toHaveLength(25);
    expect(bots[0]).toEqual({
      name: 'hello-patient',
      id: '00000000-0000-4000-8000-000000000001',
      source: 'src/bots/hello-patient.ts',
      dist: 'dist/bots/hello-patient.js',
    });
    expect(bots.filter(({ id }) => id === undefined).map(({ name }) => name)).toEqual([
      'check-identifier',
      'orphan-bot',
    ]);
  });

  test('builds without an error', async () => {
    const { code, stdout, stderr } = await project.command('build');
    expect(stderr).not.toContain('Error');
    expect(stdout).toMatch(/^Built 25 bots into dist\/bots, \d+ kB in all\.$/m);
    expect(code).toBe(0);
  });

  test('passes its own tests', async () => {
    const { code, stdout, stderr } = await project.node('node_modules/vitest/vitest.mjs', 'run');
    expect(stdout + stderr).toMatch(/Test Files +15 passed \(15\)/);
    expect(code).toBe(0);
  });

  test('is deployed to the local Medplum, with the ids of the deployed bots', async () => {
    const server = await startMedplumServer({});
    try {
      const target = { ...LOCAL, name: 'local', baseUrl: server.baseUrl };
      const { changed, failed } = await deploy({
        root: project.root,
        target,
        yes: true,
        log: () => undefined,
      });
      expect(failed).toEqual([]);
      expect(changed).toHaveLength(25);
      for (const { name, id } of botsOf(project)) {
        const [bot] = await server.repository.searchResources<Bot>({
          resourceType: 'Bot',
          filters: [{ code: 'name', operator: Operator.EXACT, value: name }],
        });
        expect(bot?.id, name).toEqual(id ?? expect.any(String));
      }
    } finally {
      await server.stop();
    }
  });

  test('is adopted again without a change', async () => {
    const before = read(project, 'src/bots/payments/charge-card.ts');
    const { stdout } = await adopt(project, EXAMPLE);
    expect(stdout).toContain('was here already: what exists was left as it is');
    expect(stdout).toContain(', with 0 new files.');
    expect(read(project, 'src/bots/payments/charge-card.ts')).toBe(before);
    expect(botsOf(project)).toHaveLength(25);
  });
});

describe('what becomes of a file', () => {
  const files = {
    'src/bots/one.ts': `import { both } from '../lib/both.js';
import { own } from './own';
export const handler = () => both + own;
`,
    'src/bots/own.ts': 'export const own = 1;\n',
    'src/bots/two.ts': `import { both } from '../lib/both';
export default function handler() {
  return both;
}
`,
    'src/lib/both.ts': `import { Patient } from '@medplum/fhirtypes';
export const both = (p: Patient) => p.id;
`,
    'test/one.test.ts': `import { handler } from '../src/bots/one';
jest.mock('../src/lib/both');
test('x', () => expect(handler()).toBe(1));
`,
  };
  async function adopted(...args: string[]): Promise<{ project: Project; stdout: string }> {
    const project = projectForTest({});
    const source = sourceRepository(files);
    const { stdout } = await adopt(project, source, ...args);
    return { project, stdout };
  }

  test('shared code goes to src/shared, tests to tests/; helpers stay with their bot', async () => {
    const { project } = await adopted();
    expect(read(project, 'src/bots/one.ts')).toBe(
      `import { both } from '../shared/lib/both.ts';
import { own } from './own.ts';
export const handler = () => both + own;
`,
    );
    expect(read(project, 'src/bots/two.ts')).toContain('\nexport function handler() {');
    expect(read(project, 'src/shared/lib/both.ts')).toContain('import type { Patient }');
    expect(read(project, 'tests/one.test.ts')).toBe(
      `import { expect, test, vi } from 'vitest';
import { handler } from '../src/bots/one.ts';
vi.mock('../src/shared/lib/both.ts');
test('x', () => expect(handler()).toBe(1));
`,
    );
  });

  test('--into and --name-prefix keep repositories apart', async () => {
    const { project } = await adopted('--into', 'lab', '--name-prefix', 'lab-');
    expect(botsOf(project).map(({ name, source }) => [name, source])).toEqual([
      ['lab-one', 'src/bots/lab/one.ts'],
      ['lab-two', 'src/bots/lab/two.ts'],
    ]);
    expect(read(project, 'src/bots/lab/two.ts')).toContain(`'../../shared/lab/lib/both.ts'`);
  });

  test('--bot adopts one bot, and what it needs', async () => {
    const { project, stdout } = await adopted('--bot', 'two');
    expect(stdout).toContain('1 of 1 bots were adopted, with 2 new files.');
    expect(botsOf(project).map(({ name }) => name)).toEqual(['two']);
  });

  test('--dry-run writes nothing', async () => {
    const { project, stdout } = await adopted('--dry-run');
    expect(stdout).toContain('2 of 2 bots would be adopted');
    expect(botsOf(project)).toEqual([]);
  });

  test('an existing file with another content stays, and is named', async () => {
    const project = projectForTest({ 'src/shared/lib/both.ts': 'export const both = 2;\n' });
    const source = sourceRepository(files);
    const { stdout } = await adopt(project, source);
    expect(read(project, 'src/shared/lib/both.ts')).toBe('export const both = 2;\n');
    expect(stdout).toContain(
      'to do: src/shared/lib/both.ts was there with another text, and was left as it is: ' +
        'compare the two',
    );
  });

  test('a name that is taken: the bot is left out, and says what helps', async () => {
    const project = projectForTest({ 'src/bots/one.ts': 'export const handler = () => 1;\n' });
    project.write({
      'src/bots/first.ts': 'export const handler = () => 1;\n',
      'medplum.config.json': JSON.stringify({
        identifierSystem: 'urn:x',
        bots: [{ name: 'one', source: 'src/bots/first.ts', dist: 'dist/bots/one.js' }],
      }),
    });
    const source = sourceRepository(files);
    const { stdout } = await adopt(project, source);
    expect(stdout).toContain(
      'left out one src/bots/one.ts\n  to do: src/bots/first.ts has this name already',
    );
    expect(botsOf(project).map(({ name }) => name)).toEqual(['one', 'two']);
  });
});

describe('packages', () => {
  test("are listed in the repository's version; those of Medplum in the template's", async () => {
    const project = projectForTest({});
    const source = sourceRepository({
      'src/bots/a.ts': `import '@medplum/mock';
import 'left-pad';
import 'ssh2';
import 'nowhere';
export const handler = 1;
`,
      'package.json': JSON.stringify({
        devDependencies: {
          'left-pad': '^1.3.0',
          '@types/left-pad': '1.2.0',
          '@medplum/mock': '4.0.0',
        },
      }),
    });
    const { stdout } = await adopt(project, source);
    const { devDependencies } = JSON.parse(read(project, 'package.json'));
    expect(stdout).toContain(
      'Packages to install: ' +
        `npm install --save-dev @medplum/mock@${devDependencies['@medplum/core']} ` +
        'left-pad@1.3.0 @types/left-pad@1.2.0 ssh2@1.17.0\n',
    );
    expect(stdout).toContain('as their package.json names no version: nowhere.');
  });
});

test.each([
  [
    ['/nowhere/at/all'],
    '/nowhere/at/all does not exist. Give a folder, or the address of a git repository.',
  ],
  [
    ['.', '--bot', 'x'],
    'There are no bots: no medplum.config.json, and no file that exports a handler.',
  ],
  [
    ['.', '--into', '../x'],
    '--into ../x: use letters, digits, dashes and underscores, like --into billing.',
  ],
  [['file:///nowhere/at/all.git'], 'file:///nowhere/at/all.git cannot be cloned: '],
])('%j is refused in one line', async (args, message) => {
  const project = projectForTest({});
  const { code, stderr } = await adopt(project, ...args);
  expect(stderr).toMatch(/^Error: [^\n]*\n$/);
  expect(stderr).toContain(message);
  expect(code).toBe(1);
});
