import { BotEvent, MedplumClient } from '@medplum/core';
import { faxNumber } from '../../lib/fax';

export async function handler(_medplum: MedplumClient, event: BotEvent<any>): Promise<any> {
  return { to: faxNumber(event.input.fax) };
}
