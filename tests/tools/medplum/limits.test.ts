// What must not stop the local server, whatever bots and policies ask of it.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LOCAL } from '../../tools/src/medplum/local-project.ts';
import { openDesk } from './support.ts';
import type { Desk } from './support.ts';

let desk: Desk;

beforeAll(async () => {
  desk = await openDesk();
});
afterAll(() => desk.server.stop());

test('an expression that backtracks without end is given up, and refuses the write', async () => {
  const expression = "%after.language.matches('^(a+)+$')";
  const { body: policy } = await desk.call('POST', 'fhir/R4/AccessPolicy', {
    resourceType: 'AccessPolicy',
    name: 'slow',
    resource: [
      { resourceType: 'Basic', writeConstraint: [{ language: 'text/fhirpath', expression }] },
    ],
  });
  const profile = `ClientApplication/${LOCAL.noAdminId}`;
  const found = await desk.call('GET', `fhir/R4/ProjectMembership?profile=${profile}`);
  const membership = `fhir/R4/ProjectMembership/${found.body.entry[0].resource.id}`;
  const value = { reference: `AccessPolicy/${policy.id}` };
  await desk.call('PATCH', membership, [{ op: 'add', path: '/accessPolicy', value }]);
  const language = `${'a'.repeat(60)}!`;
  const basic = { resourceType: 'Basic', code: { text: 'x' }, language };
  expect((await desk.other('POST', 'fhir/R4/Basic', basic)).status).toBe(400);
  await desk.call('PATCH', membership, [{ op: 'remove', path: '/accessPolicy' }]);
  expect((await desk.other('POST', 'fhir/R4/Basic', basic)).status).toBe(201);
});

test('a subscription whose expression backtracks without end does not stop the server', async () => {
  const url = 'https://medplum.com/fhir/StructureDefinition/fhir-path-criteria-expression';
  const { body: subscription } = await desk.call('POST', 'fhir/R4/Subscription', {
    resourceType: 'Subscription',
    status: 'active',
    reason: 'test',
    criteria: 'Basic',
    channel: { type: 'rest-hook', endpoint: 'Bot/00000000-0000-4000-8000-000000000000' },
    extension: [{ url, valueString: "%current.language.matches('^(a+)+$')" }],
  });
  const basic = { resourceType: 'Basic', code: { text: 'x' }, language: `${'a'.repeat(60)}!` };
  expect((await desk.call('POST', 'fhir/R4/Basic', basic)).status).toBe(201);
  expect((await desk.nobody('GET', 'healthcheck')).status).toBe(200);
  await desk.call('DELETE', `fhir/R4/Subscription/${subscription.id}`);
});

test('a GraphQL query is answered, and others are while its schema is built', async () => {
  await desk.call('POST', 'fhir/R4/Patient', { resourceType: 'Patient', gender: 'female' });
  let done = false;
  const query = '{ PatientList(gender: "female") { gender } }';
  const answer = desk.call('POST', 'fhir/R4/$graphql', { query }).finally(() => (done = true));
  await desk.nobody('GET', 'healthcheck');
  expect(done).toBe(false);
  expect((await answer).body).toEqual({ data: { PatientList: [{ gender: 'female' }] } });
});

test('the end of a long log is kept, with a note', async () => {
  const bot = await desk.bot(`exports.handler = async () => {
    for (let line = 0; line < 2000; line++) {
      console.log(line + ' ' + 'x'.repeat(1000));
    }
  };`);
  await desk.execute(bot);
  const log = desk.server.runs.list()[0]!.log;
  expect(log.length).toBeLessThan(110_000);
  expect(log).toMatch(/^\(\d+ characters before this are not kept here\)/);
  expect(log.split('\n').at(-1)).toMatch(/^1999 x/);
});
