// Runs the handler of one bundle on one event, the way one of Medplum's two bot runtimes does. It
// is not a protection against hostile code: a bot can do all that this process can do.
import * as core from '@medplum/core';
import { runOnAwsLambda } from './awslambda.ts';
import { BotLog } from './bot-log.ts';
import type { SandboxError, SandboxOptions, SandboxResult } from './sandbox-types.ts';
import { runOnVmContext } from './vmcontext.ts';

const RETURNED_A_FUNCTION =
  'The bundle returned a function instead of a result: is the semicolon at its end missing?';

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
      log.pushThrown(`Error ${core.normalizeErrorString(thrown)}`);
    }
    const error = { ...describeThrown(thrown), logged: log.thrownText };
    return { result: undefined, log: log.toLines(), error };
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
