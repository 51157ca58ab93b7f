// `npm run new:bot`: what it writes is whole at once, and what it refuses leaves nothing behind.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { BOT, projectForTest } from '../project.ts';
import type { Project } from '../project.ts';

const newBot = (project: Project, ...args: string[]) => project.command('new-bot', ...args);
const files = (project: Project) =>
  readdirSync(join(project.root, 'src'), { recursive: true })
    .concat(readdirSync(join(project.root, 'tests'), { recursive: true }))
    .toSorted();
const project = () => projectForTest({ 'src/bots/first-bot.ts': BOT, 'tests/x.txt': 'x' });
const TEMPLATES = ['subscription', 'cron', 'webhook', 'questionnaire', 'hl7', 'operation'];
const configOf = ({ root }: Project) =>
  JSON.parse(readFileSync(join(root, 'medplum.config.json'), 'utf8'));

test('bots for every occasion: linted, typed, bundled and tested as they are written', async () => {
  const repository = project();
  repository.configure(['first-bot'], { accessPolicy: [{ resourceType: 'Patient' }] });
  const { bots: before, ...rest } = configOf(repository);
  const commands: [args: string[], runs: string][] = [
    [['greet-patient', '--on', 'Patient:create,update'], 'on create, update of a Patient'],
    [
      ['follow-all', '--on', 'Patient?name:exact=x', '--cron', '*/5 * * * *'],
      'on create, update, delete of a Patient and on its schedule',
    ],
    [
      ['follow-some', '--on', 'Observation?status=final:delete,update'],
      'on delete, update of an Observation',
    ],
    [['nightly', '--cron', '0 3 * * *'], 'on its schedule'],
    [['when-called'], 'when it is called'],
  ];
  for (const [args, runs] of commands) {
    const { code, stdout, stderr } = await newBot(repository, ...args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(
      `${args[0]}: runs ${runs}. Next: write what it does, then npm run build && npm test`,
    );
  }
  const { bots, ...same } = configOf(repository);
  expect(same).toEqual(rest);
  expect(bots.slice(0, before.length)).toEqual(before);
  const entry = (name: string) => ({
    name,
    source: `src/bots/${name}.ts`,
    dist: `dist/bots/${name}.js`,
  });
  const patient = { resourceType: 'Patient', readonly: true };
  expect(bots.slice(before.length)).toEqual([
    {
      ...entry('greet-patient'),
      subscriptions: [{ criteria: 'Patient', interactions: ['create', 'update'] }],
      accessPolicy: [patient],
    },
    {
      ...entry('follow-all'),
      cron: '*/5 * * * *',
      subscriptions: [{ criteria: 'Patient?name:exact=x' }],
      accessPolicy: [patient],
    },
    {
      ...entry('follow-some'),
      subscriptions: [{ criteria: 'Observation?status=final', interactions: ['delete', 'update'] }],
      accessPolicy: [{ resourceType: 'Observation', readonly: true }],
    },
    {
      ...entry('nightly'),
      cron: '0 3 * * *',
      accessPolicy: [{ resourceType: 'Bot', readonly: true }],
    },
    { ...entry('when-called'), accessPolicy: [patient] },
  ]);

  const checks = await repository.command('build');
  expect(checks, checks.stdout).toMatchObject({ code: 0, stderr: '' });
  const prettier = await repository.node(
    'node_modules/prettier/bin/prettier.cjs',
    '--check',
    'src',
    'tests',
    'medplum.config.json',
  );
  expect(prettier).toMatchObject({ code: 0, stderr: '' });
  const vitest = await repository.node(
    'node_modules/vitest/vitest.mjs',
    'run',
    '--no-isolate', // quicker
    '--reporter=json',
    '--outputFile=report.json',
  );
  expect(vitest.code, vitest.stdout + vitest.stderr).toBe(0);
  expect(JSON.parse(readFileSync(join(repository.root, 'report.json'), 'utf8'))).toMatchObject({
    numPassedTests: 10,
    numFailedTests: 0,
    numPendingTests: 0,
  });
});

test('--list shows the templates', async () => {
  const { code, stdout } = await newBot(project(), '--list');
  expect(code).toBe(0);
  for (const template of TEMPLATES) {
    expect(stdout).toMatch(new RegExp(`^${template} +\\w`, 'm'));
  }
});

test(
  'every template is a bot that is built without a warning, and passes its test',
  { timeout: 240_000 },
  async () => {
    const repository = projectForTest({});
    for (const template of TEMPLATES) {
      const outcome = await newBot(repository, `new-${template}`, '--template', template);
      expect(outcome, outcome.stderr).toMatchObject({ code: 0, stderr: '' });
    }
    for (const bot of configOf(repository).bots) {
      expect(bot.accessPolicy, bot.name).not.toHaveLength(0);
      const event = join(repository.root, `tests/events/${bot.name}.json`);
      expect(JSON.parse(readFileSync(event, 'utf8'))).toHaveProperty('input');
    }
    const build = await repository.command('build');
    expect(build, build.stderr).toMatchObject({ code: 0, stderr: '' });
    const vitest = await repository.node('node_modules/vitest/vitest.mjs', 'run', '--no-isolate');
    expect(vitest.code, vitest.stdout + vitest.stderr).toBe(0);
    expect(vitest.stdout).toMatch(/Test Files +6 passed/);
    const prettier = await repository.node(
      'node_modules/prettier/bin/prettier.cjs',
      '--check',
      'src',
      'tests',
    );
    expect(prettier).toMatchObject({ code: 0, stderr: '' });
  },
);

test('its sample events have the shape of the real ones', async () => {
  const repository = project();
  await newBot(repository, 'follow', '--on', 'Patient');
  const event = (interaction: string) =>
    JSON.parse(
      readFileSync(join(repository.root, `tests/events/follow-${interaction}.json`), 'utf8'),
    );
  const id = '00000000-0000-4000-8000-000000000001';
  const headers = { 'X-Medplum-Subscription': id, 'X-Medplum-Interaction': 'update' };
  const resource = { resourceType: 'Patient', id };
  expect(event('update')).toEqual({
    input: resource,
    contentType: 'application/fhir+json',
    headers,
  });
  expect(event('delete')).toEqual({
    input: { deletedResource: resource },
    contentType: 'application/fhir+json',
    headers: {
      ...headers,
      'X-Medplum-Interaction': 'delete',
      'X-Medplum-Deleted-Resource': `Patient/${id}`,
    },
  });
});

test('leaves the configuration in the order that its team gave it', async () => {
  const repository = project();
  const reversed = (value: object) => Object.fromEntries(Object.entries(value).toReversed());
  const config = configOf(repository);
  const ours = reversed({ ...config, bots: config.bots.map(reversed) });
  repository.write({ 'medplum.config.json': JSON.stringify(ours) });
  await newBot(repository, 'second');
  const { bots, ...rest } = configOf(repository);
  expect(bots.at(-1).name).toBe('second');
  expect(JSON.stringify({ ...ours, ...rest, bots: bots.slice(0, -1) })).toBe(JSON.stringify(ours));
  expect(Object.keys(configOf(repository))).toEqual(Object.keys(ours));
});

test.each([
  ['no bots', '{\n  "identifierSystem": "urn:x",\n  "bots": []\n}\n', 1],
  [
    'lists and brackets around the bots',
    `{
  "external": ["pdfmake"],
  "bots": [
    {
      "name": "first-bot",
      "description": "in [brackets], \\"bots\\": [",
      "source": "src/bots/first-bot.ts",
      "dist": "dist/bots/first-bot.js",
      "subscriptions": [
        {
          "criteria": "Patient"
        }
      ]
    }
  ],
  "identifierSystem": "urn:x"
}
`,
    2,
  ],
])('leaves every other line of the configuration as it is: %s', async (_, text, count) => {
  const repository = project();
  repository.write({ 'medplum.config.json': text });
  await newBot(repository, 'second');
  expect(configOf(repository).bots).toHaveLength(count);
  const written = readFileSync(join(repository.root, 'medplum.config.json'), 'utf8');
  const lines = (json: string) => json.split('\n').map((line) => line.replace(/,$/, ''));
  const before = lines(text).filter((line) => line !== '  "bots": []');
  expect(lines(written)).toEqual(expect.arrayContaining(before));
  const { bots, ...rest } = configOf(repository);
  expect({ ...rest, bots: bots.slice(0, -1) }).toEqual(JSON.parse(text));
});

test('runs where the other bots run', async () => {
  const repository = project();
  repository.configure(['first-bot'], { runtimeVersion: 'vmcontext' });
  await newBot(repository, 'second');
  expect(configOf(repository).bots[1].runtimeVersion).toBe('vmcontext');
});

describe('refused, and nothing is written:', () => {
  test.each([
    [[], 'Give the new bot a name: npm run new:bot -- <name>'],
    [['x', '--template', 'webhok'], 'There is no template "webhok". Did you mean "webhook"?'],
    [
      ['x', '--template', 'cron', '--on', 'Patient'],
      'A template brings its own --on and --cron: change them in medplum.config.json.',
    ],
    [
      ['a', 'b'],
      "too many arguments for 'new-bot'. Expected 1 argument but got 2: a, b. " +
        'See: npx medplum-bots new-bot --help',
    ],
    [['first-bot'], 'There is or was a bot called "first-bot": choose another name.'],
    [
      ['My Bot'],
      '"My Bot" cannot be the name of a bot: use letters, digits, ' +
        'single dashes and underscores, like "task-reminder".',
    ],
    [['../x'], expect.stringContaining('"../x" cannot be the name of a bot')],
    [
      ['x', '--on', 'Patiant'],
      expect.stringContaining(
        '"Patiant" is not a resource type, so this would never run. Did you mean "Patient"?',
      ),
    ],
    [
      ['x', '--on', 'Patient:created'],
      expect.stringContaining('"created" is not possible. Did you mean "create"?'),
    ],
    [
      ['nul'],
      '"nul" cannot be a file\'s name on every system: choose another, of at most 60 letters.',
    ],
    [
      ['com1', '--on', 'Patient'],
      expect.stringContaining('"com1" cannot be a file\'s name on every system'),
    ],
    [['n'.repeat(61)], expect.stringContaining('at most 60 letters')],
    [
      ['x', '--on', 'Patient', '--on', 'Task'],
      expect.stringContaining('--on was given more than once'),
    ],
    [['x', '--cron', 'daily'], expect.stringContaining('has to be five numeric fields')],
    [['x', '--events'], "unknown option '--events'. See: npx medplum-bots new-bot --help"],
    [['taken'], 'src/bots/taken.ts is there already: choose another name, or move it away.'],
    [['tested'], 'tests/tested.test.ts is there already: choose another name, or move it away.'],
  ])('%j', async (args, line) => {
    const repository = project();
    repository.write({ 'src/bots/taken.ts': BOT, 'tests/tested.test.ts': '//' });
    const before = [files(repository), configOf(repository)];
    const { code, stdout, stderr } = await newBot(repository, ...args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    const [first, ...rest] = stderr.split('\n');
    expect(first!.replace(/^Error: /, '')).toEqual(line);
    expect(rest.join('')).not.toContain('    at ');
    expect([files(repository), configOf(repository)]).toEqual(before);
  });
});
