// my-bot, run on a local Medplum as its schedule does.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { localMedplum } from 'medplum-bot-tools/testing';
import type { LocalMedplum } from 'medplum-bot-tools/testing';

let medplum: LocalMedplum;
beforeAll(async () => {
  medplum = await localMedplum({ bots: ['my-bot'] });
});
afterAll(() => medplum.stop());

test('only Tasks that wait for more than a day become urgent', async () => {
  const task = { resourceType: 'Task', status: 'requested', intent: 'order' } as const;
  const late = await medplum.create({ ...task, authoredOn: '2020-01-01T08:00:00Z' });
  const fresh = await medplum.create({ ...task, authoredOn: new Date().toISOString() });
  const run = await medplum.runCron('my-bot');
  expect(run).toMatchObject({ success: true, result: { urgent: 1 } });
  const reload = { cache: 'reload' } as const;
  expect(await medplum.client.readResource('Task', late.id, reload)).toMatchObject({
    priority: 'urgent',
  });
  expect(await medplum.client.readResource('Task', fresh.id, reload)).not.toHaveProperty(
    'priority',
  );
});
