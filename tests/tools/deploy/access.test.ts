// `medplum-bots access`: what the two clients are given, and what the server then lets them do.
import type { AccessPolicy, Bot } from '@medplum/fhirtypes';
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readEnvironment } from '../../tools/src/config/environment.ts';
import { prepare } from '../../tools/src/deploy/deploy.ts';
import { connect } from '../../tools/src/deploy/server.ts';
import type { Server } from '../../tools/src/deploy/server.ts';
import {
  all,
  DOCTOR,
  LOGS,
  PLAN,
  PROJECT,
  run,
  SECRETS,
  signIn,
  startProxiedMedplum,
  writeRepository,
} from './harness.ts';
import type { CommandResult, TestBot, ProxiedMedplum } from './harness.ts';
import { runCommand } from '../run-command.ts';

const ACCESS = 'tools/bin/medplum-bots.cjs access';
const BOT: TestBot = { name: 'sync-bot', subscriptions: [{ criteria: 'Patient' }] };
const CHANGED: TestBot = {
  ...BOT,
  code: 'exports.handler = async () => 2;\n',
  subscriptions: [{ criteria: 'Task' }],
};

let medplum: ProxiedMedplum;
let root: string;
beforeEach(async () => {
  medplum = await startProxiedMedplum();
  root = writeRepository([BOT]);
  expect((await run(medplum, root)).failed).toEqual([]);
});
afterEach(() => medplum.stop());

const access = (...args: string[]): Promise<CommandResult> => runCommand(root, ACCESS, ...args);

/** Creates the client, and uses it from here on. */
async function signInAs(role: string): Promise<Server> {
  expect(await access(role, '--create')).toMatchObject({ code: 0, stderr: '' });
  const file = join(root, `local-${role}.env`);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const variables = parseEnv(readFileSync(file, 'utf8'));
  expect(variables).toMatchObject({
    MEDPLUM_BASE_URL: medplum.baseUrl,
    MEDPLUM_PROJECT_ID: PROJECT,
  });
  const id = variables['MEDPLUM_CLIENT_ID']!;
  signIn(medplum, { id, secret: variables['MEDPLUM_CLIENT_SECRET']! });
  return connect(readEnvironment());
}

const refused = expect.objectContaining({ status: 403 });

it('prints the policy, and creates nothing, unless it is told to', async () => {
  for (const role of ['reader', 'deployer']) {
    const { code, stdout } = await access(role);
    expect(code).toBe(0);
    const [json = '', advice] = stdout.split('\n\n');
    expect(JSON.parse(json)).toMatchObject({
      resourceType: 'AccessPolicy',
      name: `Deployment (${role}) of urn:medplum-bots:test`,
      resource: expect.arrayContaining([{ resourceType: 'AuditEvent', readonly: true }]),
    });
    expect(advice).toContain(`npx medplum-bots access ${role} --create`);
  }
  expect(await all(medplum, 'ClientApplication')).toHaveLength(2);
  expect(await all<AccessPolicy>(medplum, 'AccessPolicy')).toEqual([]);
});

it('keeps the credentials of a client that it created before', async () => {
  expect(await access('reader', '--create')).toMatchObject({ code: 0 });
  const file = join(root, 'local-reader.env');
  const before = readFileSync(file, 'utf8');
  expect(await access('reader', '--create')).toMatchObject({
    code: 1,
    stderr: 'Error: local-reader.env exists already: use that client, or remove the file.\n',
  });
  expect(readFileSync(file, 'utf8')).toBe(before);
});

it('gives later and existing clients the rights that new files and cron jobs need', async () => {
  expect(await access('reader', '--create')).toMatchObject({ code: 0, stderr: '' });
  const [before] = await all<AccessPolicy>(medplum, 'AccessPolicy');
  rmSync(join(root, 'local-reader.env'));
  const cronJobs = [{ name: 'night', cron: '0 3 * * *' }];
  writeRepository([{ ...BOT, cronJobs }], root);
  mkdirSync(join(root, 'resources'));
  const form = { resourceType: 'Questionnaire', status: 'active', url: 'urn:test:q' };
  writeFileSync(join(root, 'resources/q.json'), JSON.stringify(form));
  const { code, stdout } = await access('reader', '--create');
  expect(code).toBe(0);
  expect(stdout).toContain(`AccessPolicy/${before!.id} has other rules now, for all its clients.`);
  const [after, ...others] = await all<AccessPolicy>(medplum, 'AccessPolicy');
  expect(others).toEqual([]);
  expect(after!.resource).toEqual([
    ...before!.resource!,
    { resourceType: 'Cron', readonly: true },
    { resourceType: 'Questionnaire', readonly: true },
  ]);
  rmSync(join(root, 'local-reader.env'));
  expect((await access('reader', '--create')).stdout).not.toContain('has other rules now');
});

