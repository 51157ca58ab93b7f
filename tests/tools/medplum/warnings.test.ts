// What works differently on Medplum than it seems: the local server does the same, and says so.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually, startTestServer } from './support.ts';
import type { TestServer } from './support.ts';

let medplum: TestServer;
const warnings: string[] = [];

beforeAll(async () => {
  medplum = await startTestServer();
  medplum.server.events.on('warning', (text) => warnings.push(text));
});
afterAll(() => medplum.server.stop());

async function subscribe(bot: string, criteria: string): Promise<string> {
  const { body } = await medplum.call('POST', 'fhir/R4/Subscription', {
    resourceType: 'Subscription',
    status: 'active',
    reason: 'test',
    criteria,
    channel: { type: 'rest-hook', endpoint: `Bot/${bot}` },
  });
  return body.id;
}

async function warned(part: string): Promise<void> {
  await eventually(
    async () => warnings,
    (list) => list.some((text) => text.includes(part)),
  );
  expect(warnings.join('\n')).toContain(part);
}

test('a search for a day, which finds only its midnight', async () => {
  const observation = (effectiveDateTime: string) => ({
    resourceType: 'Observation',
    status: 'final',
    code: { text: 'x' },
    effectiveDateTime,
  });
  await medplum.call('POST', 'fhir/R4/Observation', observation('2026-01-15T10:00:00Z'));
  await medplum.call('POST', 'fhir/R4/Observation', observation('2026-01-15'));
  const day = await medplum.call('GET', 'fhir/R4/Observation?date=2026-01-15&_total=accurate');
  expect(day.body.total).toBe(1);
  const range = 'date=ge2026-01-15&date=lt2026-01-16';
  const whole = await medplum.call('GET', `fhir/R4/Observation?${range}&_total=accurate`);
  expect(whole.body.total).toBe(2);
  await warned('Observation?date=2026-01-15 finds only what is stored at midnight UTC');
});

test('a subscription by a chained parameter, which never fires', async () => {
  const bot = await medplum.bot('exports.handler = async () => true;');
  await subscribe(bot, 'Observation?subject:Patient.name=smith');
  await warned('never fires');
});

test('a body that reaches a bot as an empty object', async () => {
  const bot = await medplum.bot(
    'exports.handler = async (medplum, event) => ({ got: event.input });',
  );
  const headers = { 'Content-Type': 'text/csv' };
  const answer = await medplum.call('POST', `fhir/R4/Bot/${bot}/$execute`, 'a,b', headers);
  expect(answer.body).toEqual({ got: {} });
  await warned('text/csv');
});

test('a bot that changes what triggers it', async () => {
  const bot = await medplum.bot(`exports.handler = async (medplum, { input }) => {
    const count = Number(input.language || 0) + 1;
    if (count < 15) {
      await medplum.updateResource({ ...input, language: String(count) });
    }
  };`);
  await subscribe(bot, 'Basic?code=loop');
  await medplum.call('POST', 'fhir/R4/Basic', { resourceType: 'Basic', code: { text: 'loop' } });
  await warned('it seems to change what triggers it');
});
