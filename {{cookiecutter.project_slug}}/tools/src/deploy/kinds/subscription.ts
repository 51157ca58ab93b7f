// The Subscriptions: which events run a bot. They have no identifier, so a tag
// `<environment>/<bot>/<number>` says whose they are. One whose criteria change is replaced in
// place, so that the old criteria never stay behind.
import type { Bot, Extension, Subscription } from '@medplum/fhirtypes';
import { isDeepStrictEqual } from 'node:util';
import { SUBSCRIPTION_SECRET } from '../desired-bot.ts';
import type { DesiredSubscription } from '../desired-bot.ts';
import { tagOf, withTags } from '../identity.ts';
import { linkTo, token } from '../links.ts';
import { ownedBy } from '../owner-index.ts';
import type { Reason, Trigger } from '../reasons.ts';
import { differences } from '../stored.ts';
import type { Fields, Stored } from '../stored.ts';
import type { Kind, Pair, Subject } from './kind.ts';

export const subscriptionKind: Kind<Subscription> = {
  resourceType: 'Subscription',
  order: 5,
  needsDeploy: [],

  obstacle(subject) {
    const { bot, actual, options } = subject;
    if (options.forAdmin || actual.project) {
      return undefined;
    }
    const secrets = bot.subscriptions
      .filter((wanted) => wanted.secret !== undefined && !signatureOf(wanted, subject))
      .map(({ secret }) => secret ?? '');
    return secrets.length > 0
      ? { type: 'signature-needs-admin', secrets: [...new Set(secrets)] }
      : undefined;
  },

  desired(subject) {
    const { bot, existing } = subject;
    const endpoint = existing ? `Bot/${existing.id}` : linkTo('Bot', bot.key);
    return bot.subscriptions.map((subscription) => {
      const { resourceType: _, ...members } = subscription.resource;
      const signature = signatureOf(subscription, subject);
      return {
        end: undefined,
        ...members,
        extension: signature ? [...(members.extension ?? []), signature] : members.extension,
        channel: { ...members.channel, endpoint },
      };
    });
  },

  find({ index, keys }) {
    return ownedBy(index.subscriptions, keys);
  },

  findAdoptable({ index, existing }) {
    return existing
      ? index.foreignSubscriptions.filter((subscription) => startsBot(subscription, existing))
      : [];
  },

  isSame(stored, wanted) {
    const hasCriteria = stored.criteria === wanted['criteria'];
    return hasCriteria && isDeepStrictEqual(stored.extension, wanted['extension']);
  },

  compare(subject, pair, pairs) {
    const { wanted, stored } = pair;
    const tag = tagFor(subject, pair, pairs);
    const isOff = stored !== undefined && stored.status !== 'active';
    const fields = differences(stored, {
      ...wanted,
      'meta.tag': withTags(stored, subscriptionTag(subject.system), [tag]),
      ...(isOff && { error: undefined }),
    });
    if (Object.keys(fields).length === 0) {
      return { fields, reasons: [] };
    }
    // Of a new bot, everything is new.
    return { fields, reasons: subject.existing ? [whyWritten(pair, fields)] : [] };
  },

  createQuery({ system }, fields) {
    const tags = fields['meta.tag'] as { system: string; code: string }[];
    const tag = tags.find((candidate) => candidate.system === subscriptionTag(system));
    return `_tag=${token(subscriptionTag(system), tag?.code ?? '')}`;
  },

  unwanted({ options }, stored) {
    return {
      type: 'subscription-unwanted',
      trigger: triggerOf(stored),
      removed: options.prune,
    };
  },

  warnings({ bot }, others) {
    return others
      .filter(({ status }) => status === 'active')
      .map((subscription) => ({
        type: 'foreign-subscription',
        bot: bot.name,
        id: subscription.id,
        trigger: triggerOf(subscription),
      }));
  },
};

/**
 * The value of a project secret, as a Subscription holds it to sign its requests. Without the
 * rights of an admin the secret cannot be read: then a subscription that is stored already keeps
 * what it has.
 */
