// Bots of this repository that are on the server and no longer in medplum.config.json. They keep
// running: a plan says so, and `--prune` removes them with everything that belongs to them.
import type { Bot, Resource, Subscription } from '@medplum/fhirtypes';
import type { Actual } from './actual.ts';
import type { Desired } from './desired.ts';
import type { Code } from './bundle-code.ts';
import { keyOf, nameInKey, ownBots, tagOf, tagsOf } from './identity.ts';
import type { OwnBot } from './identity.ts';
import { policyTag } from './kinds/access-policy.ts';
import { cronTag } from './kinds/cron.ts';
import { REMOVE_ORDER } from './kinds/kind.ts';
import type { PlanOptions } from './kinds/kind.ts';
import { startsBot, subscriptionTag, triggerOf } from './kinds/subscription.ts';
import type { Change } from './change.ts';
import type { Removal, Trigger } from './reasons.ts';
import type { Stored } from './stored.ts';

/** What is left of one bot, in the order in which it is removed. */
interface Remains {
  name: string;
  bots: Stored<Bot>[];
  resources: Stored[];
}

/**
 * @param changes - what is planned for the bots of the configuration
 * @returns one change for each bot of which something is left
 */
export function planOrphans(
  desired: Desired,
  actual: Actual,
  changes: readonly Change[],
  options: PlanOptions,
): Change[] {
  return findRemains(desired, actual, changes).map((remains): Change => {
    const removal = removalOf(remains, desired, actual, options);
    const active = remains.resources.filter(isActiveSubscription);
    const steps = remains.resources.map((existing) => {
      return { type: 'remove', order: REMOVE_ORDER, existing } as const;
    });
    const isRemoved = removal.type === 'removed';
    return {
      name: remains.name,
      action: isRemoved ? 'remove' : 'orphan',
      reasons: [
        {
          type: 'not-configured',
          resourceTypes: remains.resources.map(({ resourceType }) => resourceType),
          triggers: active.map(triggerOf),
          cron: remains.bots[0]?.cronString,
          removal,
          renamedTo: findRenamed(remains, desired.system, changes),
        },
      ],
      steps: isRemoved ? steps : [],
      existing: remains.bots[0],
    };
  });
}

function findRemains(
  { system, environment, names }: Desired,
  actual: Actual,
  changes: readonly Change[],
): Remains[] {
  // Of a bot that is blocked, it is not known which Bot with a previous name it is.
  const isBlocked = ({ action }: Change): boolean => action === 'blocked';
  const kept = new Set([...names, ...previousNames(changes.filter(isBlocked))]);
  const known = new Set([...kept, ...previousNames(changes)]);
  const used = new Set(changes.flatMap(({ existing }) => existing?.id ?? []));
  const gone = ownBots(actual.bots, system, environment).filter(
    ({ name, bot }) => !used.has(bot.id) && !kept.has(name),
  );
  const nameOfTag = (tag: string | undefined): string | undefined => {
    if (!tag?.startsWith(`${environment}/`)) {
      return undefined;
    }
    const name = nameInKey(tag);
    const isGone = gone.some((own) => own.name === name);
    return isGone || !known.has(name) ? name : undefined;
  };
  const nameOfSubscription = (subscription: Stored<Subscription>): string | undefined => {
    const tag = tagOf(subscription, subscriptionTag(system));
    return tag ? nameOfTag(tag) : gone.find(({ bot }) => startsBot(subscription, bot))?.name;
  };
  const left: { name: string | undefined; resource: Stored }[] = [
    ...actual.subscriptions.map((resource) => ({ name: nameOfSubscription(resource), resource })),
    ...(actual.memberships ?? []).map((resource) => {
      return { name: nameOfReference(resource.profile.reference, gone), resource };
    }),
    ...(actual.policies ?? []).map((resource) => {
      return { name: nameOfTag(tagOf(resource, policyTag(system))), resource };
    }),
    ...(actual.crons ?? []).map((resource) => {
      return { name: nameOfTag(tagOf(resource, cronTag(system))), resource };
    }),
    // The Bot last: while it is there, the next run finds and finishes a removal that was
    // interrupted.
    ...gone.map(({ name, bot }) => ({ name, resource: bot })),
  ];
  const allNames = new Set(left.flatMap(({ name }) => name ?? []));
  return [...allNames].map((name) => ({
    name,
    bots: gone.filter((own) => own.name === name).map(({ bot }) => bot),
    resources: left.filter((item) => item.name === name).map(({ resource }) => resource),
  }));
}

function previousNames(changes: readonly Change[]): string[] {
  return changes.flatMap(({ desired }) => desired?.previousKeys.map(nameInKey) ?? []);
}

function nameOfReference(
  reference: string | undefined,
  bots: readonly OwnBot[],
): string | undefined {
  return bots.find(({ bot }) => reference === `Bot/${bot.id}`)?.name;
}

function removalOf(
  { name, bots }: Remains,
  { system, environment }: Desired,
  actual: Actual,
  { prune }: PlanOptions,
): Removal {
  const identifiers = bots.flatMap((bot) => bot.identifier ?? []);
  const foreign = identifiers.find(
    (identifier) => identifier.system !== system || identifier.value !== keyOf(environment, name),
  );
  if (foreign) {
    return { type: 'shared', identifier: `${foreign.system}|${foreign.value}` };
  }
  if (!actual.memberships) {
    return { type: 'needs-admin' };
  }
  return { type: prune ? 'removed' : 'prune' };
}

/**
 * A bot that would be created with the same code and the same triggers is this one under another
 * name.
 */
function findRenamed(
  { bots, resources }: Remains,
  system: string,
  changes: readonly Change[],
): string | undefined {
  const triggers = asSet(resources.filter(isActiveSubscription).map(triggerOf));
  const renamed = changes.find(({ action, desired }) => {
    const hasCode =
      action === 'new' && desired && bots.some((bot) => hasSameCode(bot, desired.code, system));
    return (
      hasCode &&
      asSet(desired.subscriptions.map(({ resource }) => triggerOf(resource))) === triggers
    );
  });
  return renamed?.name;
}

/**
 * The bundle of a renamed bot is another one, as it contains the name of the bot's file; its parts
 * are the same.
 */
function hasSameCode(bot: Bot, code: Code, system: string): boolean {
  if (tagOf(bot, `${system}/deployed`) === code.sha256) {
    return true;
  }
  const deployed = ingredients(tagsOf(bot, `${system}/shared`), tagsOf(bot, `${system}/source`));
  return deployed === ingredients([...code.shared.values()], [...code.source.values()]);
}

/** The shared modules, and the hashes of the bot's own source without its name. */
function ingredients(shared: readonly string[], source: readonly string[]): string {
  const hashes = source.map((version) => version.split('@').at(-1) ?? '');
  return [...shared, ...hashes].toSorted().join(' ');
}

/** The same text for the same triggers in any order. */
function asSet(triggers: readonly Trigger[]): string {
  return JSON.stringify(triggers.map((trigger) => JSON.stringify(trigger)).toSorted());
}

function isActiveSubscription(resource: Resource): resource is Stored<Subscription> {
  return resource.resourceType === 'Subscription' && resource.status === 'active';
}
