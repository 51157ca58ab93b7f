// Subscriptions: bots that run after a resource was created, updated or deleted.
import type { WithId } from '@medplum/core';
import * as core from '@medplum/core';
import type { Bot, Resource, Subscription } from '@medplum/fhirtypes';
import { createHmac, randomUUID } from 'node:crypto';
import { runAsOf } from '../bot-execution.ts';
import type { ExecuteBot } from '../execute-bot.ts';
import type { SelfTriggers } from './self-triggers.ts';
import { evaluateWithLimit } from '../fhirpath.ts';
import type { Change, Interaction, ServerState } from '../server-state.ts';

/** The real server looks at no more of a project's active subscriptions. */
const MOST_SUBSCRIPTIONS = 1000;
const EXTENSION = 'https://medplum.com/fhir/StructureDefinition';
const SECRET_EXTENSIONS = [
  'https://www.medplum.com/fhir/StructureDefinition/subscription-secret',
  'https://www.medplum.com/fhir/StructureDefinition-subscriptionSecret',
];
/** Runs that fail for a reason other than the bot are repeated after 20 s, 40 s, 80 s … */
const FIRST_RETRY_MILLISECONDS = 20_000;
const DEFAULT_ATTEMPTS = 4;

/** A bot that runs so often for one resource within the window probably triggers itself. */
const LOOP_RUNS = 10;
const LOOP_WINDOW_MILLISECONDS = 10_000;

export interface SubscriptionTriggers {
  committed(change: Change): void;
  /** Resolves when no run goes on, and none is about to start; retries do not count. */
  settled(): Promise<void>;
  stop(): void;
}

export interface TriggerContext {
  state: ServerState;
  execute: ExecuteBot;
  /** Warns the user; each text is shown only once. */
  warn(text: string): void;
  /** Tells that a bot was stopped which starts itself again and again. */
  selfTriggered(text: string): void;
  /** A resource as clients see it. */
  present<T>(resource: T): T;
}

/** @param selfTriggers - which events are dropped, because the bot starts itself again and again */
export function createSubscriptionTriggers(
  context: TriggerContext,
  selfTriggers: SelfTriggers,
): SubscriptionTriggers {
  const { state, execute, warn, present } = context;
  const timers = new Set<NodeJS.Timeout>();
  const pending = new Set<Promise<void>>();
  const loops = new LoopDetector();

  const notify = async (
    subscription: WithId<Subscription>,
    change: Change,
    attempt: number,
  ): Promise<void> => {
    const { interaction, resource } = change;
    if (!isStillWanted(state, subscription, change, attempt)) {
      return;
    }
    const bot = botOf(state, subscription);
    if (!bot) {
      return;
    }
    const requester = resource.meta?.author;
    const runAs = runAsOf(state, bot, requester?.reference);
    if (!runAs) {
      warn(`Bot ${bot.name} did not run: it has no ProjectMembership`);
      return;
    }
    const earlierRuns = selfTriggers.earlierRuns(change);
    if (selfTriggers.isTooMany(bot, earlierRuns)) {
      context.selfTriggered(selfTriggerMessage(bot, resource, selfTriggers.limit));
      return;
    }
    if (selfTriggers.limit === undefined && loops.isLoop(bot, resource)) {
      warn(loopWarning(bot, resource));
    }
    const shown = present(resource);
    const input = interaction === 'delete' ? { deletedResource: shown } : shown;
    const traceId = randomUUID();
    const headers = hookHeaders(subscription, change, JSON.stringify(input), traceId);
    const contentType = core.ContentType.FHIR_JSON;
    try {
      // A bot that throws is not run again: there is one AuditEvent, and that is all.
      await execute({
        bot,
        cause: 'subscription',
        runAs,
        requester,
        input,
        contentType,
        subscription,
        traceId,
        headers,
        earlierRuns,
      });
    } catch (error) {
      retry(bot, subscription, change, attempt, error);
    }
  };

  const retry = (
    bot: Bot,
    subscription: WithId<Subscription>,
    change: Change,
    attempt: number,
    error: unknown,
  ): void => {
    const reason = core.normalizeErrorString(error);
    if (attempt + 1 >= attemptsOf(subscription)) {
      return;
    }
    const delay = FIRST_RETRY_MILLISECONDS * 2 ** attempt;
    warn(
      `Bot ${bot.name} ran, but its AuditEvent could not be written (${reason}). ` +
        `As on Medplum it runs again in ${delay / 1000} s, and writes again: ` +
        'remove control characters from what it logs.',
    );
    const timer = setTimeout(() => {
      timers.delete(timer);
      void notify(subscription, change, attempt + 1);
    }, delay);
    timer.unref();
    timers.add(timer);
  };

  return {
    committed: (change) => {
      if (change.resource.resourceType === 'Subscription') {
        warnAboutSubscription(context, change.resource);
      }
      for (const subscription of activeSubscriptions(state, false)) {
        const run = matchesSubscription(subscription, change, change.interaction)
          .then((met) => (met ? notify(subscription, change, 0) : undefined))
          .catch((error: Error) => warn(`Subscription/${subscription.id}: ${error.message}`))
          .finally(() => pending.delete(run));
        pending.add(run);
      }
    },
    settled: async () => {
      while (pending.size > 0) {
        await Promise.all(pending);
      }
    },
    stop: () => timers.forEach((timer) => clearTimeout(timer)),
  };
}

