import { BotEvent, MedplumClient } from '@medplum/core';
import { Patient } from '@medplum/fhirtypes';
import { firstName } from './names';

export async function handler(_medplum: MedplumClient, event: BotEvent<Patient>): Promise<any> {
  return { length: `Goodbye ${firstName(event.input)}`.length };
}
