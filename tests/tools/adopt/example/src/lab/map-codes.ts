import { BotEvent, MedplumClient } from '@medplum/core';
import codes from './codes.json';

export async function handler(_medplum: MedplumClient, event: BotEvent<{ code: string }>): Promise<any> {
  return { loinc: (codes as Record<string, string>)[event.input.code] };
}
