// What the local Medplum server remembers of each run of a bot.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestServer } from './support.ts';
import type { TestServer } from './support.ts';

let medplum: TestServer;

beforeAll(async () => {
  medplum = await startTestServer();
});
afterAll(() => medplum.server.stop());

test('a run holds its requests to Medplum, its result and its event', async () => {
  const bot = await medplum.bot(`exports.handler = async (medplum, event) => {
    await medplum.createResource({ resourceType: 'Patient', active: true });
    await medplum.readResource('Patient', '00000000-0000-4000-8000-000000000000').catch(() => undefined);
    console.log('done');
    return { answer: event.input.question + 1 };
  };`);
  const states: string[] = [];
  medplum.server.runs.once('started', ({ state }) => states.push(state));
  await medplum.execute(bot, { question: 41 });
  const [run] = medplum.server.runs.list();
  states.push(run!.state);
  expect(states).toEqual(['running', 'succeeded']);
  expect(run).toMatchObject({
    cause: 'execute',
    bot: { id: bot },
    request: { input: { question: 41 } },
    value: { answer: 42 },
    log: 'done',
  });
  expect(run!.requests.map(({ method, path, status }) => `${method} ${path} ${status}`)).toEqual([
    'POST /fhir/R4/Patient 201',
    'GET /fhir/R4/Patient/00000000-0000-4000-8000-000000000000 404',
  ]);
});

test('runs at the same time keep their requests apart', async () => {
  const bot = await medplum.bot(`exports.handler = async (medplum, event) => {
    await medplum.createResource({ resourceType: 'Basic', code: { text: event.input.name } });
    await medplum.search('Patient', 'name=' + event.input.name);
  };`);
  await Promise.all(['a', 'b', 'c'].map((name) => medplum.execute(bot, { name })));
  const runs = medplum.server.runs.list().slice(0, 3);
  expect(runs.map(({ requests }) => requests.length)).toEqual([2, 2, 2]);
  for (const { request, requests } of runs) {
    expect(requests[1]!.path).toContain(`name=${(request.input as { name: string }).name}`);
  }
});

test('a run holds what the bot sent elsewhere too, and where its code did so', async () => {
  const bot = await medplum.bot(`exports.handler = async (medplum, event) => {
    await fetch('${medplum.server.baseUrl}healthcheck');
    await medplum.createResource({ resourceType: 'Basic' });
  };`);
  await medplum.execute(bot);
  const [run] = medplum.server.runs.list();
  expect(run).toMatchObject({
    state: 'failed',
    error: { name: 'OperationOutcomeError' },
    sent: [
      { method: 'GET', toMedplum: false, status: 200 },
      { method: 'POST', toMedplum: true, status: 400, clientMethod: 'createResource' },
    ],
  });
  expect(run!.sent[1]!.stack).toContain('evalmachine.<anonymous>:8:');
});

test('a run whose log has control characters is kept, and failed', async () => {
  const bot = await medplum.bot(
    `exports.handler = async () => { console.log('a\\u0000b'); return true; };`,
  );
  expect((await medplum.execute(bot)).status).toBe(400);
  expect(await medplum.audits(bot)).toEqual([]);
  const [run] = medplum.server.runs.list();
  expect(run).toMatchObject({ bot: { id: bot }, state: 'failed', log: 'a\u0000b' });
  expect(run!.error?.message).toContain('Invalid string format');
});
