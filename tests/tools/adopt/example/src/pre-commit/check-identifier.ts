import { BotEvent, MedplumClient } from '@medplum/core';
import { Patient } from '@medplum/fhirtypes';

export async function handler(_medplum: MedplumClient, event: BotEvent<Patient>): Promise<any> {
  if (!event.input.identifier || event.input.identifier[0].value == undefined) {
    throw new Error('A patient needs an identifier');
  }
  return event.input;
}
