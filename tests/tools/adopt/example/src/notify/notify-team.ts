import { BotEvent, MedplumClient } from '@medplum/core';
import { Notifier } from '@/notify/notifier';

export async function handler(_medplum: MedplumClient, event: BotEvent<any>): Promise<any> {
  return new Notifier(event.input.channel).describe();
}
