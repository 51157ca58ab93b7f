// Terminal manners: errors of one line, flags, tables; and where the environment comes from.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { suggest, table } from '../../tools/cli.ts';
import { projectForTest, run } from './project.ts';

const TOOLS = pathToFileURL(join(import.meta.dirname, '../../tools/'));

/** Runs a script that starts with these imports. */
function script(text: string, args: string[] = [], variables: object = {}) {
  const { root } = projectForTest({});
  writeFileSync(
    join(root, 'script.ts'),
    `import { main, readArgs, UserError } from '${TOOLS}cli.ts';\nimport { readEnvironment } from '${TOOLS}env.ts';\n${text}`,
  );
  return { root, outcome: () => run(process.execPath, ['script.ts', ...args], root, variables) };
}
const outcomeOf = (text: string, args?: string[], variables?: object) => script(text, args, variables).outcome();

describe('a command', () => {
  test('tells a mistake of its user in one line', async () => {
    const text = `await main(async () => { throw new UserError('The file x is missing: write it.'); });`;
    expect(await outcomeOf(text)).toEqual({ code: 1, stdout: '', stderr: 'Error: The file x is missing: write it.\n' });
  });

  test('tells each of several mistakes in its line', async () => {
    const { stderr } = await outcomeOf(`await main(() => { throw new UserError('one\\ntwo'); });`);
    expect(stderr).toBe('Error: one\nError: two\n');
  });

  test('shows no stack of what was not expected, unless asked', async () => {
    const text = `await main(() => { throw new TypeError('x is not a function\\nmore'); });`;
    expect(await outcomeOf(text, [], { DEBUG: '' })).toEqual({
      code: 1,
      stdout: '',
      stderr: 'Error: x is not a function\nThis was not expected. Set DEBUG=1 in the environment to see where.\n',
    });
    expect((await outcomeOf(text, [], { DEBUG: '1' })).stderr).toMatch(/at .*script\.ts:3/);
  });

  test.each([
    ['', 0],
    ['return 2;', 2],
  ])('ends with the code it returns: "%s"', async (body, code) => {
    expect((await outcomeOf(`await main(async () => { ${body} });`)).code).toBe(code);
  });
});

describe('flags', () => {
  const ARGS = `await main(() => {
    const { values, positionals } = readArgs({ options: { yes: { type: 'boolean' }, 'dry-run': { type: 'boolean' }, env: { type: 'string' } }, allowPositionals: true });
    console.log(JSON.stringify([values, positionals]));
  });`;
  test.each([
    [['--yes', '--env', 'staging', 'bot'], '[{"yes":true,"env":"staging"},["bot"]]'],
    [['--env=staging'], '[{"env":"staging"},[]]'],
  ])('%j', async (args, text) => {
    expect(await outcomeOf(ARGS, args)).toEqual({ code: 0, stdout: `${text}\n`, stderr: '' });
  });
  test.each([
    [['--yess'], 'There is no flag --yess. Did you mean "--yes"?'],
    [['--frobnicate'], 'There is no flag --frobnicate. Known: --yes, --dry-run, --env.'],
    [['-y'], 'There is no flag -y. Known: --yes, --dry-run, --env.'],
    [['--env'], '--env needs a value after it.'],
    [['--env', '--yes'], '--env needs a value after it.'],
    [['--yes=1'], '--yes takes no value.'],
  ])('%j is refused', async (args, text) => {
    expect(await outcomeOf(ARGS, args)).toEqual({ code: 1, stdout: '', stderr: `Error: ${text}\n` });
  });

  test('and nothing else, where a command takes no names', async () => {
    const none = ARGS.replace('allowPositionals: true', 'allowPositionals: false');
    const line = 'Error: sync-bot is not expected here, only flags are. Known: --yes, --dry-run, --env.\n';
    expect(await outcomeOf(none, ['sync-bot'])).toEqual({ code: 1, stdout: '', stderr: line });
  });

  test.each([
    ['yes', '--yes'],
    ['dry_run', '--dry-run'],
    ['env', '--env'],
  ])('that npm kept for itself: npm_config_%s', async (variable, flag) => {
    const variables = { [`npm_config_${variable}`]: 'true', npm_lifecycle_event: 'setup:bots' };
    const line = `Error: npm kept ${flag} for itself. Put two dashes before it: npm run setup:bots -- ${flag}\n`;
    expect(await outcomeOf(ARGS, ['staging'], variables)).toEqual({ code: 1, stdout: '', stderr: line });
    expect((await outcomeOf(ARGS, [flag === '--env' ? '--env=a' : flag], variables)).code).toBe(0);
  });

  test('that is there twice, as only the last would count', async () => {
    const line = 'Error: --env was given more than once: only the last would count, so say it once.\n';
    expect(await outcomeOf(ARGS, ['--env=a', '--env', 'b'])).toEqual({ code: 1, stdout: '', stderr: line });
  });

  test('that npm kept, really by npm', async () => {
    const { root } = script(ARGS);
    writeFileSync(
      join(root, 'package.json'),
      JSON.stringify({ type: 'module', scripts: { 'setup:bots': 'node script.ts' } }),
    );
    const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
    const variables = { npm_config_yes: '' };
    const { stderr, code } = await run(npm, ['run', '--silent', 'setup:bots', '--yes'], root, variables);
    expect(stderr).toContain(
      'Error: npm kept --yes for itself. Put two dashes before it: npm run setup:bots -- --yes\n',
    );
    expect(code).toBe(1);
    expect((await run(npm, ['run', '--silent', 'setup:bots', '--', '--yes'], root, variables)).code).toBe(0);
  });
});

