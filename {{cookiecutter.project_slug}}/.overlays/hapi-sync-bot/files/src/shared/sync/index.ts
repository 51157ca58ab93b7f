// The entry of the sync: what bots and tests import. The other modules of this folder are internal.
export { checkTarget } from './check-target.ts';
export type { TargetCheck } from './check-target.ts';
export { syncConfig } from './config.ts';
export type { SyncConfig } from './config.ts';
export { SyncError } from './errors.ts';
export type { SyncErrorCode } from './errors.ts';
export { sync } from './sync.ts';
export type { SyncOptions, SyncResult } from './sync.ts';
export type { SyncContext } from './target.ts';
export type { SyncedType } from './types.ts';
