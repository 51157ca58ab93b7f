// Looking at runs, and running again: logs, rerun, and what doctor says about failures.
import type { Bot, Patient } from '@medplum/fhirtypes';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseTime } from '../../tools/src/deploy/runs.ts';
import {
  DOCTOR,
  LOGS,
  RERUN,
  all,
  command,
  run,
  startProxiedMedplum,
  writeRepository,
} from './harness.ts';
import type { CommandResult, ProxiedMedplum } from './harness.ts';
import { runCommand } from '../run-command.ts';

/** Fails for a patient without a name; else it stores what it was given. */
const CODE = `exports.handler = async (medplum, event) => {
  const deleted = event.input.deletedResource;
  if (!deleted && !event.input.name) { throw new Error('no name, Zebra'); }
  await medplum.createResource({ resourceType: 'Basic', code: { text: deleted ? 'deleted' : event.input.id } });
};
`;

let medplum: ProxiedMedplum;
let root: string;
beforeEach(async () => {
  medplum = await startProxiedMedplum();
  root = writeRepository([
    { name: 'name-bot', code: CODE, subscriptions: [{ criteria: 'Patient' }] },
  ]);
  expect((await run(medplum, root)).failed).toEqual([]);
});
afterEach(() => medplum.stop());

const call = (script: string, ...args: string[]): Promise<CommandResult> =>
  runCommand(root, script, ...args);
const nextRun = (): Promise<unknown> =>
  new Promise((resolve) => medplum.server.events.once('run', resolve));

async function createPatient(members: Partial<Patient>): Promise<string> {
  const ran = nextRun();
  const { id } = await medplum.server.repository.createResource<Patient>({
    resourceType: 'Patient',
    ...members,
  });
  await ran;
  return id!;
}

async function giveName(id: string): Promise<void> {
  const ran = nextRun();
  await medplum.server.repository.patchResource('Patient', id, [
    { op: 'add', path: '/name', value: [{ family: 'x' }] },
  ]);
  await ran;
}

const NAMED: Partial<Patient> = { name: [{ family: 'x' }] };

describe('npm run logs', () => {
  it('shows the newest runs, those since a time, or those with a text', async () => {
    const failed = await createPatient({});
    const good = await createPatient(NAMED);
    const lines = async (
      ...args: string[]
    ): Promise<{ resource: string; hasFailed: boolean }[]> => {
      const { stdout } = await call(LOGS, '--json', ...args);
      return stdout.split('\n').flatMap((line) => (line ? JSON.parse(line) : []));
    };
    expect((await lines()).map(({ resource }) => resource)).toEqual([
      `Patient/${failed}`,
      `Patient/${good}`,
    ]);
    expect(await lines('--failed')).toMatchObject([
      { resource: `Patient/${failed}`, hasFailed: true, bot: 'name-bot' },
    ]);
    expect(await lines('--limit', '1')).toMatchObject([{ resource: `Patient/${good}` }]);
    expect(await lines('--search', 'zebra')).toHaveLength(1);
    expect(await lines('--search', good)).toHaveLength(1);
    expect(await lines('--since', '1h')).toHaveLength(2);
    expect(await lines('--until', '1h')).toEqual([]);
    expect((await call(LOGS, '--since', 'soon')).stderr).toContain('--since soon: give a time');
    expect((await call(LOGS, '--limit', '0')).stderr).toContain('--limit 0: give a number');
  });

  it('continues with new runs, each once', async () => {
    await createPatient(NAMED);
    const { pid, done } = command(root, LOGS, '--follow', '--json');
    const asked = (): number =>
      medplum.requests.filter(({ path }) => path.startsWith('AuditEvent')).length;
    await waitUntil(() => asked() > 0);
    const second = await createPatient(NAMED);
    const before = asked();
    await waitUntil(() => asked() > before + 1);
    process.kill(pid);
    const { stdout } = await done;
    const resources = stdout.split('\n').flatMap((line) => (line ? JSON.parse(line).resource : []));
    expect(resources.filter((resource) => resource === `Patient/${second}`)).toHaveLength(1);
    expect(resources).toHaveLength(2);
  });

  it('says why a run failed, and what to change', async () => {
    const code = `exports.handler = async (medplum) => {
      await medplum.createResource({ resourceType: 'Task', status: 'requested', intent: 'order' });
    };\n`;
    const bot = { name: 'task-bot', code, runtimeVersion: 'vmcontext' };
    const subscriptions = [{ criteria: 'Encounter' }];
    const accessPolicy = [{ resourceType: 'Encounter' }];
    await run(medplum, writeRepository([{ ...bot, subscriptions, accessPolicy }], root));
    const ran = nextRun();
    await medplum.server.repository.createResource({
      resourceType: 'Encounter',
      status: 'planned',
      class: { code: 'AMB' },
    });
    await ran;
    const { stdout } = await call(LOGS, 'task-bot', '--failed');
    expect(stdout).toMatch(
      /^ {2}OperationOutcomeError: Forbidden\n {2}To fix it: the accessPolicy of task-bot does not allow one of its requests; /m,
    );
    const json = await call(LOGS, 'task-bot', '--json');
    expect(JSON.parse(json.stdout).failure.summary).toBe('OperationOutcomeError: Forbidden');
  });

  it('asks for 390 bots in addresses that servers accept', async () => {
    const names = Array.from({ length: 390 }, (_, index) => `bot-${index}`);
    for (const name of names) {
      await medplum.server.repository.createResource<Bot>({
        resourceType: 'Bot',
        name,
        identifier: [{ system: 'urn:medplum-bots:test', value: `local/${name}` }],
      });
    }
    medplum.requests.length = 0;
    expect(await call(LOGS)).toMatchObject({ code: 0, stdout: 'No runs yet.\n' });
    const paths = medplum.requests
      .map(({ path }) => path)
      .filter((path) => path.startsWith('Audit'));
    expect(paths.length).toBeGreaterThan(1);
    expect(Math.max(...paths.map((path) => path.length))).toBeLessThan(4000);
  });
});

