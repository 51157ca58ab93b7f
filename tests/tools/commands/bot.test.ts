// `npm run bot`: one bot on one event, from the command line, with the rights and limits of the
// deployed bot.
import { MedplumClient } from '@medplum/core';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { localTarget, startLocal } from '../../tools/src/local-servers.ts';
import type { LocalServers } from '../../tools/src/local-servers.ts';
import { eventually } from '../medplum/support.ts';
import { makeProject } from '../project.ts';
import type { Project } from '../project.ts';
import { runCommandWith } from '../run-command.ts';
import type { CommandOutput } from '../run-command.ts';

const NO_SERVER = 'http://127.0.0.1:9/';
const CREATED = 'tests/events/created.json';
const EVENT = {
  input: { resourceType: 'Patient', id: 'b5a1c2d3-1111-4222-8333-444455556666' },
  contentType: 'application/fhir+json',
  headers: { 'X-Medplum-Interaction': 'create' },
};

const source = (
  body: string,
): string => `import type { BotEvent, MedplumClient } from '@medplum/core';

export async function handler(medplum: MedplumClient, event: BotEvent): Promise<unknown> {
  ${body}
}
`;
const BOTS = {
  echo: `console.log('hello', event.input.id);
  return { secrets: Object.keys(event.secrets).sort(), bot: event.bot.display, input: event.input };`,
  caller: `await fetch(event.secrets['TARGET']!.valueString + '/Patient/secret-id?identifier=secret-value');
  await medplum.readResource('Patient', 'b5a1c2d3-1111-4222-8333-444455556666').catch(() => undefined);
  return true;`,
  flagger: `await medplum.searchResources('Observation');
  await medplum.createResource({ resourceType: 'Task', status: 'requested', intent: 'order' });`,
  thrower: `throw new Error('boom');`,
  forgetful: `const { code } = event.input as { code?: { text: string } };
  return { text: code!.text };`,
  looper: `await null;
  for (;;);`,
  waiter: `await fetch(event.secrets['TARGET']!.valueString + '/slow');`,
  sleeper: `await new Promise(() => undefined);`,
  timer: `const wait: string = 'setTimeout';
  return (0, eval)(wait)(() => undefined, 1);`,
  reader: `console.log(String(event.input));
  return true;`,
  watched: 'return true;',
  broken: `return 'unfinished;`,
};

let project: Project;
let servers: LocalServers;

beforeAll(async () => {
  servers = await startLocal({
    isPrivate: true,
    secrets: { API_KEY: 'x', TARGET: 'http://127.0.0.1:4' },
  });
  const files = Object.entries(BOTS).map(([name, body]) => [`src/bots/${name}.ts`, source(body)]);
  const sources = Object.fromEntries(files) as Record<string, string>;
  project = makeProject(sources, { hasOwnPackages: true });
  const bots = Object.keys(BOTS).map((name) => ({
    name,
    source: `src/bots/${name}.ts`,
    dist: `dist/bots/${name}.js`,
    runtimeVersion: ['waiter', 'sleeper'].includes(name) ? 'awslambda' : 'vmcontext',
    timeout: 1,
    accessPolicy: [{ resourceType: 'Observation' }, { resourceType: 'Patient', readonly: true }],
    secrets: ['API_KEY', { name: 'TARGET', optional: true }],
  }));
  project.write({
    'medplum.config.json': JSON.stringify({ identifierSystem: 'urn:x', bots }),
    [CREATED]: JSON.stringify(EVENT),
    'tests/events/message.hl7': 'MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\nPID|1||123\n',
    'tests/events/answer.form': 'a=1&b=two',
    'tests/events/list.csv': 'a,b\n1,2\n',
    'tests/events/patient.json': JSON.stringify(EVENT.input),
    'broken.json': '{',
    'other.json': '{}',
  });
});
afterAll(async () => {
  await servers.stop();
  project.remove();
});

/** Variables that name the local Medplum of this test. */
function medplumVariables(): Record<string, string> {
  const target = localTarget(servers);
  return {
    MEDPLUM_BASE_URL: target.baseUrl,
    MEDPLUM_PROJECT_ID: target.projectId,
    MEDPLUM_CLIENT_ID: target.clientId,
    MEDPLUM_CLIENT_SECRET: target.clientSecret,
  };
}

/** With the local Medplum of this test, unless the variables say something else. */
function bot(args: string[], variables: Record<string, string> = {}): Promise<CommandOutput> {
  const all = { ...medplumVariables(), ...variables };
  return runCommandWith(all, project.root, 'tools/bin/medplum-bots.cjs bot', ...args);
}

