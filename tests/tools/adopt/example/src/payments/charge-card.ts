import { BotEvent, MedplumClient } from '@medplum/core';
import { charge } from './provider';

export async function handler(_medplum: MedplumClient, event: BotEvent<any>): Promise<any> {
  return charge(event.input.amount);
}
