// The plan's part on what belongs to a bot: its access policy, membership and subscriptions, and what outlives it.
import type { Resource, Subscription } from '@medplum/fhirtypes';
import { isDeepStrictEqual } from 'node:util';
import { differences, nameIn, ownBots, tagOf, withTags } from './actual.ts';
import type { Actual, Stored } from './actual.ts';
import type { Desired, DesiredBot } from './desired.ts';
import type { Change } from './plan.ts';
import type { Fields } from './server.ts';

/** Nothing to be done so far. */
export function emptyChange(name: string): Change {
  return { name, action: 'unchanged', reasons: [], warnings: [], subscriptions: [], removals: [] };
}

/** The policy of its own, and the membership that carries it: without one, subscriptions never run a bot. */
export function planRights(
  system: string,
  bot: DesiredBot,
  actual: Actual,
  change: Change,
  prune: boolean,
): void {
  // Only a project admin sees either.
  if (!actual.policies || !actual.memberships) return;
  const keys = [bot.key, ...bot.previousKeys];
  const policyTag = `${system}/policy`;
  const policy = actual.policies.find((one) => keys.includes(tagOf(one, policyTag) ?? ''));
  const reference = change.existing && `Bot/${change.existing.id}`;
  const member = actual.memberships.find(
    ({ profile }) => reference && profile.reference === reference,
  );
  const attached = policy && member?.accessPolicy?.reference === `AccessPolicy/${policy.id}`;
  if (bot.policy) {
    const tags = withTags(policy, policyTag, [bot.key]);
    const fields = differences(policy, { name: bot.key, resource: bot.policy, 'meta.tag': tags });
    change.policy = { existing: policy, fields };
    if (Object.keys(fields).length > 0 || !attached)
      change.reasons.push(
        `access policy (${!policy ? 'new' : attached ? 'changed' : 'not attached'})`,
      );
  } else if (policy) {
    change.reasons.push(
      `access policy (no longer in medplum.config.json${prune ? '' : '; --prune removes it'})`,
    );
    if (prune) change.removals.push(policy);
  }
  const wanted =
    bot.policy && !attached ? 'attach' : !bot.policy && attached && prune ? 'detach' : 'keep';
  if (!member && change.existing)
    change.reasons.push('membership (missing: no event would run it)');
  if (!member || wanted !== 'keep') change.membership = { existing: member, policy: wanted };
}

/**
 * Subscriptions have no identifier, so a tag `<environment>/<bot>/<number>` says whose they are. What is the same stays;
 * what is left of both sides is paired and replaced in place, so that changed criteria never leave the old ones behind.
 *
 * @param change - gets the reasons, the writes, with `prune` the removals, and warnings of those that are nobody's here
 */
export function planSubscriptions(
  sys: string,
  bot: DesiredBot,
  actual: Actual,
  change: Change,
  prune: boolean,
): void {
  const tagSystem = `${sys}/subscription`;
  const keys = [bot.key, ...bot.previousKeys];
  const endpoint = change.existing && `Bot/${change.existing.id}`;
  const keyOf = (one: Subscription) => tagOf(one, tagSystem)?.replace(/\/\d+$/, '');
  const all = actual.subscriptions;
  const ours = new Set(all.filter((one) => keys.includes(keyOf(one) ?? '')));
  const others = new Set(
    all.filter((one) => endpoint && !keyOf(one) && one.channel?.endpoint === endpoint),
  );
  const numbers = new Set([...ours].map((one) => tagOf(one, tagSystem)));

  const take = (from: Set<Stored<Subscription>>, fits: (one: Subscription) => boolean) => {
    const found = [...from].find(fits);
    if (found) from.delete(found);
    return found;
  };
  const write = (wanted: Subscription, existing: Stored<Subscription> | undefined): void => {
    let tag = existing && tagOf(existing, tagSystem);
    if (!tag?.startsWith(`${bot.key}/`)) {
      let number = 0;
      while (numbers.has(`${bot.key}/${number}`)) number++;
      tag = `${bot.key}/${number}`;
    }
    numbers.add(tag);
    const { resourceType, ...members } = wanted;
    const channel = { ...wanted.channel, ...(endpoint && { endpoint }) };
    const tags = withTags(existing, tagSystem, [tag]);
    const fields = differences(existing, {
      extension: undefined,
      ...members,
      channel,
      'meta.tag': tags,
    });
    if (Object.keys(fields).length === 0) return;
    change.subscriptions.push({ existing, fields });
    if (change.existing) change.reasons.push(`subscription (${why(existing, wanted, fields)})`);
  };

  const left = bot.subscriptions.filter((wanted) => {
    const existing =
      take(ours, (one) => isSame(one, wanted)) ?? take(others, (one) => isSame(one, wanted));
    if (existing) write(wanted, existing);
    return !existing;
  });
  const any = (): boolean => true;
  for (const wanted of left) write(wanted, take(ours, any));
  for (const one of ours) {
    change.reasons.push(
      `subscription (no longer wanted: ${describe(one)}${prune ? '' : '; --prune removes it'})`,
    );
    if (prune) change.removals.push(one);
  }
  for (const one of others) {
    if (one.status !== 'active') continue;
    const what = `Subscription/${one.id} (${describe(one)})`;
    change.warnings.push(`${bot.name}: ${what} starts it too, and is not of this repository.`);
  }
}

