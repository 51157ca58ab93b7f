import { BotEvent, MedplumClient } from '@medplum/core';
import { double } from './double.mjs';

export const handler = async (_medplum: MedplumClient, event: BotEvent<number>) => ({
  result: double(event.input),
});
