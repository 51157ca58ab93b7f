import { BotEvent, MedplumClient } from '@medplum/core';
import { Observation } from '@medplum/fhirtypes';
import { segment } from './segments';

export async function handler(_medplum: MedplumClient, event: BotEvent<Observation>): Promise<any> {
  return { message: segment('OBX', ['1', 'NM', event.input.code?.text]) };
}
