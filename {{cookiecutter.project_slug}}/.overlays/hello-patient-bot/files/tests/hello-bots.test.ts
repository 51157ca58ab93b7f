// The two hello bots, on a local Medplum that starts them as a real one does.
import type { Resource } from '@medplum/fhirtypes';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { localMedplum } from 'medplum-bot-tools/testing';
import type { LocalMedplum } from 'medplum-bot-tools/testing';

let medplum: LocalMedplum;
beforeAll(async () => {
  medplum = await localMedplum({ bots: ['hello-patient-bot', 'hello-appointment-bot'] });
});
afterAll(() => medplum.stop());

test.each<[string, Resource, string]>([
  [
    'hello-patient-bot',
    { resourceType: 'Patient', name: [{ family: 'Example' }] },
    'Welcome the new patient',
  ],
  [
    'hello-appointment-bot',
    {
      resourceType: 'Appointment',
      status: 'proposed',
      participant: [{ status: 'accepted', actor: { display: 'Test patient' } }],
    },
    'Confirm it by phone',
  ],
])('%s opens one Task', async (bot, resource, text) => {
  const { id } = await medplum.create(resource);
  const focus = `${resource.resourceType}/${id}`;
  const tasks = await medplum.client.searchResources('Task', { focus });
  expect(tasks.map(({ code }) => code?.text)).toEqual([text]);
  expect(medplum.runsOf(bot)).toMatchObject([
    { success: true, result: { task: `Task/${tasks[0]?.id}` } },
  ]);
});

test('a second event for the same patient leads to the same Task', async () => {
  const input = { resourceType: 'Patient', id: '00000000-0000-4000-8000-000000000001' };
  const first = await medplum.execute('hello-patient-bot', input);
  const second = await medplum.execute('hello-patient-bot', input);
  expect(second.result).toEqual(first.result);
});
