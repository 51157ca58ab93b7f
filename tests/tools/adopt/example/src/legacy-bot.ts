import { BotEvent, MedplumClient } from '@medplum/core';

export default async function handler(_medplum: MedplumClient, _event: BotEvent): Promise<any> {
  return { ok: true };
}
