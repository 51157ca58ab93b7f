// my-bot, on a local Medplum that starts it as a real one does.
import type { QuestionnaireResponse } from '@medplum/fhirtypes';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { localMedplum } from 'medplum-bot-tools/testing';
import type { LocalMedplum } from 'medplum-bot-tools/testing';

let medplum: LocalMedplum;
beforeAll(async () => {
  medplum = await localMedplum({ bots: ['my-bot'] });
});
afterAll(() => medplum.stop());

test.each([
  [true, 1],
  [false, 0],
])('wants-call %s: %i Tasks', async (wantsCall, expected) => {
  const response: QuestionnaireResponse = {
    resourceType: 'QuestionnaireResponse',
    status: 'completed',
    item: [{ linkId: 'wants-call', answer: [{ valueBoolean: wantsCall }] }],
  };
  const { id } = await medplum.create(response);
  const tasks = await medplum.client.searchResources('Task', {
    focus: `QuestionnaireResponse/${id}`,
  });
  expect(tasks).toHaveLength(expected);
  expect(medplum.runsOf('my-bot').every(({ success }) => success)).toBe(true);
});
