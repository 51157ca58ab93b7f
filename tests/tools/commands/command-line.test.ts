// The command line: errors of one line, flags, exit codes, tables; and where the environment comes
// from.
import { Command } from 'commander';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { collect } from '../../tools/src/command-line.ts';
import { readEnvironment } from '../../tools/src/config/environment.ts';
import { suggest } from '../../tools/src/terminal/suggest.ts';
import { table } from '../../tools/src/terminal/output.ts';
import { UserError } from '../../tools/src/terminal/user-error.ts';
import { projectForTest, run } from '../project.ts';
import { runCommand, runProgram } from '../run-command.ts';

const ROOT = join(import.meta.dirname, '../..');
const TOOLS = pathToFileURL(join(ROOT, 'tools/src/')).href;
const ENTRY = join(ROOT, 'tools/bin/medplum-bots.cjs');

/** What Node is started with, by npm scripts and by hand. */
const ENTRIES = [
  'tools/bin/medplum-bots.cjs',
  'tools/bin/check-environment.cjs',
  'tools/bin/require-environment.cjs',
  'esbuild-script.mjs',
  'scripts/setup-bots-and-subscriptions.ts',
];

const medplumBots = (...args: string[]) => runCommand(ROOT, 'tools/bin/medplum-bots.cjs', ...args);

/** A command whose action is this. */
const commandOf = (action: () => void) => () => new Command('test').action(async () => action());

/** A repository with a script, which has these as imports. */
function scriptProject(text: string): string {
  const { root } = projectForTest({});
  const imports = [
    "import { Command } from 'commander';",
    `import { runCommandLine } from '${TOOLS}command-line.ts';`,
  ];
  writeFileSync(join(root, 'script.ts'), `${imports.join('\n')}\n${text}`);
  return root;
}

/** A script with a command whose action is this code. */
const scriptOf = (action: string): string =>
  scriptProject(
    `await runCommandLine(() => new Command('test').action(async () => { ${action} }));`,
  );

const runScript = (root: string, variables: object = {}) =>
  run(process.execPath, ['script.ts'], root, variables);

describe('an error', () => {
  test('that the user can fix is one line', async () => {
    const program = commandOf(() => {
      throw new UserError('The file x is missing: write it.');
    });
    expect(await runProgram(program)).toEqual({
      code: 1,
      stdout: '',
      stderr: 'Error: The file x is missing: write it.\n',
    });
  });

  test('of several lines is marked on each', async () => {
    const program = commandOf(() => {
      throw new UserError('one\ntwo');
    });
    expect((await runProgram(program)).stderr).toBe('Error: one\nError: two\n');
  });

  test('that is unexpected shows its stack only on request', async () => {
    const root = scriptOf(`throw new TypeError('x is not a function\\nmore');`);
    expect(await runScript(root, { DEBUG: '' })).toEqual({
      code: 1,
      stdout: '',
      stderr:
        'Error: x is not a function\n' +
        'This is unexpected. Set DEBUG=1 in the environment to see the stack trace.\n',
    });
    expect((await runScript(root, { DEBUG: '1' })).stderr).toMatch(/at .*script\.ts:3/);
  });

  test('while the command is loaded is reported in the same way', async () => {
    const program = () => {
      throw new UserError('No configuration.');
    };
    expect(await runProgram(program)).toEqual({
      code: 1,
      stdout: '',
      stderr: 'Error: No configuration.\n',
    });
  });
});

test.each([
  ['', 0],
  ['process.exitCode = 2;', 2],
])('a command ends with its own exit code: "%s"', async (action, code) => {
  expect((await runScript(scriptOf(action))).code).toBe(code);
});

