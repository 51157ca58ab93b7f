// my-bot: counts the open Tasks of a patient. The OperationDefinition in resources/ lets clients
// call it as a FHIR operation: POST fhir/R4/$my-bot.
import type { BotEvent, MedplumClient } from '@medplum/core';
import { badRequest, OperationOutcomeError } from '@medplum/core';
import type { Parameters } from '@medplum/fhirtypes';

/**
 * @param medplum - client for the project, with the rights of this bot
 * @param event - `input` has the parameter `patient`, a reference
 * @returns the values of the output parameters, by name: Medplum makes a Parameters resource of
 *   them
 */
export async function handler(
  medplum: MedplumClient,
  event: BotEvent<Parameters>,
): Promise<{ open: number }> {
  const given = event.input.parameter?.find(({ name }) => name === 'patient');
  const patient = given?.valueReference?.reference;
  if (!patient) {
    throw new OperationOutcomeError(badRequest('The parameter "patient" is missing'));
  }
  const tasks = await medplum.searchResources(
    'Task',
    { patient, status: 'requested', _count: '1000' },
    { cache: 'reload' },
  );
  return { open: tasks.length };
}
