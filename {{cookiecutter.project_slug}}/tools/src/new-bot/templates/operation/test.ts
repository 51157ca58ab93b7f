// my-bot, called as a FHIR operation on a local Medplum.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { localMedplum } from 'medplum-bot-tools/testing';
import type { LocalMedplum } from 'medplum-bot-tools/testing';
import type { OperationDefinition } from '@medplum/fhirtypes';

let medplum: LocalMedplum;
beforeAll(async () => {
  const operation = JSON.parse(
    readFileSync('resources/my-bot.json', 'utf8'),
  ) as OperationDefinition;
  medplum = await localMedplum({ bots: ['my-bot'], resources: [operation] });
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
  const url = medplum.client.fhirUrl('$my-bot');
  expect(await medplum.client.post(url, { resourceType: 'Parameters', parameter })).toMatchObject({
    resourceType: 'Parameters',
    parameter: [{ name: 'open', valueInteger: 1 }],
  });
});

test('a call without the parameter is refused', async () => {
  const run = await medplum.execute('my-bot', { resourceType: 'Parameters' });
  expect(run.success).toBe(false);
});
