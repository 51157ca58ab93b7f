import { BotEvent, MedplumClient } from '@medplum/core';

export async function handler(_medplum: MedplumClient, event: BotEvent<string>): Promise<any> {
  await new Promise((resolve) => setTimeout(resolve, 1));
  try {
    return { base64: Buffer.from(event.input).toString('base64') };
  } catch (err) {
    console.error(err instanceof Error ? err.message : err);
    throw err;
  }
}
