// What the local Medplum does on request: a newer version, a quota, a stale cache, e-mail.
import { onTestFinished, expect, test } from 'vitest';
import { startTestServer } from './support.ts';
import type { TestServer } from './support.ts';
import { toMedplumOptions } from '../../tools/src/medplum/server-options.ts';
import type { MedplumServerOptions } from '../../tools/src/medplum/server.ts';

async function deskWith(options: MedplumServerOptions): Promise<TestServer> {
  const medplum = await startTestServer(options);
  onTestFinished(() => medplum.server.stop());
  return medplum;
}

const STALE = { 'If-Match': 'W/"00000000-0000-4000-8000-000000000000"' };

test('a PATCH with a stale If-Match is ignored on 5.1.26, and 412 on 5.1.29', async () => {
  for (const [version, status] of [
    ['5.1.26', 200],
    ['5.1.29', 412],
  ] as const) {
    const { call } = await deskWith({ version });
    const { body } = await call('POST', 'fhir/R4/Patient', { resourceType: 'Patient' });
    const patch = [{ op: 'add', path: '/active', value: true }];
    const answer = await call('PATCH', `fhir/R4/Patient/${body.id}`, patch, STALE);
    expect(answer.status, version).toBe(status);
  }
});

test('the quota answers 429 when the points are spent, and says when it is over', async () => {
  const { call, other } = await deskWith({ quota: 250 });
  const create = () => call('POST', 'fhir/R4/Patient', { resourceType: 'Patient' });
  expect((await create()).status).toBe(201);
  expect((await create()).status).toBe(201);
  const { status, body } = await create();
  expect(status).toBe(429);
  const diagnostics = JSON.parse(body.issue[0].diagnostics);
  expect(diagnostics._msBeforeNext).toBeGreaterThan(0);
  expect(diagnostics.limit).toBe(250);
  // The other client has points of its own.
  expect((await other('GET', 'fhir/R4/Patient')).status).toBe(200);
});

test('a stale cache brings a deleted resource back by id, not in a search', async () => {
  const { call } = await deskWith({ staleCache: true });
  const { body } = await call('POST', 'fhir/R4/Patient', { resourceType: 'Patient' });
  const path = `fhir/R4/Patient/${body.id}`;
  await call('GET', path);
  await call('DELETE', path);
  expect((await call('GET', path)).status).toBe(200);
  expect((await call('GET', `fhir/R4/Patient?_id=${body.id}`)).body.entry).toBeUndefined();
});

test('e-mails of an admin stay in the outbox where the project has the feature', async () => {
  const email = { to: 'a@example.com', subject: 'Hello', text: 'Hi' };
  const headers = { 'Content-Type': 'application/json' };
  const without = await deskWith({});
  expect((await without.call('POST', 'email/v1/send', email, headers)).status).toBe(400);
  const { call, other, server } = await deskWith({ features: ['email'] });
  expect((await other('POST', 'email/v1/send', email, headers)).status).toBe(403);
  expect((await call('POST', 'email/v1/send', email, headers)).status).toBe(200);
  expect(server.outbox.list()).toMatchObject([{ to: 'a@example.com', subject: 'Hello' }]);
});

test('the command line takes the versions that there are, and a number of points', () => {
  const typed = { serverVersion: '5.1.29', quota: '50000', staleCache: true, feature: ['email'] };
  expect(toMedplumOptions(typed)).toEqual({
    version: '5.1.29',
    quota: 50_000,
    staleCache: true,
    features: ['email'],
  });
  expect(() => toMedplumOptions({ serverVersion: '6' })).toThrow('give 5.1.26 or 5.1.29');
  expect(() => toMedplumOptions({ quota: 'much' })).toThrow('not a number of points');
});
