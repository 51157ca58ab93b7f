import { BotEvent, MedplumClient } from '@medplum/core';

export async function handler(_medplum: MedplumClient, event: BotEvent<Record<string, any>>): Promise<any> {
  if (event.input.type == 'payment.completed') {
    return { paid: true, id: event.input.id };
  }
  const response = await fetch(event.secrets['PAYMENT_URL'].valueString as string);
  return { paid: (await response.json()).paid };
}
