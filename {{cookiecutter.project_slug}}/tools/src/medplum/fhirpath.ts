// FHIRPath expressions from policies and subscriptions, with a limit on the time each may take.
import * as core from '@medplum/core';
import type { TypedValue } from '@medplum/core';
import { createContext, runInContext } from 'node:vm';

const LIMIT_MILLISECONDS = 1000;

const context = createContext({ run: undefined as unknown });

/**
 * Ends what blocks the server for more than a second, such as `matches()` with an expression that
 * backtracks without end. On the real server it blocks everyone.
 *
 * @throws Error with the code ERR_SCRIPT_EXECUTION_TIMEOUT
 */
function withTimeLimit<T>(run: () => T): T {
  context['run'] = run;
  return runInContext('run()', context, { timeout: LIMIT_MILLISECONDS }) as T;
}

/** @throws Error where the expression cannot be read, fails, or takes too long */
export function evaluateWithLimit(
  expression: string,
  value: TypedValue,
  variables: Record<string, TypedValue>,
): TypedValue[] {
  return withTimeLimit(() => core.evalFhirPathTyped(expression, [value], variables));
}
