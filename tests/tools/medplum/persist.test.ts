// `--persist`: what a local Medplum stored is there when it starts again, whole, however it ended.
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startTestServer } from './support.ts';
import type { TestServer } from './support.ts';
import { LOCAL } from '../../tools/src/medplum/local-project.ts';
import type { MedplumServerOptions } from '../../tools/src/medplum/server.ts';

let folder: string;
let started: TestServer[];

beforeEach(() => {
  folder = join(fs.mkdtempSync(join(tmpdir(), 'persist-')), 'data');
  started = [];
});
afterEach(async () => {
  await Promise.all(started.map(({ server }) => server.stop()));
  fs.rmSync(join(folder, '..'), { recursive: true });
});

async function start(options: MedplumServerOptions = {}): Promise<TestServer> {
  const medplum = await startTestServer({ persist: folder, ...options });
  started.push(medplum);
  return medplum;
}

async function stop(medplum: TestServer): Promise<void> {
  started.splice(started.indexOf(medplum), 1);
  await medplum.server.stop();
}

const filesOf = (type: string, id: string): string[] =>
  fs.readdirSync(join(folder, type, id)).map((name) => join(folder, type, id, name));

test('resources, their versions, deletions and contents survive a restart', async () => {
  const first = await start();
  const { body: patient } = await first.call('POST', 'fhir/R4/Patient', {
    resourceType: 'Patient',
    identifier: [{ system: 'urn:mrn', value: '1' }],
  });
  await first.call('PUT', `fhir/R4/Patient/${patient.id}`, { ...patient, active: true });
  const { body: deleted } = await first.call('POST', 'fhir/R4/Patient', {
    resourceType: 'Patient',
  });
  await first.call('DELETE', `fhir/R4/Patient/${deleted.id}`);
  const { body: history } = await first.call('GET', `fhir/R4/Patient/${patient.id}/_history`);
  expect(first.server.isRestored).toBe(false);
  await stop(first);

  const second = await start();
  expect(second.server.isRestored).toBe(true);
  const restored = await second.call('GET', `fhir/R4/Patient/${patient.id}/_history`);
  const resources = (bundle: { entry: { resource: unknown }[] }): unknown[] =>
    bundle.entry.map(({ resource }) => resource);
  expect(resources(restored.body)).toEqual(resources(history));
  expect(resources(restored.body)).toHaveLength(2);
  expect((await second.call('GET', `fhir/R4/Patient/${deleted.id}`)).status).toBe(410);
  const found = await second.call('GET', 'fhir/R4/Patient?identifier=urn:mrn|1');
  expect(found.body.entry).toHaveLength(1);
});

test('a deployed bot runs after a restart, started by its subscription', async () => {
  const first = await start();
  const id = await first.bot(
    'exports.handler = async (medplum) => medplum.createResource({ resourceType: ' +
      "'Basic', code: { text: 'x' } });",
  );
  await first.call('POST', 'fhir/R4/Subscription', {
    resourceType: 'Subscription',
    status: 'active',
    reason: 'test',
    criteria: 'Patient',
    channel: { type: 'rest-hook', endpoint: `Bot/${id}` },
  });
  await stop(first);

  const second = await start();
  await second.call('POST', 'fhir/R4/Patient', { resourceType: 'Patient' });
  await second.server.settled();
  expect(second.server.runs.list()).toMatchObject([{ state: 'succeeded' }]);
});

test('secrets stay, those of the new start win, and secrets of clients are not kept', async () => {
  const first = await start({ secrets: { FROM_FILE: 'old' } });
  const secrets = [
    { name: 'FROM_FILE', valueString: 'old' },
    { name: 'PUSHED', valueString: 'kept' },
  ];
  await first.call('POST', `admin/projects/${LOCAL.projectId}/secrets`, secrets);
  await stop(first);

  const clientSecrets = { clientSecret: 'another', noAdminSecret: 'another-too' };
  const second = await start({ secrets: { FROM_FILE: 'new' }, clientSecrets });
  const withOldSecret = await second.call('GET', 'fhir/R4/Patient');
  expect(withOldSecret.status).toBe(401);
  const project = second.server.repository.state.store.latest('Project', LOCAL.projectId)!.resource;
  expect(project).toMatchObject({
    secret: [
      { name: 'PUSHED', valueString: 'kept' },
      { name: 'FROM_FILE', valueString: 'new' },
    ],
  });
  const texts = fs.globSync('**/*.json', { cwd: folder }).map((file) => {
    return fs.readFileSync(join(folder, file), 'utf8');
  });
  expect(texts.join('\n')).not.toContain('another');
  const modes = fs.globSync('*/*/*', { cwd: folder }).map((file) => {
    return fs.statSync(join(folder, file)).mode & 0o077;
  });
  expect(new Set(modes)).toEqual(new Set([0]));
});

test('what is answered is stored, also without a stop; an unfinished file is ignored', async () => {
  const first = await start();
  const { body: patient } = await first.call('POST', 'fhir/R4/Patient', {
    resourceType: 'Patient',
  });
  // The first server goes on: nothing was told to write anything down.
  fs.writeFileSync(join(folder, 'Patient', patient.id, '999.json.new'), '{ "order": 9');
  const second = await start();
  expect((await second.call('GET', `fhir/R4/Patient/${patient.id}`)).status).toBe(200);
  expect(filesOf('Patient', patient.id)).toHaveLength(1);
});

test('an expunged resource does not come back', async () => {
  const first = await start();
  const { body: patient } = await first.call('POST', 'fhir/R4/Patient', {
    resourceType: 'Patient',
  });
  await first.call('POST', `fhir/R4/Patient/${patient.id}/$expunge`, {});
  await stop(first);
  const second = await start();
  expect((await second.call('GET', `fhir/R4/Patient/${patient.id}`)).status).toBe(404);
});

test('says which file cannot be read', async () => {
  const first = await start();
  const { body: patient } = await first.call('POST', 'fhir/R4/Patient', {
    resourceType: 'Patient',
  });
  await stop(first);
  const [file = ''] = filesOf('Patient', patient.id);
  fs.truncateSync(file, 20);
  await expect(start()).rejects.toThrow(`${file} cannot be read: delete it, or its folder.`);
});

test('refuses a folder that another process uses, and one with other files', async () => {
  const first = await start();
  await stop(first);
  fs.writeFileSync(join(folder, 'lock.json'), JSON.stringify({ pid: process.ppid }));
  await expect(start()).rejects.toThrow(
    `is used by another local Medplum (process ${process.ppid})`,
  );

  await expect(start({ persist: join(folder, '..') })).rejects.toThrow(
    'has files that this version did not write',
  );
  expect(fs.readdirSync(join(folder, '..'))).toEqual(['data']);
});