describe('flags', () => {
  const withFlags = () =>
    new Command('test')
      .option('--yes', '')
      .option('--dry-run', '')
      .option('--env <name>', '')
      .option('--fault <fault>', '', collect, [])
      .action(() => undefined);
  const withNamesToo = () =>
    withFlags()
      .argument('[names...]')
      .action((names, options) => console.log(JSON.stringify([options, names])));
  const runFlags = (args: string[], variables: Record<string, string> = {}) =>
    runProgram(withNamesToo, { args, variables });

  test.each([
    [['--yes', '--env', 'staging', 'bot'], '[{"fault":[],"yes":true,"env":"staging"},["bot"]]'],
    [['--env=staging'], '[{"fault":[],"env":"staging"},[]]'],
    [['--fault', 'a', '--fault=b'], '[{"fault":["a","b"]},[]]'],
  ])('%j', async (args, text) => {
    expect(await runFlags(args)).toEqual({ code: 0, stdout: `${text}\n`, stderr: '' });
  });

  test.each([
    [['--yess'], "unknown option '--yess' (Did you mean --yes?). See: test --help"],
    [['--frobnicate'], "unknown option '--frobnicate'. See: test --help"],
    [['-y'], "unknown option '-y'. See: test --help"],
    [['--env'], "option '--env <name>' argument missing. See: test --help"],
  ])('%j is refused', async (args, text) => {
    expect(await runFlags(args)).toEqual({
      code: 1,
      stdout: '',
      stderr: `Error: ${text}\n`,
    });
  });

  test('a name where none is expected is refused', async () => {
    expect(await runProgram(withFlags, { args: ['sync-bot'] })).toEqual({
      code: 1,
      stdout: '',
      stderr:
        'Error: too many arguments. Expected 0 arguments but got 1: sync-bot. ' +
        'See: test --help\n',
    });
  });

  test.each([
    ['yes', '--yes'],
    ['dry_run', '--dry-run'],
    ['env', '--env'],
  ])('npm took one for itself: npm_config_%s', async (variable, flag) => {
    const variables = { [`npm_config_${variable}`]: 'true', npm_lifecycle_event: 'setup:bots' };
    expect(await runFlags(['staging'], variables)).toEqual({
      code: 1,
      stdout: '',
      stderr:
        `Error: npm took ${flag} for itself. Write two dashes before it: ` +
        `npm run setup:bots -- ${flag}\n`,
    });
    const given = flag === '--env' ? '--env=a' : flag;
    expect((await runFlags([given], variables)).code).toBe(0);
  });

  test('given twice is refused, as only the last would count', async () => {
    expect(await runFlags(['--env=a', '--env', 'b'])).toEqual({
      code: 1,
      stdout: '',
      stderr: 'Error: --env was given more than once. Give it once: only the last would count.\n',
    });
  });

  test('that npm took, really by npm', async () => {
    const root = scriptProject(
      "await runCommandLine(() => new Command('test').option('--yes', '').action(() => undefined));",
    );
    writeFileSync(
      join(root, 'package.json'),
      JSON.stringify({ type: 'module', scripts: { 'setup:bots': 'node script.ts' } }),
    );
    const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
    const variables = { npm_config_yes: '' };
    const taken = await run(npm, ['run', '--silent', 'setup:bots', '--yes'], root, variables);
    expect(taken.stderr).toContain(
      'Error: npm took --yes for itself. Write two dashes before it: npm run setup:bots -- --yes\n',
    );
    expect(taken.code).toBe(1);
    const passed = await run(
      npm,
      ['run', '--silent', 'setup:bots', '--', '--yes'],
      root,
      variables,
    );
    expect(passed.code).toBe(0);
  });
});

describe('medplum-bots', () => {
  test('lists its commands and says what exit codes mean', async () => {
    const { code, stdout } = await run(process.execPath, [ENTRY, '--help'], ROOT);
    expect(code).toBe(0);
    for (const command of ['build', 'dev', 'plan', 'rollback', 'secrets', 'new-bot', 'resync']) {
      expect(stdout).toMatch(new RegExp(`^ {2}${command}\\b`, 'm'));
    }
    expect(stdout).toContain(
      'Exit codes: 0 it worked, 1 it failed, 2 "plan" found something to change.',
    );
  });

  test('shows an example in the help of every command', async () => {
    const { stdout } = await medplumBots('--help');
    const commands = [...stdout.matchAll(/^ {2}([a-z-]+) .*/gm)]
      .map(([, name = '']) => name)
      .filter((name) => !name.startsWith('-'));
    expect(commands.length).toBeGreaterThan(10);
    for (const command of commands) {
      const { stdout: help } = await medplumBots(command, '--help');
      expect(help, command).toMatch(/^Example: (npm run|npx) /m);
    }
  });

  test('suggests the command that was meant', async () => {
    expect(await medplumBots('pln')).toEqual({
      code: 1,
      stdout: '',
      stderr: "Error: unknown command 'pln' (Did you mean plan?). See: npx medplum-bots --help\n",
    });
  });

  test('says in one line what is wrong with a command below another one', async () => {
    expect(await medplumBots('secrets', 'push', '--yess')).toEqual({
      code: 1,
      stdout: '',
      stderr:
        "Error: unknown option '--yess' (Did you mean --yes?). " +
        'See: npx medplum-bots secrets push --help\n',
    });
  });

  test('says in one line that the packages are missing', async () => {
    const root = mkdtempSync(join(tmpdir(), 'no-packages-'));
    onTestFinished(() => rmSync(root, { recursive: true }));
    for (const part of ['tools/bin', 'scripts', 'esbuild-script.mjs', 'package.json']) {
      cpSync(join(ROOT, part), join(root, part), { recursive: true });
    }
    for (const entry of ENTRIES) {
      const { code, stderr } = await run(process.execPath, [join(root, entry)], root);
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: 'Error: Run npm ci first: the packages are not installed.\n',
      });
    }
  });

  test.each(['20.20.2', '22.18.0', '24.1.0', '25.0.0'])(
    'says in one line that Node %s is not supported',
    async (version) => {
      const { root } = projectForTest({});
      const old = join(root, 'old.cjs');
      writeFileSync(
        old,
        `Object.defineProperty(process.versions, 'node', { value: '${version}' });`,
      );
      for (const entry of ENTRIES) {
        const line = ['--require', old, join(ROOT, entry)];
        const { code, stdout, stderr } = await run(process.execPath, line, root);
        expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
        const needed = version.startsWith('24.') ? 'Node 24.2 or newer' : 'Node 24';
        expect(stderr).toContain(`Error: ${needed} is needed (see .nvmrc); this is ${version}. `);
        expect(stderr).toMatch(/^[^\n]*\n$/);
      }
    },
  );
});

