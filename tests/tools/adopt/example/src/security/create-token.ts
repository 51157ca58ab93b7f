import { BotEvent, MedplumClient } from '@medplum/core';

export async function handler(_medplum: MedplumClient, _event: BotEvent): Promise<any> {
  const { randomUUID } = await import('crypto');
  return { token: randomUUID() };
}