function signatureOf(
  { resource, secret }: DesiredSubscription,
  { actual, index, keys }: Subject,
): Extension | undefined {
  if (secret === undefined) {
    return undefined;
  }
  if (actual.project) {
    const valueString = actual.project.secret?.find(({ name }) => name === secret)?.valueString;
    return valueString === undefined ? undefined : { url: SUBSCRIPTION_SECRET, valueString };
  }
  const isSignature = ({ url }: Extension): boolean => url === SUBSCRIPTION_SECRET;
  const stored = ownedBy(index.subscriptions, keys).find(({ criteria, extension = [] }) => {
    const others = extension.filter((candidate) => !isSignature(candidate));
    return criteria === resource.criteria && isDeepStrictEqual(others, resource.extension ?? []);
  });
  return stored?.extension?.find(isSignature);
}

/** The system of the tag that says whose subscription it is. */
export function subscriptionTag(system: string): string {
  return `${system}/subscription`;
}

/** Whether a subscription names this bot, by its id or by one of its identifiers. */
export function startsBot({ channel }: Subscription, bot: Stored<Bot>): boolean {
  const endpoint = channel?.endpoint ?? '';
  if (endpoint === `Bot/${bot.id}`) {
    return true;
  }
  const wanted = identifierInEndpoint(endpoint);
  return (bot.identifier ?? []).some(({ system, value }) => `${system}|${value}` === wanted);
}

/**
 * `Bot?identifier=system|value` -> `system|value`. Medplum stores such an endpoint, and never runs
 * the bot for it.
 */
export function identifierInEndpoint(endpoint: string): string | undefined {
  if (!endpoint.startsWith('Bot?')) {
    return undefined;
  }
  return new URLSearchParams(endpoint.slice('Bot?'.length)).get('identifier') ?? undefined;
}

/** What a subscription reacts to, for people. */
export function triggerOf({ criteria, extension = [] }: Partial<Subscription>): Trigger {
  const interactions = extension.flatMap(({ valueCode }) => valueCode ?? []);
  return { criteria: criteria ?? '', interactions };
}

/** A stored subscription keeps its number; others take the first that are free. */
function tagFor(
  { bot, keys, index, system }: Subject,
  pair: Pair<Subscription>,
  pairs: readonly Pair<Subscription>[],
): string {
  const isNumbered = ({ stored }: Pair<Subscription>): boolean =>
    tagOf(stored, subscriptionTag(system))?.startsWith(`${bot.key}/`) === true;
  if (isNumbered(pair)) {
    return tagOf(pair.stored, subscriptionTag(system)) ?? '';
  }
  const owned = ownedBy(index.subscriptions, keys);
  const used = new Set(owned.map((stored) => tagOf(stored, subscriptionTag(system))));
  const withoutNumber = pairs.filter((other) => !isNumbered(other));
  const candidates = Array.from(
    { length: used.size + pairs.length },
    (_, number) => `${bot.key}/${number}`,
  );
  const free = candidates.filter((tag) => !used.has(tag));
  return free[withoutNumber.indexOf(pair)] ?? '';
}

function whyWritten({ wanted, stored }: Pair<Subscription>, fields: Fields): Reason {
  const trigger = triggerOf(wanted);
  if (!stored) {
    return { type: 'subscription-new', trigger };
  }
  if (!isDeepStrictEqual(triggerOf(stored), trigger)) {
    return { type: 'subscription-replaced', from: triggerOf(stored), to: trigger };
  }
  if (stored.status !== 'active') {
    return { type: 'subscription-off', trigger, error: stored.error };
  }
  if (!stored.meta?.tag) {
    return { type: 'subscription-adopted', trigger };
  }
  const members = Object.keys(fields).filter(
    (member) => member !== 'meta.tag' && member !== 'reason',
  );
  return members.length > 0
    ? { type: 'subscription-changed', trigger, members }
    : { type: 'subscription-renamed', trigger };
}
