// The stored resources by the bot they belong to, so that a plan of many bots looks at each
// resource once.
import type { AccessPolicy, Cron, ProjectMembership, Subscription } from '@medplum/fhirtypes';
import type { Actual } from './actual.ts';
import { tagOf } from './identity.ts';
import type { Stored } from './stored.ts';

export interface OwnerIndex {
  /** By key, such as `staging/hapi-sync-bot`; subscriptions and crons, too. */
  policies: ReadonlyMap<string, Stored<AccessPolicy>[]>;
  subscriptions: ReadonlyMap<string, Stored<Subscription>[]>;
  /** Subscriptions that this repository did not make. */
  foreignSubscriptions: readonly Stored<Subscription>[];
  crons: ReadonlyMap<string, Stored<Cron>[]>;
  /** By the reference to the bot, such as `Bot/<id>`. */
  memberships: ReadonlyMap<string, Stored<ProjectMembership>[]>;
}

/**
 * The tags that say whose a resource is; its code is `<environment>/<bot>` or
 * `<environment>/<bot>/<part>`.
 */
export type OwnerTag = 'policy' | 'subscription' | 'cron';

export function indexByOwner(actual: Actual, system: string): OwnerIndex {
  const ownerOf = (resource: Stored, tag: OwnerTag): string | undefined =>
    ownerKey(tagOf(resource, `${system}/${tag}`));
  return {
    policies: groupBy(actual.policies ?? [], (policy) => ownerOf(policy, 'policy')),
    subscriptions: groupBy(actual.subscriptions, (subscription) =>
      ownerOf(subscription, 'subscription'),
    ),
    foreignSubscriptions: actual.subscriptions.filter(
      (subscription) => !ownerOf(subscription, 'subscription'),
    ),
    crons: groupBy(actual.crons ?? [], (cron) => ownerOf(cron, 'cron')),
    memberships: groupBy(actual.memberships ?? [], ({ profile }) => profile.reference),
  };
}

/** `staging/hapi-sync-bot/0` -> `staging/hapi-sync-bot` */
function ownerKey(code: string | undefined): string | undefined {
  return code?.split('/', 2).join('/');
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string | undefined): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    if (key !== undefined) {
      const group = groups.get(key) ?? [];
      group.push(item);
      groups.set(key, group);
    }
  }
  return groups;
}

/** What belongs to a bot under any of its names. */
export function ownedBy<T>(index: ReadonlyMap<string, T[]>, keys: readonly string[]): T[] {
  return [...new Set(keys)].flatMap((key) => index.get(key) ?? []);
}