describe('the reader', () => {
  it('plans and reads logs, and cannot write', async () => {
    const server = await signInAs('reader');
    const unchanged = await prepare({ root });
    expect(unchanged.plan.changes.map(({ action }) => action)).toEqual(['unchanged']);
    expect(unchanged.plan.warnings).toContainEqual({ type: 'no-admin' });
    expect(await runCommand(root, LOGS)).toMatchObject({ code: 0, stdout: 'No runs yet.\n' });

    writeRepository([BOT, { name: 'new-bot', runAsUser: true }], root);
    const plan = await runCommand(root, PLAN);
    expect(plan).toMatchObject({ code: 2, stderr: '' });
    expect(plan.stdout).toContain('+ new-bot   new\n');
    expect(plan.stdout).toContain(
      'Warning: Only a project admin can create new-bot: a new bot needs a membership to run.\n',
    );

    const { failed } = await run(medplum, writeRepository([CHANGED], root));
    expect(failed).toEqual([
      { name: 'sync-bot', message: 'POST Binary was answered with 403: Forbidden' },
    ]);
    const [bot] = await all<Bot>(medplum, 'Bot');
    for (const path of ['Patient', `Project/${PROJECT}`]) {
      await expect(server.send('GET', path), path).rejects.toEqual(refused);
    }
    await expect(server.send('DELETE', `Bot/${bot!.id}`)).rejects.toEqual(refused);
    await expect(server.send('POST', `Bot/${bot!.id}/$deploy`, {})).rejects.toEqual(refused);
  });
});

describe('doctor with a client that lacks rights', () => {
  const NEEDS_POLICY = /^! Without an access policy, sync-bot/m;
  const IS_RIGHT = /^✓ sync-bot is as it should be$/m;
  const NO_FAILURE = /^✓ no run failed in the last 24 hours$/m;

  it.each<[string[], RegExp, RegExp[]]>([
    [['Bot'], /^x These credentials .* allow Bot in their access policy/m, [NEEDS_POLICY]],
    [['Bot', 'Subscription'], /^x .* allow Bot and Subscription in their/m, [NEEDS_POLICY]],
    [['AccessPolicy'], /^! these credentials may not read access/m, [IS_RIGHT, NO_FAILURE]],
    [['AuditEvent'], /^! these credentials may not read AuditEvents/m, [IS_RIGHT]],
    [['Questionnaire'], /^x GET Questionnaire was answered with 403/m, [IS_RIGHT, NO_FAILURE]],
  ])('to read %s says so, and goes on', async (types, message, others) => {
    mkdirSync(join(root, 'resources'));
    const form = { resourceType: 'Questionnaire', status: 'active', url: 'urn:test:q' };
    writeFileSync(join(root, 'resources/q.json'), JSON.stringify(form));
    expect((await run(medplum, root)).failed).toEqual([]);
    await signInAs('reader');
    const [policy] = await all<AccessPolicy>(medplum, 'AccessPolicy');
    const resource = policy!.resource!.filter((rule) => !types.includes(rule.resourceType));
    await medplum.server.repository.updateResource<AccessPolicy>({ ...policy!, resource });
    const { code, stdout, stderr } = await runCommand(root, DOCTOR);
    expect(stderr).toBe('');
    expect(code).toBe(/^x /m.test(stdout) ? 1 : 0);
    expect(stdout).toMatch(message);
    for (const other of others) {
      expect(stdout).toMatch(other);
    }
  });
});

describe('the deployer', () => {
  it('deploys what exists, and can neither create bots nor see secrets', async () => {
    const server = await signInAs('deployer');
    const changed = await run(medplum, writeRepository([CHANGED], root));
    expect(changed.failed).toEqual([]);
    expect(changed.changed).toEqual(['sync-bot']);
    expect((await run(medplum, root)).writes).toEqual([]);

    const withNewBot = await run(medplum, writeRepository([CHANGED, { name: 'new-bot' }], root));
    expect(withNewBot.failed.map(({ name }) => name)).toEqual(['new-bot']);
    expect(withNewBot.failed[0]!.message).toContain('only an admin can give a bot the membership');

    const list = await runCommand(root, SECRETS, 'list');
    expect(list.code).toBe(1);
    expect(list.stderr).toContain('Only a project admin reads and writes secrets');
    const [bot] = await all<Bot>(medplum, 'Bot');
    await expect(server.send('GET', 'Patient')).rejects.toEqual(refused);
    await expect(server.send('DELETE', `Bot/${bot!.id}`)).rejects.toEqual(refused);
    const policy = { resourceType: 'AccessPolicy', name: 'x' };
    await expect(server.send('POST', 'AccessPolicy', policy)).rejects.toEqual(refused);
  });
});