test('suggestions are near, or not made', () => {
  expect(suggest('Patiant', ['Task', 'Patient'])).toBe(' Did you mean "Patient"?');
  expect(suggest('patient', ['Patient'])).toBe(' Did you mean "Patient"?');
  expect(suggest('Pat', ['Bot', 'Group'])).toBe('');
  expect(suggest('x', [])).toBe('');
});

test('a table lines up, numbers to the right, and colours do not count', () => {
  const text = table(
    ['bot', 'bytes', 'why'],
    [['a', 1234, '\u001b[31mnew\u001b[39m'], ['longer', 5, ''], ['c']],
  );
  expect(text.split('\n')).toEqual([
    'bot     bytes  why',
    'a       1,234  \u001b[31mnew\u001b[39m',
    'longer      5',
    'c',
  ]);
});

describe('the environment', () => {
  const program = () =>
    new Command('test')
      .argument('[name]')
      .action((name?: string) => console.log(JSON.stringify(readEnvironment(name))));
  const FILE = `MEDPLUM_BASE_URL=https://example.com
MEDPLUM_PROJECT_ID=p
MEDPLUM_CLIENT_ID=c
MEDPLUM_CLIENT_SECRET="a secret"
`;
  const NONE = {
    MEDPLUM_BASE_URL: '',
    MEDPLUM_PROJECT_ID: '',
    MEDPLUM_CLIENT_ID: '',
    MEDPLUM_CLIENT_SECRET: '',
  };
  const read = async (args: string[], files: Record<string, string>, variables = {}) => {
    const { root, write } = projectForTest({});
    write(files);
    const options = { root, args, variables: { ...NONE, ...variables } };
    const { code, stdout, stderr } = await runProgram(program, options);
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
    expect(await read(['staging'], { '.env.staging': FILE })).toEqual({
      ...RIGHT,
      name: 'staging',
    });
  });

  test('real variables win over the file, unless they are empty', async () => {
    const variables = { MEDPLUM_CLIENT_ID: 'other', MEDPLUM_PROJECT_ID: '' };
    expect(await read([], { '.env.local': FILE }, variables)).toEqual({
      ...RIGHT,
      clientId: 'other',
    });
    const all = {
      MEDPLUM_BASE_URL: 'http://localhost:8103/',
      MEDPLUM_PROJECT_ID: 'q',
      MEDPLUM_CLIENT_ID: 'd',
      MEDPLUM_CLIENT_SECRET: 's',
    };
    expect(await read(['production'], {}, all)).toEqual({
      name: 'production',
      baseUrl: 'http://localhost:8103/',
      projectId: 'q',
      clientId: 'd',
      clientSecret: 's',
    });
  });

  test.each(Object.keys(NONE))('%s missing: says which, and in which file', async (variable) => {
    const text = FILE.replace(new RegExp(`^${variable}=.*$`, 'm'), '');
    expect(await read(['staging'], { '.env.staging': text })).toBe(
      `Error: Not set: ${variable}. Write into .env.staging (see .env.example), ` +
        'or set as variables.\n',
    );
  });

  test('several are missing: all are named', async () => {
    expect(await read(['staging'], {})).toBe(
      `Error: Not set: ${Object.keys(NONE).join(', ')}. ` +
        'Write into .env.staging (see .env.example), or set as variables.\n',
    );
  });

  test.each(['../x', 'Staging', 'a b', ''])('"%s" is not a name', async (name) => {
    expect(await read([name], {})).toBe(
      `Error: "${name}" is not a valid name for an environment: use lower-case letters, ` +
        'digits and dashes.\n',
    );
  });

  test('a text that is not an address is refused, and no secret is shown', async () => {
    const message = await read([], { '.env.local': FILE.replace('https://', 'ftp://') });
    expect(message).toBe(
      'Error: MEDPLUM_BASE_URL is not an address: write it like https://api.medplum.com/ (in ' +
        '.env.local).\n',
    );
  });
});
