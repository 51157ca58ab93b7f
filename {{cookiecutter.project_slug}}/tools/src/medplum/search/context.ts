// What the parts of a search share: the store, and the rights of the caller.
import type { Filter } from '@medplum/core';
import type { Store } from '../store.ts';
import type { Condition } from './conditions.ts';

/** What a filter may look at beside the resource itself. */
export interface FilterContext {
  store: Store;
  /** @throws OperationOutcomeError where the caller may not search the type */
  assertSearch(type: string): void;
  /** @returns a filter on resources of a type as a condition; for filters within filters */
  condition(type: string, filter: Filter): Condition;
  /** Warns the user; each text is shown only once. */
  warn(text: string): void;
}
