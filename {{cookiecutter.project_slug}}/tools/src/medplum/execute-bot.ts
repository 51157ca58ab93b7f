// What a run of a bot takes and returns.
import type { WithId } from '@medplum/core';
import type { Bot, ProjectMembership, Reference, Subscription } from '@medplum/fhirtypes';
import type { BotEvent, SandboxError } from '../runtime/sandbox-types.ts';

/** What made a bot run. */
export type RunCause =
  'execute' | 'subscription' | 'cron' | 'pre-commit' | 'webhook' | 'operation' | 'cds-hook';

export interface ExecuteRequest {
  bot: WithId<Bot>;
  cause: RunCause;
  /** Whose rights the bot has. */
  runAs: WithId<ProjectMembership>;
  requester?: Reference | undefined;
  input: unknown;
  contentType: string;
  subscription?: WithId<Subscription> | undefined;
  traceId?: string | undefined;
  headers?: BotEvent['headers'];
  /**
   * How often each bot, by id, ran in the chain of runs that led to this one by what they wrote.
   */
  earlierRuns?: ReadonlyMap<string, number> | undefined;
}

/** `value` is what the handler returned, or the outcome of what it threw. */
export interface ExecuteResult {
  success: boolean;
  log: string;
  value?: unknown;
  /** What the handler threw; its stack points into the deployed code. */
  error?: SandboxError | undefined;
  /** The bot returned what cannot be sent, such as a function: `$execute` answers 500. */
  unsendable?: boolean | undefined;
}

export type ExecuteBot = (request: ExecuteRequest) => Promise<ExecuteResult>;
