import { BotEvent, MedplumClient } from '@medplum/core';

export async function handler(event: BotEvent, medplum: MedplumClient): Promise<any> {
  return { input: event.input, base: medplum.getBaseUrl() };
}
