// my-bot: opens a Task for each new order, so that someone looks at it.
import type { BotEvent, MedplumClient } from '@medplum/core';
import type { ServiceRequest, Task } from '@medplum/fhirtypes';

/**
 * @param medplum - client for the project, with the rights of this bot
 * @param event - `input` is the new order
 * @returns the Task; the same one if the event comes twice
 */
export async function handler(
  medplum: MedplumClient,
  event: BotEvent<ServiceRequest>,
): Promise<{ task: string }> {
  const focus = `ServiceRequest/${event.input.id}`;
  const task = await medplum.createResourceIfNoneExist<Task>(
    { resourceType: 'Task', status: 'requested', intent: 'order', focus: { reference: focus } },
    `focus=${focus}`,
  );
  return { task: `Task/${task.id}` };
}
