// my-bot: opens a Task to call back, if the answer to "wants-call" is yes.
import { getQuestionnaireAnswers } from '@medplum/core';
import type { BotEvent, MedplumClient } from '@medplum/core';
import type { QuestionnaireResponse, Task } from '@medplum/fhirtypes';

/**
 * @param medplum - client for the project, with the rights of this bot
 * @param event - `input` is the answered questionnaire
 * @returns the Task, if there has to be one; the same one if the event comes twice
 */
export async function handler(
  medplum: MedplumClient,
  event: BotEvent<QuestionnaireResponse>,
): Promise<{ task?: string }> {
  const answers = getQuestionnaireAnswers(event.input);
  if (answers['wants-call']?.valueBoolean !== true) {
    return {};
  }
  const focus = `QuestionnaireResponse/${event.input.id}`;
  const task = await medplum.createResourceIfNoneExist<Task>(
    {
      resourceType: 'Task',
      status: 'requested',
      intent: 'order',
      code: { text: 'Call back' },
      focus: { reference: focus },
    },
    `focus=${focus}`,
  );
  return { task: `Task/${task.id}` };
}
