// my-bot, on a local Medplum that starts it as a real one does.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { localMedplum } from 'medplum-bot-tools/testing';
import type { LocalMedplum } from 'medplum-bot-tools/testing';

let medplum: LocalMedplum;
beforeAll(async () => {
  medplum = await localMedplum({ bots: ['my-bot'] });
});
afterAll(() => medplum.stop());

test('a new order leads to one Task', async () => {
  const order = await medplum.create({
    resourceType: 'ServiceRequest',
    status: 'active',
    intent: 'order',
    subject: { display: 'Test patient' },
  });
  const tasks = await medplum.client.searchResources('Task');
  expect(tasks.map(({ focus }) => focus?.reference)).toEqual([`ServiceRequest/${order.id}`]);
  expect(medplum.runsOf('my-bot')).toMatchObject([
    { success: true, result: { task: `Task/${tasks[0]?.id}` } },
  ]);
});
