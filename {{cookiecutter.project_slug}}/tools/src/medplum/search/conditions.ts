// Conditions on resources with SQL's three values, as the real server's database evaluates them.
import * as core from '@medplum/core';
import type { WithId } from '@medplum/core';
import type { Resource } from '@medplum/fhirtypes';

/** `undefined` is SQL's NULL: neither true nor false, and its negation is NULL again. */
export type Truth = boolean | undefined;

export type Condition = (resource: WithId<Resource>) => Truth;

export function not(condition: Condition): Condition {
  return (resource) => {
    const truth = condition(resource);
    return truth === undefined ? undefined : !truth;
  };
}

export function allOf(conditions: Condition[]): Condition {
  return (resource) => {
    let result: Truth = true;
    for (const condition of conditions) {
      const truth = condition(resource);
      if (truth === false) {
        return false;
      }
      result = truth === undefined ? undefined : result;
    }
    return result;
  };
}

export function anyOf(conditions: Condition[]): Condition {
  return (resource) => {
    let result: Truth = false;
    for (const condition of conditions) {
      const truth = condition(resource);
      if (truth === true) {
        return true;
      }
      result = truth === undefined ? undefined : result;
    }
    return result;
  };
}

export function isNegation(operator: core.Operator): boolean {
  return operator === core.Operator.NOT || operator === core.Operator.NOT_EQUALS;
}

/** @throws OperationOutcomeError (400) with this text */
export function refuse(text: string): never {
  throw new core.OperationOutcomeError(core.badRequest(text));
}

/** Refuses `:in` and `:not-in`, which the real server has for no kind of parameter. */
export function refuseSets({ operator, code }: core.Filter): void {
  if (operator === core.Operator.IN || operator === core.Operator.NOT_IN) {
    throw new core.OperationOutcomeError(core.invalidSearchOperator(operator, code));
  }
}