async function waitUntil(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe('npm run rerun', () => {
  const stored = async (): Promise<(string | undefined)[]> =>
    (await all(medplum, 'Basic')).map(
      (basic) => (basic as { code?: { text?: string } }).code?.text,
    );

  it('runs only what failed last, after it showed what that is', async () => {
    await createPatient(NAMED);
    const repaired = await createPatient({});
    await giveName(repaired);
    const failed = await createPatient({});
    const shown = await call(RERUN, 'name-bot', '--failed', '--dry-run');
    expect(shown).toMatchObject({ code: 0 });
    expect(shown.stdout).toBe(
      `name-bot would run for 1 resource, as it is now:\n  Patient/${failed}\n`,
    );
    const again = await call(RERUN, 'name-bot', '--failed');
    expect(again).toMatchObject({ code: 1 });
    expect(again.stderr).toContain('1 of 1 failed again. See: npm run logs -- name-bot --failed');
    await giveName(failed);
    expect((await call(RERUN, 'name-bot', '--failed')).stdout).toBe('Nothing to run again.\n');
  });

  it('runs for what a search finds, and for a resource that is deleted', async () => {
    const first = await createPatient(NAMED);
    const second = await createPatient(NAMED);
    const before = (await stored()).length;
    expect(await call(RERUN, 'name-bot', '--query', 'Patient')).toMatchObject({ code: 0 });
    expect((await stored()).slice(before).toSorted()).toEqual([first, second].toSorted());

    const deleted = nextRun();
    await medplum.server.repository.deleteResource('Patient', first);
    await deleted;
    const texts = (await stored()).filter((text) => text === 'deleted').length;
    const { stdout } = await call(RERUN, 'name-bot', '--since', '1h');
    expect(stdout).toContain(`✓ Patient/${first}`);
    expect((await stored()).filter((text) => text === 'deleted')).toHaveLength(texts + 1);
  });

  it('refuses none and several choices', async () => {
    for (const args of [[], ['--failed', '--query', 'Patient'], ['--query', 'nonsense here']]) {
      expect(await call(RERUN, 'name-bot', ...args)).toMatchObject({
        code: 1,
        stdout: '',
        stderr: expect.stringMatching(/Choose what to run again|give a search such as/),
      });
    }
  });
});

describe('npm run doctor', () => {
  it('forgets failures that a later run for the same resource repaired', async () => {
    const id = await createPatient({});
    await createPatient(NAMED);
    const failed = await call(DOCTOR);
    expect(failed.code).toBe(1);
    expect(failed.stdout).toMatch(/^x name-bot failed once in 24 hours, last at /m);
    await giveName(id);
    const repaired = await call(DOCTOR);
    expect(repaired.code).toBe(0);
    expect(repaired.stdout).toContain('✓ name-bot failed once in 24 hours, and each of its events');
  });

  it('prints JSON, bots without a policy, and environments that share a project', async () => {
    await run(medplum, root, { environment: 'staging' });
    const { code, stdout } = await call(DOCTOR, '--json');
    expect(code).toBe(0);
    const findings = JSON.parse(stdout) as { level: string; check: string; text: string }[];
    const warnings = findings.filter(({ level }) => level === 'warning');
    expect(warnings.map(({ check }) => check).toSorted()).toEqual(['environments', 'policies']);
    expect(warnings.map(({ text }) => text).join('\n')).toContain(
      'staging and local are in the same project',
    );
  });

  it('names an environment in the configuration that may be mistyped', async () => {
    const environments = { lokal: { timeout: 20 }, production: { timeout: 30 } };
    const other = writeRepository([{ name: 'task-bot', environments }]);
    const { stdout } = await command(other, DOCTOR).done;
    expect(stdout).toContain(
      '! medplum.config.json has values of task-bot for the environment lokal, ' +
        'and there is no .env.lokal. Did you mean "local"?',
    );
    expect(stdout).not.toContain('production');
  });

  it('names a subscription that names its bot by an identifier, which never runs it', async () => {
    await medplum.server.repository.createResource({
      resourceType: 'Subscription',
      status: 'active',
      reason: 'x',
      criteria: 'Task',
      channel: {
        type: 'rest-hook',
        endpoint: 'Bot?identifier=urn:medplum-bots:test|local/name-bot',
      },
    });
    const { code, stdout } = await call(DOCTOR);
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^x Subscription\/\S+ never runs Bot\?identifier=\S+, as Medplum wants an id/m,
    );
  });

  it('names a clock that differs from the one of the server', async () => {
    const date = new Date(Date.now() - 3_600_000).toUTCString();
    medplum.rule = ({ path }) =>
      path === 'healthcheck' ? { status: 200, headers: { Date: date } } : undefined;
    const { code, stdout } = await call(DOCTOR);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^! the clock of this machine is 3[67]\d\d seconds ahead of the server's: times such as logs --since 1h are wrong/m,
    );
  });

  it('tells of a newer version of the template', async () => {
    const template = join(root, 'template');
    mkdirSync(template);
    const git = (...args: string[]): unknown =>
      execFileSync(
        'git',
        ['-c', 'user.name=Tester', '-c', 'user.email=tester@example.invalid', ...args],
        { cwd: template },
      );
    git('init', '--quiet');
    git('commit', '--quiet', '--allow-empty', '--message', 'A version');
    git('tag', 'v2.1.0');
    mkdirSync(join(root, 'tools'));
    const notice =
      /^! version 2\.1\.0 of the template is available, this repository has 2\.0\.0: npx/m;
    const write = (version: string): void =>
      writeFileSync(
        join(root, 'tools/template.json'),
        JSON.stringify({ address: template, version, checkout: `v${version}`, files: {} }),
      );
    write('2.0.0');
    expect((await call(DOCTOR)).stdout).toMatch(notice);
    write('2.1.0');
    expect((await call(DOCTOR)).stdout).not.toContain('of the template is available');
  });

  it('continues without the right to read runs', async () => {
    medplum.rule = ({ path }) => (path.startsWith('AuditEvent') ? { status: 403 } : undefined);
    const { code, stdout } = await call(DOCTOR);
    expect(code).toBe(0);
    expect(stdout).toContain('! these credentials may not read AuditEvents: runs were not checked');
  });
});

describe('a time', () => {
  const now = Date.parse('2026-11-30T12:00:00Z');
  it.each([
    ['90s', '2026-11-30T11:58:30.000Z'],
    ['10m', '2026-11-30T11:50:00.000Z'],
    ['2h', '2026-11-30T10:00:00.000Z'],
    ['3d', '2026-11-27T12:00:00.000Z'],
    ['2026-11-01', '2026-11-01T00:00:00.000Z'],
    ['2026-11-01T08:00:00+01:00', '2026-11-01T07:00:00.000Z'],
  ])('%s', (text, time) => {
    expect(parseTime(text, '--since', now)).toBe(time);
  });

  it.each(['', '3 days', 'yesterday', '12', '2026-13-40'])('"%s" is refused', (text) => {
    expect(() => parseTime(text, '--since', now)).toThrow(`--since ${text}: give a time`);
  });
});
