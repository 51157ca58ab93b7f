// What all repositories of one local server share: its store, its settings, and its hooks.
import type { WithId } from '@medplum/core';
import type { Resource } from '@medplum/fhirtypes';
import type { Actor } from './access.ts';
import type { QuotaLimiter } from './quota.ts';
import type { ServerVersion } from './server-version.ts';
import type { StaleReads } from './stale-reads.ts';
import type { Store } from './store.ts';

export type Interaction = 'create' | 'update' | 'delete';

/** A write of a resource. After a deletion, `resource` is its last version. */
export interface Change {
  interaction: Interaction;
  resource: WithId<Resource>;
  previous?: WithId<Resource> | undefined;
  actor: Actor;
}

/** What all repositories of one server share. */
export interface ServerState {
  store: Store;
  /** With a slash at the end. */
  baseUrl: string;
  /** The server version to behave like. */
  version: ServerVersion;
  /** Asks the pre-commit bots: they may refuse by throwing, or return another resource. */
  beforeCommit(change: Change): Promise<unknown>;
  /** Tells what was written. */
  committed(change: Change): void;
  /** The last of the writers that wait for each other, by resource type. */
  queues: Map<string, Promise<unknown>>;
  /** Warns the user; each text is shown only once. */
  warn(text: string): void;
  /** Counts what each membership asks; absent where there is no quota. */
  quota?: QuotaLimiter | undefined;
  /** Imitates the read cache's fault; absent where that is not wanted. */
  staleReads?: StaleReads | undefined;
}
