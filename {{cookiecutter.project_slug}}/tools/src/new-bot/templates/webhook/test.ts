// my-bot, called on a local Medplum with the right and the wrong secret.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { localMedplum } from 'medplum-bot-tools/testing';
import type { LocalMedplum } from 'medplum-bot-tools/testing';

const MESSAGE = { id: 'message-1', text: 'The result is ready' };
let medplum: LocalMedplum;
beforeAll(async () => {
  medplum = await localMedplum({ bots: ['my-bot'], secrets: { WEBHOOK_SECRET: 'test-secret' } });
});
afterAll(() => medplum.stop());

async function send(message: object, secret: string): Promise<unknown> {
  const headers = { 'X-Webhook-Secret': secret };
  const options = { contentType: 'application/json', headers };
  const run = await medplum.execute('my-bot', message, options);
  return run.result;
}

test('a message that comes twice is kept once', async () => {
  expect(await send(MESSAGE, 'test-secret')).toEqual({ accepted: true });
  expect(await send(MESSAGE, 'test-secret')).toEqual({ accepted: true });
  const kept = await medplum.client.searchResources('Communication');
  expect(kept.map(({ payload }) => payload?.[0]?.contentString)).toEqual([MESSAGE.text]);
});

test.each([
  ['a wrong secret', MESSAGE, 'wrong'],
  ['no secret', MESSAGE, ''],
  ['no id', { text: 'x' }, 'test-secret'],
])('%s: nothing is accepted', async (_, message, secret) => {
  expect(await send(message, secret)).toEqual({ accepted: false });
});
