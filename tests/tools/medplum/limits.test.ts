// What must not stop the local server, even if bots and policies ask a lot of it.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LOCAL } from '../../tools/src/medplum/local-project.ts';
import { startTestServer } from './support.ts';
import type { TestServer } from './support.ts';

let medplum: TestServer;

beforeAll(async () => {
  medplum = await startTestServer();
});
afterAll(() => medplum.server.stop());

test('an expression that backtracks without end is given up, and refuses the write', async () => {
  const expression = "%after.language.matches('^(a+)+$')";
  const { body: policy } = await medplum.call('POST', 'fhir/R4/AccessPolicy', {
    resourceType: 'AccessPolicy',
    name: 'slow',
    resource: [
      { resourceType: 'Basic', writeConstraint: [{ language: 'text/fhirpath', expression }] },
    ],
  });
  const profile = `ClientApplication/${LOCAL.noAdminId}`;
  const found = await medplum.call('GET', `fhir/R4/ProjectMembership?profile=${profile}`);
  const membership = `fhir/R4/ProjectMembership/${found.body.entry[0].resource.id}`;
  const value = { reference: `AccessPolicy/${policy.id}` };
  await medplum.call('PATCH', membership, [{ op: 'add', path: '/accessPolicy', value }]);
  const language = `${'a'.repeat(60)}!`;
  const basic = { resourceType: 'Basic', code: { text: 'x' }, language };
  expect((await medplum.other('POST', 'fhir/R4/Basic', basic)).status).toBe(400);
  await medplum.call('PATCH', membership, [{ op: 'remove', path: '/accessPolicy' }]);
  expect((await medplum.other('POST', 'fhir/R4/Basic', basic)).status).toBe(201);
});

test('a subscription whose expression backtracks endlessly does not stop the server', async () => {
  const url = 'https://medplum.com/fhir/StructureDefinition/fhir-path-criteria-expression';
  const { body: subscription } = await medplum.call('POST', 'fhir/R4/Subscription', {
    resourceType: 'Subscription',
    status: 'active',
    reason: 'test',
    criteria: 'Basic',
    channel: { type: 'rest-hook', endpoint: 'Bot/00000000-0000-4000-8000-000000000000' },
    extension: [{ url, valueString: "%current.language.matches('^(a+)+$')" }],
  });
  const basic = { resourceType: 'Basic', code: { text: 'x' }, language: `${'a'.repeat(60)}!` };
  expect((await medplum.call('POST', 'fhir/R4/Basic', basic)).status).toBe(201);
  expect((await medplum.anonymous('GET', 'healthcheck')).status).toBe(200);
  await medplum.call('DELETE', `fhir/R4/Subscription/${subscription.id}`);
});

test('a GraphQL query is answered, and others are while its schema is built', async () => {
  await medplum.call('POST', 'fhir/R4/Patient', { resourceType: 'Patient', gender: 'female' });
  let done = false;
  const query = '{ PatientList(gender: "female") { gender } }';
  const answer = medplum.call('POST', 'fhir/R4/$graphql', { query }).finally(() => (done = true));
  await medplum.anonymous('GET', 'healthcheck');
  expect(done).toBe(false);
  expect((await answer).body).toEqual({ data: { PatientList: [{ gender: 'female' }] } });
});

test('a GraphQL query in a batch is answered', async () => {
  await medplum.call('POST', 'fhir/R4/Patient', { resourceType: 'Patient', gender: 'other' });
  const request = { method: 'POST', url: '$graphql' };
  const entry = [
    { request, resource: { query: '{ PatientList(gender: "other") { gender } }' } },
    { request, resource: { query: '{ NoSuchList { id } }' } },
  ];
  const bundle = { resourceType: 'Bundle', type: 'batch', entry };
  const { body } = await medplum.call('POST', 'fhir/R4', bundle);
  const [known, unknown] = body.entry;
  expect(known.response.status).toBe('200');
  expect(known.resource).toEqual({ data: { PatientList: [{ gender: 'other' }] } });
  expect(unknown.response.status).toBe('400');
});

test('the end of a long log is kept, with a note', async () => {
  const bot = await medplum.bot(`exports.handler = async () => {
    for (let line = 0; line < 2000; line++) {
      console.log(line + ' ' + 'x'.repeat(1000));
    }
  };`);
  await medplum.execute(bot);
  const log = medplum.server.runs.list()[0]!.log;
  expect(log.length).toBeLessThan(110_000);
  expect(log).toMatch(/^\(\d+ characters before this are not kept here\)/);
  expect(log.split('\n').at(-1)).toMatch(/^1999 x/);
});
