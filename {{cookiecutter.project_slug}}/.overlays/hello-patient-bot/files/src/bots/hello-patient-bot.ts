// Opens a Task to welcome each new patient: the smallest bot, to start from.
import type { BotEvent, MedplumClient } from '@medplum/core';
import type { Patient } from '@medplum/fhirtypes';
import { openTask } from '../shared/tasks.ts';

/**
 * Runs when a Patient is created in Medplum.
 *
 * @param medplum - client for the project, with the rights of this bot's access policy
 * @param event - what happened; `input` is the new Patient
 * @returns The Task. Return objects, never text, and log nothing that says who the patient is.
 */
export async function handler(
  medplum: MedplumClient,
  event: BotEvent<Patient>,
): Promise<{ task: string }> {
  return { task: await openTask(medplum, `Patient/${event.input.id}`, 'Welcome the new patient') };
}