function selfTriggerMessage(
  bot: Bot,
  { resourceType, id }: Resource,
  limit: number | undefined,
): string {
  return (
    `Bot ${bot.name} was stopped: it started itself ${limit} times in a row ` +
    `by what it writes, the last time with ${resourceType}/${id}. ` +
    'Write only where something changes, or narrow the criteria of its subscription. ' +
    'Medplum does not stop such a bot.'
  );
}

function loopWarning(bot: Bot, { resourceType, id }: Resource): string {
  return (
    `Bot ${bot.name} ran ${LOOP_RUNS} times within ${LOOP_WINDOW_MILLISECONDS / 1000} s ` +
    `for ${resourceType}/${id}: it seems to change what triggers it. ` +
    'Medplum does not stop that.'
  );
}

/** @param preCommit - whether those that run before the commit are wanted, or all others */
export function activeSubscriptions(
  state: ServerState,
  preCommit: boolean,
): WithId<Subscription>[] {
  const looked: WithId<Subscription>[] = [];
  for (const subscription of state.store.living<Subscription>('Subscription')) {
    if (looked.length >= MOST_SUBSCRIPTIONS) {
      break;
    }
    if (subscription.status === 'active') {
      looked.push(subscription);
    }
  }
  return looked.filter((subscription) => isPreCommit(subscription) === preCommit);
}

function isPreCommit(subscription: Subscription): boolean {
  return core.getExtensionValue(subscription, `${EXTENSION}/pre-commit-bot`) === true;
}

export async function matchesSubscription(
  subscription: Subscription,
  { resource, previous }: Change,
  interaction: Interaction,
): Promise<boolean> {
  if (subscription.criteria.split('?')[0] !== resource.resourceType) {
    return false;
  }
  try {
    tryExpression(subscription, resource, previous);
    return await core.resourceMatchesSubscriptionCriteria({
      resource,
      subscription,
      context: { interaction },
      getPreviousResource: async () => previous,
    });
  } catch {
    return false; // an expression that cannot be evaluated is not met
  }
}

/**
 * Evaluates the subscription's FHIRPath once with a limit on its time, before @medplum/core does
 * without one.
 *
 * @throws Error where it takes too long, or cannot be evaluated
 */
function tryExpression(
  subscription: Subscription,
  resource: Resource,
  previous: Resource | undefined,
): void {
  const url = `${EXTENSION}/fhir-path-criteria-expression`;
  const expression = core.getExtension(subscription, url)?.valueString;
  if (expression) {
    const current = core.toTypedValue(resource);
    evaluateWithLimit(expression, current, {
      '%current': current,
      '%previous': core.toTypedValue(previous ?? {}),
    });
  }
}

