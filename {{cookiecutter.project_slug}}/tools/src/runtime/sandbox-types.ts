// What a run in the sandbox takes and returns: the event, the result, the error.
import type { Bot, OperationOutcome, ProjectSetting, Reference } from '@medplum/fhirtypes';

/** The value of `runtimeVersion` of a Bot. */
export type BotRuntime = 'vmcontext' | 'awslambda';

/** What a handler is called with. The keys are those of the real servers. */
export interface BotEvent {
  bot: Reference<Bot>;
  /** Who caused the run; absent for a cron run and before a commit. */
  requester?: Reference | undefined;
  /**
   * The resource; on delete `{ deletedResource }`, or `{}` on older servers; on cron the Bot
   * itself.
   */
  input: unknown;
  contentType: string;
  /** All secrets of the project, by name. */
  secrets: Record<string, ProjectSetting>;
  traceId?: string | undefined;
  headers?: Record<string, string | string[] | undefined> | undefined;
  /** Only where `$execute` was called with server-sent events. */
  responseStream?: unknown;
}

export interface SandboxOptions {
  runtime: BotRuntime;
  /** A MedplumClient that acts as the bot. */
  medplum: unknown;
  event: BotEvent;
  /**
   * The file that stack traces name, with the line numbers of the bundle. Without it, stack traces
   * are those of the real server: on vmcontext they name no file, and line numbers are five too
   * high.
   */
  filename?: string;
  /**
   * Seconds. On vmcontext it limits only code that never awaits; on awslambda the caller has to end
   * the thread.
   */
  timeout?: number;
  /** What `fetch` is on vmcontext; node-fetch if left out. */
  fetch?: unknown;
  /** Milliseconds by which the bot's clock is ahead of this machine's; 0 if left out. */
  clockOffset?: number;
}

export interface SandboxResult {
  /** What the handler returned, as JSON carries it; a number as it is. */
  result: unknown;
  log: string[];
  error?: SandboxError;
  /** The handler threw nothing, but returned what JSON cannot carry: `error` says so. */
  unsendable?: boolean;
}

/** What the handler threw; it may be anything. */
export interface SandboxError {
  name: string;
  message: string;
  stack: string;
  /** What `$execute` answers. */
  outcome: OperationOutcome;
  /** What the runtime added to the end of the log about it. */
  logged?: string;
  /** Its time was up: it waited for something, or its code never stopped to wait. */
  timedOut?: 'waiting' | 'blocked';
}
