// Tasks for people: what someone at the front desk has to do next.
import type { MedplumClient } from '@medplum/core';
import type { Task } from '@medplum/fhirtypes';

/**
 * Opens a Task about a resource, once: a second call for the same resource returns the first Task.
 *
 * @param medplum - client for the project
 * @param about - a reference to the resource, such as `Patient/123`
 * @param what - what is to do, in words for people; never who the patient is
 * @returns a reference to the Task
 * @example await openTask(medplum, 'Patient/123', 'Welcome the new patient') // 'Task/456'
 */
export async function openTask(
  medplum: MedplumClient,
  about: string,
  what: string,
): Promise<string> {
  const task = await medplum.createResourceIfNoneExist<Task>(
    {
      resourceType: 'Task',
      status: 'requested',
      intent: 'order',
      code: { text: what },
      focus: { reference: about },
    },
    `focus=${about}`,
  );
  return `Task/${task.id}`;
}
