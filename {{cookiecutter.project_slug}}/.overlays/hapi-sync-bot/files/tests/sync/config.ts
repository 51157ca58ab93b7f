// The configuration of the tests: their own, so that changing the repository's configuration breaks
// none of them.
import type { SyncConfig } from '../../src/shared/sync/index.ts';

/** What the marks of the tests begin with. */
export const AUTHORITY = 'https://medplum.com';

/** @returns A configuration for patients alone; `changes` replaces parts of it. */
export function testConfig(changes: Partial<SyncConfig> = {}): SyncConfig {
  return {
    types: ['Patient'],
    onDelete: 'delete',
    retryForMs: 1_200,
    authority: AUTHORITY,
    ...changes,
  };
}