/** Starts one that goes on until it is stopped. */
function startBot(
  args: string[],
  variables: Record<string, string> = {},
): { child: ChildProcess; next(pattern: RegExp): Promise<string> } {
  const child = spawn(process.execPath, ['tools/bin/medplum-bots.cjs', 'bot', ...args], {
    cwd: project.root,
    env: { ...process.env, NO_COLOR: '1', ...medplumVariables(), ...variables },
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => (printed += data));
  }
  const next = async (pattern: RegExp): Promise<string> => {
    await eventually(
      async () => printed,
      (text) => pattern.test(text),
    );
    expect(printed).toMatch(pattern);
    const found = printed;
    printed = '';
    return found;
  };
  return { child, next };
}

const WITHOUT_SERVER = {
  MEDPLUM_BASE_URL: '',
  MEDPLUM_PROJECT_ID: '',
  MEDPLUM_CLIENT_ID: '',
  MEDPLUM_CLIENT_SECRET: '',
};

describe('npm run bot, with an empty Medplum of its own', () => {
  it('builds the bot, and prints result, log and time', async () => {
    rmSync(`${project.root}/dist`, { recursive: true, force: true });
    const { code, stdout } = await bot(['echo', '--event', CREATED], {
      ...WITHOUT_SERVER,
      API_KEY: 'x',
    });
    expect(code).toBe(0);
    expect(stdout).toContain('No local Medplum is running');
    expect(stdout).toContain('log\nhello b5a1c2d3-1111-4222-8333-444455556666');
    expect(stdout).toMatch(/"secrets": \[\n {4}"API_KEY"/);
    expect(stdout).toMatch(/time {2}\d+ ms/);
    expect(existsSync(`${project.root}/dist/bots/echo.js`)).toBe(true);
  });

  it('has the rights of the bot, and says which one it lacks', async () => {
    const { code, stdout } = await bot(['flagger', '--event', CREATED], {
      ...WITHOUT_SERVER,
      API_KEY: 'x',
    });
    expect(code).toBe(1);
    expect(stdout).toMatch(/GET +http:\/\/localhost:\d+\/fhir\/R4\/Observation +200/);
    expect(stdout).toContain(`failed  POST Task: forbidden
        at src/bots/flagger.ts:5:17
          5 | await medplum.createResource({ resourceType: 'Task', status: 'requested', intent: 'order' });
        To fix it: accessPolicy of flagger: add Task`);
  });

  it('says which secret is missing, and where to write it', async () => {
    const { code, stderr } = await bot(['echo', '--event', CREATED], WITHOUT_SERVER);
    expect(code).toBe(1);
    expect(stderr).toContain('API_KEY');
    expect(stderr).toContain('.env.local.secrets');
  });
});

describe('npm run bot, with a Medplum', () => {
  it("prints requests without patient data, and has the project's secrets", async () => {
    const { stdout } = await bot(['caller', '--event', CREATED], {
      TARGET: `${servers.medplum.baseUrl}elsewhere`,
    });
    expect(stdout).toMatch(
      new RegExp(`GET +${servers.medplum.baseUrl}elsewhere/Patient +404 +\\d+`),
    );
    expect(stdout).toMatch(new RegExp(`GET +${servers.medplum.baseUrl}fhir/R4/Patient +404 +\\d+`));
    expect(stdout).not.toContain('secret-');
    expect(stdout).toContain('This run has the rights of MEDPLUM_CLIENT_ID');
  });

  it.each([
    [
      'thrower',
      ['failed  Error: boom', 'at src/bots/thrower.ts:4:9', "4 | throw new Error('boom');"],
    ],
    [
      'forgetful',
      [
        "failed  TypeError: Cannot read properties of undefined (reading 'text')",
        'at src/bots/forgetful.ts:5:24',
        'To fix it: this event has no value there',
      ],
    ],
    ['looper', ['did not stop to wait for anything', 'To fix it: end the loop']],
    ['sleeper', ['timed out after 1 s while it waited', 'To fix it: raise "timeout" of sleeper']],
    [
      'timer',
      [
        'failed  ReferenceError: setTimeout is not defined',
        "To fix it: vmcontext has no setTimeout: import { setTimeout } from 'node:timers/promises'",
      ],
    ],
    [
      'waiter',
      [
        'GET http://127.0.0.1:4: no answer (ECONNREFUSED)',
        'To fix it: see that the server at http://127.0.0.1:4 runs',
      ],
    ],
  ])('%s: says what failed, where, and what to change', async (name, texts) => {
    const { code, stdout } = await bot([name, '--event', CREATED]);
    expect(code).toBe(1);
    for (const text of texts) {
      expect(stdout).toContain(text);
    }
  });

  it.each([
    [
      'reader',
      'tests/events/message.hl7',
      'MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\rPID|1||123',
    ],
    ['echo', 'tests/events/answer.form', '"b": "two"'],
    ['echo', 'tests/events/patient.json', '"resourceType": "Patient"'],
    ['echo', 'tests/events/list.csv', 'Medplum gives bots {} for text/csv'],
  ])('gives %s the input of %s', async (name, file, expected) => {
    const { code, stdout, stderr } = await bot([name, '--event', file]);
    expect(stdout + stderr).toContain(expected);
    expect(code).toBe(0);
  });

  it('shows the error of a bot that cannot be built, with its line', async () => {
    const { code, stderr } = await bot(['broken', '--event', CREATED]);
    expect(code).toBe(1);
    expect(stderr).toContain('src/bots/broken.ts:4:');
    expect(stderr).toContain("4 |   return 'unfinished;");
  });

  it.each([
    [[], 'Which bot? npm run bot -- <name>'],
    [['ecko', '--event', CREATED], 'Did you mean "echo"?'],
    [['echo'], 'Which event? Add --event'],
    [['echo', '--event', 'nope.json'], 'nope.json does not exist'],
    [['echo', '--event', 'broken.json'], 'broken.json is not valid JSON'],
    [['echo', '--event', 'other.json'], 'needs an "input"'],
    [['echo', '--event', CREATED, '--input', CREATED], 'Give one of'],
    [['echo', '--evnt', CREATED], "unknown option '--evnt' (Did you mean --event?)"],
  ])('%j is one line that says what to do', async (args, text) => {
    const { code, stdout, stderr } = await bot(args);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain(text);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  it('--from: gives the bot the event of an earlier run', async () => {
    const { medplum } = servers;
    const client = new MedplumClient({ baseUrl: medplum.baseUrl, fetch });
    const { clientId, clientSecret, projectId } = localTarget(servers);
    await client.startClientLogin(clientId, clientSecret);
    const deployed = (await client.post(`admin/projects/${projectId}/bot`, {
      name: 'any',
      runtimeVersion: 'vmcontext',
    })) as { id: string };
    await client.post(client.fhirUrl('Bot', deployed.id, '$deploy'), {
      code: 'exports.handler = async () => true;',
      filename: 'index.js',
    });
    await client.executeBot(deployed.id, { resourceType: 'Basic', language: 'of-that-run' });
    const [earlier] = medplum.runs.list();
    const { code, stdout } = await bot(['echo', '--from', earlier!.id]);
    expect(code).toBe(0);
    expect(stdout).toContain('"language": "of-that-run"');
    const unknown = await bot(['echo', '--from', 'unknown']);
    expect(unknown.stderr).toContain('The local Medplum has no run unknown.');
  });

  it('--watch: runs again when a source or the event is saved, until it is stopped', async () => {
    const event = 'tests/events/watched.json';
    project.write({
      [event]: JSON.stringify({ ...EVENT, input: { value: 1 } }),
      'src/bots/watched.ts': source('return { first: event.input.value };'),
    });
    const { child, next } = startBot(['watched', '--event', event, '--watch']);
    await next(/"first": 1[^]*Watching/);
    project.write({ 'src/bots/watched.ts': source('return { second: event.input.value };') });
    await next(/"second": 1/);
    project.write({ [event]: JSON.stringify({ ...EVENT, input: { value: 2 } }) });
    await next(/"second": 2/);
    child.kill('SIGTERM');
  });

  it('--inspect-brk: waits for a debugger, and stops in it before the bot runs', async () => {
    const { child, next } = startBot(['echo', '--event', CREATED, '--inspect-brk'], {
      NODE_OPTIONS: '--inspect-port=0',
    });
    const [, address = ''] = /(ws:\S+)/.exec(await next(/Debugger listening on ws:\S+/))!;
    const debuggerClient = new WebSocket(address);
    await new Promise((resolve) => debuggerClient.addEventListener('open', resolve));
    const scripts: string[] = [];
    const send = (method: string): void =>
      debuggerClient.send(JSON.stringify({ id: 1, method, params: {} }));
    debuggerClient.addEventListener('message', ({ data }) => {
      const { method, params } = JSON.parse(String(data));
      if (method === 'Debugger.paused') {
        send('Debugger.resume');
      } else if (method === 'Debugger.scriptParsed') {
        scripts.push(params.url);
      }
    });
    send('Debugger.enable');
    send('Runtime.runIfWaitingForDebugger');
    await next(/"bot": "echo"/);
    const isBundle = (url: string): boolean => url.endsWith('dist/bots/echo.js');
    await eventually(
      async () => scripts,
      (urls) => urls.some(isBundle),
    );
    expect(scripts.some(isBundle)).toBe(true);
    debuggerClient.close();
    expect(await new Promise((resolve) => child.on('exit', resolve))).toBe(0);
  });

  it('says that no Medplum answers at the given address', async () => {
    const { code, stderr } = await bot(['echo', '--event', CREATED], {
      MEDPLUM_BASE_URL: NO_SERVER,
    });
    expect(code).toBe(1);
    expect(stderr).toContain(`No Medplum answers at ${NO_SERVER}`);
  });
});