/** Off, deleted, or overtaken: an update is dropped where the resource has been deleted since. */
function isStillWanted(
  { store }: ServerState,
  subscription: WithId<Subscription>,
  { interaction, resource }: Change,
  attempt: number,
): boolean {
  const current = store.latest('Subscription', subscription.id);
  if (!current || current.deleted) {
    return false;
  }
  const { status, channel } = current.resource as Subscription;
  if (status !== 'active' || channel.type !== 'rest-hook') {
    return false;
  }
  if (interaction === 'delete') {
    return true;
  }
  const latest = store.latest(resource.resourceType, resource.id);
  const isCurrent = latest?.resource.meta?.versionId === resource.meta?.versionId;
  return latest?.deleted === false && (attempt === 0 || isCurrent);
}

export function botOf({ store }: ServerState, subscription: Subscription): WithId<Bot> | undefined {
  const [, id] = /^Bot\/(.+)$/.exec(subscription.channel.endpoint ?? '') ?? [];
  const latest = id ? store.latest('Bot', id) : undefined;
  return latest && !latest.deleted ? (latest.resource as WithId<Bot>) : undefined;
}

function attemptsOf(subscription: Subscription): number {
  const url = `${EXTENSION}/subscription-max-attempts`;
  return core.getExtension(subscription, url)?.valueInteger ?? DEFAULT_ATTEMPTS;
}

/** Warns about what a real server accepts without a message, and never carries out. */
function warnAboutSubscription({ state, warn }: TriggerContext, resource: Resource): void {
  const subscription = resource as WithId<Subscription>;
  const { criteria, channel, status, id } = subscription;
  if (status !== 'active') {
    return;
  }
  const name = `Subscription/${id}`;
  if (channel.type !== 'rest-hook') {
    warn(`${name} has the channel type ${channel.type}: Medplum runs bots for rest-hook only`);
    return;
  }
  const { endpoint = '' } = channel;
  if (!endpoint.startsWith('Bot/')) {
    warn(`${name} names ${endpoint}: the local server runs bots only and sends no rest-hooks`);
  } else if (!botOf(state, subscription)) {
    warn(`${name} names ${endpoint}, which does not exist`);
  }
  const problem = unmatchedParameter(criteria);
  if (problem) {
    warn(`${name} never fires: Medplum's subscriptions do not know "${problem}" in ${criteria}`);
  }
}

/** @returns a parameter of the criteria that no resource can match, such as a chain */
function unmatchedParameter(criteria: string): string | undefined {
  const [type = ''] = criteria.split('?');
  if (!core.isResourceType(type)) {
    return undefined;
  }
  try {
    const { filters = [] } = core.parseSearchRequest(criteria);
    return filters.find(({ code }) => !core.getSearchParameter(type, code))?.code;
  } catch {
    return undefined;
  }
}

function hookHeaders(
  { id, channel, extension }: WithId<Subscription>,
  { interaction, resource }: Change,
  body: string,
  traceId: string,
): Record<string, string> {
  const headers: Record<string, string> = {
    'Content-Type': core.ContentType.FHIR_JSON,
    'X-Medplum-Subscription': id,
    'X-Medplum-Interaction': interaction,
  };
  if (interaction === 'delete') {
    headers['X-Medplum-Deleted-Resource'] = `${resource.resourceType}/${resource.id}`;
  }
  for (const line of channel.header ?? []) {
    const [name = '', value = ''] = line.split(':');
    headers[name.trim()] = value.trim();
  }
  const secret = extension?.find(({ url }) => SECRET_EXTENSIONS.includes(url))?.valueString;
  if (secret) {
    headers['X-Signature'] = createHmac('sha256', secret).update(body).digest('hex');
  }
  return { ...headers, 'x-trace-id': traceId };
}

/** Counts the runs of each bot for each resource in the latest seconds. */
class LoopDetector {
  private readonly runs = new Map<string, number[]>();

  isLoop(bot: WithId<Bot>, { resourceType, id }: WithId<Resource>): boolean {
    const key = `${bot.id} ${resourceType}/${id}`;
    const since = Date.now() - LOOP_WINDOW_MILLISECONDS;
    const recent = (this.runs.get(key) ?? []).filter((time) => time > since);
    recent.push(Date.now());
    this.runs.set(key, recent);
    if (this.runs.size > MOST_SUBSCRIPTIONS) {
      this.runs.delete(this.runs.keys().next().value!);
    }
    return recent.length >= LOOP_RUNS;
  }
}