test('suggestions are near, or not made', () => {
  expect(suggest('Patiant', ['Task', 'Patient'])).toBe(' Did you mean "Patient"?');
  expect(suggest('patient', ['Patient'])).toBe(' Did you mean "Patient"?');
  expect(suggest('Pat', ['Bot', 'Group'])).toBe('');
  expect(suggest('x', [])).toBe('');
});

test('a table lines up, numbers to the right, and colours do not count', () => {
  const text = table(['bot', 'bytes', 'why'], [['a', 1234, '\u001b[31mnew\u001b[39m'], ['longer', 5, ''], ['c']]);
  expect(text.split('\n')).toEqual([
    'bot     bytes  why',
    'a       1,234  \u001b[31mnew\u001b[39m',
    'longer      5',
    'c',
  ]);
});

describe('the environment', () => {
  const READ = `await main(() => console.log(JSON.stringify(readEnvironment(process.argv[2]))));`;
  const FILE =
    'MEDPLUM_BASE_URL=https://example.com\nMEDPLUM_PROJECT_ID=p\nMEDPLUM_CLIENT_ID=c\nMEDPLUM_CLIENT_SECRET="a secret"\n';
  const NONE = { MEDPLUM_BASE_URL: '', MEDPLUM_PROJECT_ID: '', MEDPLUM_CLIENT_ID: '', MEDPLUM_CLIENT_SECRET: '' };
  const read = async (name: string[], files: Record<string, string>, variables = {}) => {
    const { root, outcome } = script(READ, name, { ...NONE, ...variables });
    for (const [file, text] of Object.entries(files)) writeFileSync(join(root, file), text);
    const { code, stdout, stderr } = await outcome();
    return code === 0 ? JSON.parse(stdout) : stderr;
  };
  const RIGHT = {
    name: 'local',
    baseUrl: 'https://example.com/',
    projectId: 'p',
    clientId: 'c',
    clientSecret: 'a secret',
  };

  test('is read from .env.local, or from .env.<name>', async () => {
    expect(await read([], { '.env.local': FILE })).toEqual(RIGHT);
    expect(await read(['staging'], { '.env.staging': FILE })).toEqual({ ...RIGHT, name: 'staging' });
  });

  test('real variables win over the file, unless they are empty', async () => {
    const variables = { MEDPLUM_CLIENT_ID: 'other', MEDPLUM_PROJECT_ID: '' };
    expect(await read([], { '.env.local': FILE }, variables)).toEqual({ ...RIGHT, clientId: 'other' });
    const all = {
      MEDPLUM_BASE_URL: 'http://localhost:8103/',
      MEDPLUM_PROJECT_ID: 'q',
      MEDPLUM_CLIENT_ID: 'd',
      MEDPLUM_CLIENT_SECRET: 's',
    };
    expect(await read(['production'], {}, all)).toEqual({
      ...{ name: 'production', baseUrl: 'http://localhost:8103/', projectId: 'q', clientId: 'd', clientSecret: 's' },
    });
  });

  test.each(Object.keys(NONE))('%s missing: says which, and in which file', async (variable) => {
    const text = FILE.replace(new RegExp(`^${variable}=.*$`, 'm'), '');
    expect(await read(['staging'], { '.env.staging': text })).toBe(
      `Error: Not set: ${variable}. Write into .env.staging (see .env.example), or set as variables.\n`,
    );
  });

  test('several are missing: all are named', async () => {
    expect(await read(['staging'], {})).toBe(
      `Error: Not set: ${Object.keys(NONE).join(', ')}. Write into .env.staging (see .env.example), or set as variables.\n`,
    );
  });

  test.each(['../x', 'Staging', 'a b', ''])('"%s" is no name', async (name) => {
    expect(await read([name], {})).toBe(
      `Error: "${name}" is no name for an environment: use lower-case letters, digits and dashes.\n`,
    );
  });

  test('an address that is none is refused, and no secret is shown', async () => {
    const message = await read([], { '.env.local': FILE.replace('https://', 'ftp://') });
    expect(message).toBe(
      'Error: MEDPLUM_BASE_URL is no address: write it like https://api.medplum.com/ (in .env.local).\n',
    );
  });
});