/** Whether both fire on the same events. */
function isSame(one: Subscription, wanted: Subscription): boolean {
  return one.criteria === wanted.criteria && isDeepStrictEqual(one.extension, wanted.extension);
}

/** `Patient, create` */
function describe({ criteria, extension }: Subscription): string {
  const interactions = (extension ?? []).flatMap(({ valueCode }) => valueCode ?? []);
  return [criteria, ...interactions].join(', ');
}

function why(existing: Subscription | undefined, wanted: Subscription, fields: Fields): string {
  if (!existing) return `new: ${describe(wanted)}`;
  if ('criteria' in fields || 'extension' in fields)
    return `${describe(existing)} -> ${describe(wanted)}`;
  if (existing.status !== 'active') return `switched on again: ${describe(wanted)}`;
  if (!existing.meta?.tag) return `adopted: ${describe(wanted)}`;
  const members = Object.keys(fields).filter(
    (member) => member !== 'meta.tag' && member !== 'reason',
  );
  return members.length > 0
    ? `${describe(wanted)}: ${members.join(', ')} changed`
    : `named anew: ${describe(wanted)}`;
}

/** What is on the server of bots that the configuration no longer has. */
export function planOrphans(
  desired: Desired,
  actual: Actual,
  changes: Change[],
  prune: boolean,
): Change[] {
  const { system, environment } = desired;
  const previous = (of: Change[]): string[] =>
    of.flatMap((change) => change.desired?.previousKeys.map(nameIn) ?? []);
  // Of a bot that is blocked nobody knows which of those with a previous name it is.
  const names = [
    ...desired.names,
    ...previous(changes.filter(({ action }) => action === 'blocked')),
  ];
  const known = [...names, ...previous(changes)];
  const taken = new Set(changes.flatMap(({ existing }) => existing?.id ?? []));
  const own = ownBots(actual.bots, system, environment);
  const gone = own.filter(({ name, bot }) => !taken.has(bot.id) && !names.includes(name));
  const ofGone = (reference = ''): string | undefined =>
    gone.find(({ bot }) => reference === `Bot/${bot.id}`)?.name;
  const ofTag = (tag: string | undefined): string | undefined => {
    const name = tag?.startsWith(`${environment}/`) ? nameIn(tag) : undefined;
    return name && (gone.some((one) => one.name === name) || !known.includes(name))
      ? name
      : undefined;
  };
  const left: { name: string | undefined; resource: Stored<Resource> }[] = [
    ...actual.subscriptions.map((resource) => {
      const tag = tagOf(resource, `${system}/subscription`);
      return { name: tag ? ofTag(tag) : ofGone(resource.channel?.endpoint), resource };
    }),
    ...(actual.memberships ?? []).map((resource) => ({
      name: ofGone(resource.profile.reference),
      resource,
    })),
    ...(actual.policies ?? []).map((resource) => ({
      name: ofTag(tagOf(resource, `${system}/policy`)),
      resource,
    })),
    // The Bot last: while it is there, a removal that was interrupted is found and finished by the next run.
    ...gone.map(({ name, bot }) => ({ name, resource: bot })),
  ];
  return [...new Set(left.flatMap(({ name }) => name ?? []))].map((name) => {
    const removals = left.filter((one) => one.name === name).map(({ resource }) => resource);
    const what = removals.map(({ resourceType }) => resourceType).join(', ');
    const identifiers = gone
      .filter((one) => one.name === name)
      .flatMap(({ bot }) => bot.identifier ?? []);
    const other = identifiers.find(
      (one) => one.system !== system || one.value !== `${environment}/${name}`,
    );
    const kept = other
      ? `it is ${other.system}|${other.value} too, and stays: take our identifier from it in the Medplum app`
      : !actual.memberships && 'only a project admin can remove it';
    const action = prune && !kept ? 'remove' : 'orphan';
    const cure = kept || (prune ? '' : '--prune removes it');
    const reasons = [`no longer in medplum.config.json (${what})${cure && `; ${cure}`}`];
    return { ...emptyChange(name), action, reasons, removals };
  });
}
