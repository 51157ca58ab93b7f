// Greets a new patient: the smallest bot, to start from.
import type { BotEvent, MedplumClient } from '@medplum/core';
import type { Patient } from '@medplum/fhirtypes';

/**
 * Runs when a Patient is created in Medplum.
 *
 * @param _medplum - Client for the project, with the rights of this bot's access policy.
 * @param event - What happened; `input` is the new Patient.
 * @returns A greeting. Return objects, never text, and log nothing that says who the patient is.
 */
export async function handler(_medplum: MedplumClient, event: BotEvent<Patient>): Promise<{ greeting: string }> {
  return { greeting: `Hello, ${event.input.name?.[0]?.given?.join(' ') ?? 'patient'}!` };
}
