// A bot that starts itself by what it writes: stopped and named where there is a limit, as `npm run
// dev` has one.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startTestServer } from './support.ts';
import type { TestServer } from './support.ts';

/** Changes the resource that started it, each time. */
const ENDLESS = `exports.handler = async (medplum, { input }) => {
  await medplum.updateResource({ ...input, language: String(Number(input.language || 0) + 1) });
};`;

let medplum: TestServer;
let stopped: string[];

beforeEach(async () => {
  medplum = await startTestServer({ selfTriggerLimit: 20 });
  stopped = [];
  medplum.server.events.on('selfTriggered', (text) => stopped.push(text));
});
afterEach(() => medplum.server.stop());

async function subscribe(bot: string, criteria: string): Promise<void> {
  await medplum.call('POST', 'fhir/R4/Subscription', {
    resourceType: 'Subscription',
    status: 'active',
    reason: 'test',
    criteria,
    channel: { type: 'rest-hook', endpoint: `Bot/${bot}` },
  });
}

async function create(text: string): Promise<string> {
  const { body } = await medplum.call('POST', 'fhir/R4/Basic', {
    resourceType: 'Basic',
    code: { text },
  });
  await medplum.server.settled();
  return body.id;
}

test('stops a bot after it started itself 20 times, and runs it for another event', async () => {
  const bot = await medplum.bot(ENDLESS, { name: 'endless' });
  await subscribe(bot, 'Basic');
  const id = await create('x');
  expect(medplum.server.runs.list()).toHaveLength(21);
  expect(stopped).toHaveLength(1);
  expect(stopped[0]).toContain(
    `Bot endless was stopped: it started itself 20 times in a row by what it writes`,
  );
  expect(stopped[0]).toContain(`the last time with Basic/${id}.`);
  await create('y');
  expect(medplum.server.runs.list()).toHaveLength(42);
});

test('two bots that start each other are stopped too', async () => {
  const creating = (resource: string): string =>
    `exports.handler = async (medplum) => medplum.createResource(${resource});`;
  const ping = creating(`{ resourceType: 'Basic', code: { text: 'x' } }`);
  const pong = creating(`{ resourceType: 'Patient' }`);
  await subscribe(await medplum.bot(ping, { name: 'ping' }), 'Patient');
  await subscribe(await medplum.bot(pong, { name: 'pong' }), 'Basic');
  await create('x');
  expect(stopped).toHaveLength(1);
  expect(stopped[0]).toContain('Bot pong was stopped');
  expect(medplum.server.runs.list()).toHaveLength(42);
});

test('a bot that others start is not stopped, however often it runs', async () => {
  const bot = await medplum.bot('exports.handler = async () => true;');
  await subscribe(bot, 'Basic');
  for (let count = 0; count < 30; count++) {
    await create('x');
  }
  expect(medplum.server.runs.list()).toHaveLength(30);
  expect(stopped).toEqual([]);
});
