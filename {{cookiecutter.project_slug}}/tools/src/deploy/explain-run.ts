// Why a deployed bot failed. A server keeps the log of a run, and not its requests: what the
// runtimes write there about an error is read here, and explained as `npm run bot` explains it.
import type { OperationOutcome } from '@medplum/fhirtypes';
import { explainFailure, timeoutHint } from '../runtime/explain-failure.ts';
import type { BotSettings, FailureExplanation } from '../runtime/explain-failure.ts';
import type { SandboxError } from '../runtime/sandbox-types.ts';

/** Before the error of a bot, in the log of both runtimes. */
const UNHANDLED = 'Unhandled error: ';

/** What the runtimes write if a bot took too long. Neither says whether it waited for something. */
const TIMED_OUT = /(Task|Script execution) timed out after [\d.]+ ?(seconds|ms)/;

/**
 * @param log - of a run that failed
 * @param bot - its settings in medplum.config.json
 * @param map - the text of the source map of the code that ran, where it is known
 * @returns undefined if the log has no error that is known
 */
export function explainRun(
  log: string,
  bot: BotSettings,
  map: string | undefined,
): FailureExplanation | undefined {
  const timeout = TIMED_OUT.exec(log)?.[0];
  if (timeout !== undefined) {
    return {
      summary: timeout,
      place: undefined,
      sourceLine: undefined,
      hint: timeoutHint(bot),
    };
  }
  const error = errorIn(log);
  if (!error) {
    return undefined;
  }
  const explanation = explainFailure({ error, sent: [], bot, map });
  return isForbidden(error) ? { ...explanation, hint: forbiddenHint(bot) } : explanation;
}

function errorIn(log: string): SandboxError | undefined {
  const start = log.lastIndexOf(UNHANDLED);
  if (start >= 0) {
    const text = log.slice(start + UNHANDLED.length);
    return outcomeError(text) ?? thrownError(text);
  }
  // An OperationOutcome that was thrown on awslambda, or an error on vmcontext without the line
  // above.
  const [, message] = /^Error (.+)$/m.exec(log) ?? [];
  return message === undefined ? undefined : newError('Error', message, message);
}

/** The client's errors are written as JSON, without a stack. */
function outcomeError(text: string): SandboxError | undefined {
  const [json = ''] = /^\{[\s\S]*?^\}/m.exec(text) ?? [];
  try {
    const { outcome } = JSON.parse(json) as { outcome?: OperationOutcome };
    const [issue] = outcome?.issue ?? [];
    const message = issue?.details?.text ?? issue?.diagnostics ?? issue?.code;
    return outcome && message !== undefined
      ? { name: 'OperationOutcomeError', message, stack: '', outcome }
      : undefined;
  } catch {
    return undefined;
  }
}

/** The message, and below it the stack, which begins with the name and the message again. */
function thrownError(text: string): SandboxError {
  const [message = '', ...rest] = text.split('\n');
  const stack = rest.join('\n');
  const name = /^(\w+): /.exec(stack)?.[1] ?? 'Error';
  return newError(name, message, stack);
}

function newError(name: string, message: string, stack: string): SandboxError {
  return { name, message, stack, outcome: { resourceType: 'OperationOutcome', issue: [] } };
}

function isForbidden({ message, outcome }: SandboxError): boolean {
  return (
    message === 'Forbidden' || outcome.issue?.some(({ code }) => code === 'forbidden') === true
  );
}

/** The log does not say which request it was. */
function forbiddenHint({ name, accessPolicy }: BotSettings): string {
  const what = accessPolicy
    ? `the accessPolicy of ${name} does not allow one of its requests`
    : `the access policy that ${name} has on the server does not allow one of its requests`;
  return (
    `${what}; the log of a deployed bot does not say which one. ` +
    `npm run bot -- ${name} --event <file> shows it`
  );
}
