import { BotEvent, MedplumClient } from '@medplum/core';
import letter from './letter.html';

export async function handler(_medplum: MedplumClient, event: BotEvent<{ name: string }>): Promise<any> {
  return { html: letter.replace('NAME', event.input.name) };
}
