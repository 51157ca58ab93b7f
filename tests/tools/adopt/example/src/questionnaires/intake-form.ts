import { BotEvent, MedplumClient } from '@medplum/core';
import { getQuestionnaireAnswers } from '@medplum/core';
import { Patient, QuestionnaireResponse } from '@medplum/fhirtypes';

export async function handler(
  medplum: MedplumClient,
  event: BotEvent<QuestionnaireResponse>
): Promise<any> {
  const answers = getQuestionnaireAnswers(event.input);
  const patient = await medplum.createResource<Patient>({
    resourceType: 'Patient',
    birthDate: answers['birth-date'].valueDate,
  });
  return { created: patient.id };
}
