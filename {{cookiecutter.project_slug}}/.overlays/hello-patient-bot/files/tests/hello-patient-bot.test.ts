// hello-patient-bot greets by given names, and also a patient without a name.
import type { BotEvent, MedplumClient } from '@medplum/core';
import type { Patient } from '@medplum/fhirtypes';
import { expect, test } from 'vitest';
import { handler } from '../src/bots/hello-patient-bot.ts';

/** Runs the bot as Medplum does after a Patient was created. */
function greet(input: Patient): Promise<{ greeting: string }> {
  const event: BotEvent<Patient> = {
    bot: { reference: 'Bot/hello-patient-bot' },
    contentType: 'application/fhir+json',
    input,
    secrets: {},
  };
  return handler({} as MedplumClient, event);
}

test('greets by the given names', async () => {
  const patient: Patient = { resourceType: 'Patient', name: [{ given: ['Ada', 'Maria'], family: 'Example' }] };
  expect(await greet(patient)).toEqual({ greeting: 'Hello, Ada Maria!' });
});

test.each<Patient>([{ resourceType: 'Patient' }, { resourceType: 'Patient', name: [{ family: 'Example' }] }])(
  'greets a patient without given names',
  async (patient) => {
    expect(await greet(patient)).toEqual({ greeting: 'Hello, patient!' });
  },
);
