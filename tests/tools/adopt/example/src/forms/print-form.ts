import { BotEvent, MedplumClient } from '@medplum/core';
import { readFileSync } from 'fs';

export async function handler(_medplum: MedplumClient, event: BotEvent<{ path: string }>): Promise<any> {
  return { form: readFileSync(event.input.path, 'utf8') };
}
