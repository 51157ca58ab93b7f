import { BotEvent, Hl7Message, MedplumClient } from '@medplum/core';

export async function handler(_medplum: MedplumClient, event: BotEvent<Hl7Message>): Promise<any> {
  const message = event.input;
  return message.buildAck();
}
