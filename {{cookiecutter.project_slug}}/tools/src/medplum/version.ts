// One version of a stored resource.
import type { WithId } from '@medplum/core';
import type { Resource } from '@medplum/fhirtypes';

/** A tombstone's resource has only type, id and meta. */
export interface Version {
  resource: WithId<Resource>;
  deleted: boolean;
  /** Counts all writes: orders versions of the same millisecond. */
  order: number;
}
