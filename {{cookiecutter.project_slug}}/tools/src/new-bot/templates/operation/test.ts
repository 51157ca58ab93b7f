// my-bot, called on a local Medplum.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { localMedplum } from 'medplum-bot-tools/testing';
import type { LocalMedplum } from 'medplum-bot-tools/testing';

let medplum: LocalMedplum;
beforeAll(async () => {
  medplum = await localMedplum({ bots: ['my-bot'] });
});
afterAll(() => medplum.stop());

test('counts only open Tasks of the patient', async () => {
  const { id } = await medplum.create({ resourceType: 'Patient' });
  const patient = { reference: `Patient/${id}` };
  const task = { resourceType: 'Task', intent: 'order', for: patient } as const;
  await medplum.create({ ...task, status: 'requested' });
  await medplum.create({ ...task, status: 'completed' });
  await medplum.create({ resourceType: 'Task', intent: 'order', status: 'requested' });
  const parameter = [{ name: 'patient', valueReference: patient }];
  const run = await medplum.execute('my-bot', { resourceType: 'Parameters', parameter });
  expect(run).toMatchObject({
    success: true,
    result: { parameter: [{ name: 'open', valueInteger: 1 }] },
  });
});

test('a call without the parameter is refused', async () => {
  const run = await medplum.execute('my-bot', { resourceType: 'Parameters' });
  expect(run.success).toBe(false);
});
