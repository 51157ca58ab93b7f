import { BotEvent, MedplumClient } from '@medplum/core';
import { Parameters } from '@medplum/fhirtypes';

export async function handler(_medplum: MedplumClient, event: BotEvent<Parameters>): Promise<Parameters> {
  return { resourceType: 'Parameters', parameter: event.input.parameter };
}
