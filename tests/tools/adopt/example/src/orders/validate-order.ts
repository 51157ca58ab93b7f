import { BotEvent, MedplumClient } from '@medplum/core';
import { z } from 'zod';

const order = z.object({ code: z.string() });

export async function handler(_medplum: MedplumClient, event: BotEvent<any>): Promise<any> {
  return { valid: order.safeParse(event.input).success };
}
