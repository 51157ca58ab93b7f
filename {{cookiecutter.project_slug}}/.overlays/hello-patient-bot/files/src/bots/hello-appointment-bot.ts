// Opens a Task to confirm each new appointment, with the shared code that hello-patient-bot uses
// too.
import type { BotEvent, MedplumClient } from '@medplum/core';
import type { Appointment } from '@medplum/fhirtypes';
import { openTask } from '../shared/tasks.ts';

/**
 * Runs when an Appointment is created in Medplum.
 *
 * @param medplum - client for the project, with the rights of this bot's access policy
 * @param event - what happened; `input` is the new Appointment
 * @returns the Task
 */
export async function handler(
  medplum: MedplumClient,
  event: BotEvent<Appointment>,
): Promise<{ task: string }> {
  return { task: await openTask(medplum, `Appointment/${event.input.id}`, 'Confirm it by phone') };
}
