// Runs the handler of one bundle on one event, the way one of Medplum's two bot runtimes does. It
// is not a protection against hostile code: a bot can do all that this process can do.
import * as core from '@medplum/core';
import type { Bot, OperationOutcome, ProjectSetting, Reference } from '@medplum/fhirtypes';
import { runOnAwsLambda } from './awslambda.ts';
import { BotLog } from './bot-log.ts';
import { runOnVmContext } from './vmcontext.ts';

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
  /** Its time was up: it waited for something, or its code never stopped to wait. */
  timedOut?: 'waiting' | 'blocked';
}

const RETURNED_A_FUNCTION =
  'The bundle gave a function where a result was due: does its last line lack its semicolon?';

/**
 * Runs the handler of a bundle once.
 *
 * @param code - the text of the bundle
 * @param options - see SandboxOptions
 * @returns the result or the error, and the log; it does not throw for anything the bundle does
 */
export async function runInSandbox(code: string, options: SandboxOptions): Promise<SandboxResult> {
  const log = new BotLog();
  const runHandler = options.runtime === 'vmcontext' ? runOnVmContext : runOnAwsLambda;
  try {
    const result = await runHandler(code, options, log);
    return { ...sendable(result), log: log.toLines() };
  } catch (thrown) {
    if (options.runtime === 'vmcontext') {
      log.push(`Error ${core.normalizeErrorString(thrown)}`);
    }
    return { result: undefined, log: log.toLines(), error: describeThrown(thrown) };
  }
}

/** What `$execute` can send of a handler's result. */
function sendable(result: unknown): Pick<SandboxResult, 'result' | 'error' | 'unsendable'> {
  if (result === undefined || typeof result === 'number') {
    return { result };
  }
  if (typeof result === 'function') {
    return unsendable(
      new core.OperationOutcomeError(core.serverError(new Error(RETURNED_A_FUNCTION))),
    );
  }
  try {
    return { result: JSON.parse(JSON.stringify(result)) as unknown };
  } catch (error) {
    return unsendable(error); // a circular object, a BigInt
  }
}

function unsendable(error: unknown): Pick<SandboxResult, 'result' | 'error' | 'unsendable'> {
  return { result: undefined, error: describeThrown(error), unsendable: true };
}

/** @param thrown - may come from another realm, so that it is not an instance of our Error */
export function describeThrown(thrown: unknown): SandboxError {
  const { name = 'Error', message, stack } = (thrown ?? {}) as Partial<Error>;
  const text = message ?? core.normalizeErrorString(thrown);
  const { code } = (thrown ?? {}) as NodeJS.ErrnoException;
  return {
    name,
    message: text,
    stack: stack ?? text,
    outcome: core.normalizeOperationOutcome(thrown),
    ...(code === 'ERR_SCRIPT_EXECUTION_TIMEOUT' && { timedOut: 'blocked' as const }),
  };
}
