// A Medplum inside a test:
//   import { localMedplum } from 'medplum-bot-tools/testing';
export { LocalMedplum, localMedplum } from './local-medplum.ts';
export type { ExecuteOptions, LocalMedplumOptions } from './local-medplum.ts';
export type { BotRun, SentRequest } from './bot-run.ts';
