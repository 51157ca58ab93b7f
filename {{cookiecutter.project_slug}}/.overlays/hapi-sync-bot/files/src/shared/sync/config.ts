// What is synced, and how: the file to change for other types, another server, or other rules.
import type { Resource } from '@medplum/fhirtypes';
import type { Secrets } from '../secrets.ts';
import { authorityIn } from './marks.ts';
import type { SyncedType } from './types.ts';

export interface SyncConfig {
  /**
   * The types to sync, in any order; src/shared/sync/types.ts lists the supported ones. A reference
   * to one of them stays a reference; any other becomes a logical reference (Reference.identifier).
   * `npm run build` says which subscriptions and access rights a new type needs in
   * medplum.config.json.
   */
  types: SyncedType[];
  /**
   * What happens on the target to a resource that was deleted, or that left the scope: `delete`, or
   * `deactivate`, which sets `active` to false (for types that have it).
   */
  onDelete: 'delete' | 'deactivate';
  /**
   * Which resources belong on the target; all, if it is left out. A subscription's criteria cannot
   * say this: when a resource stops matching them, no event is sent.
   */
  inScope?: (resource: Resource) => boolean;
  /**
   * How long the sync bot keeps trying while the target is down, in milliseconds: 1,200 make three
   * tries. A bot that waits holds one of the 20 workers that run the bots of all projects; the
   * reconciler repairs what was missed.
   */
  retryForMs: number;
  /**
   * How often the reconciler compares everything instead of what changed, in hours; only on
   * request, if it is left out. It finds what was changed on the target, and what was expunged on
   * Medplum.
   */
  fullRunEveryHours?: number;
  /**
   * The base URI of the marks that the sync leaves on the target. Two Medplum projects on one
   * target need two.
   */
  authority: string;
}

/**
 * Returns the configuration of this Medplum project.
 *
 * @param secrets - `event.secrets`. The optional `HAPI_SOURCE_SYSTEM` replaces
 *   `https://medplum.com` in the marks, for several projects that sync to the same server.
 * @returns The configuration.
 * @example const config = syncConfig(event.secrets);
 */
export function syncConfig(secrets: Secrets): SyncConfig {
  return {
    types: ['Patient'],
    onDelete: 'delete',
    retryForMs: 1_200,
    authority: authorityIn(secrets),
  };
}
