import { BotEvent, MedplumClient } from '@medplum/core';

export async function handler(_medplum: MedplumClient, event: BotEvent<any>): Promise<any> {
  return { synced: event.input.resourceType };
}
