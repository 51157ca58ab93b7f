// What makes bots run by themselves: subscriptions after a change, pre-commit bots before it, cron.
import type { WithId } from '@medplum/core';
import * as core from '@medplum/core';
import type { Bot, Project, Resource, Subscription } from '@medplum/fhirtypes';
import { Cron } from 'croner';
import { createHmac, randomUUID } from 'node:crypto';
import { LOCAL } from './local-project.ts';
import { runAsOf } from './bot-execution.ts';
import type { Bots } from './bot-execution.ts';
import type { Change, Interaction, World } from './repository.ts';

/** The real server looks at no more of a project's active subscriptions. */
const MOST_SUBSCRIPTIONS = 1000;
const EXTENSION = 'https://medplum.com/fhir/StructureDefinition';
const SECRET_EXTENSION = 'https://www.medplum.com/fhir/StructureDefinition/subscription-secret';

export interface Triggers {
  beforeCommit(change: Change): Promise<unknown>;
  committed(change: Change): void;
  /** Runs a bot as its schedule would. */
  runCron(bot: WithId<Bot>): Promise<void>;
  /** Resolves when no run that a subscription started goes on, and none is about to start. */
  settled(): Promise<void>;
  stop(): void;
}

/**
 * @param world - the server's resources
 * @param bots - runs them
 * @param present - a resource as clients see it
 * @param warn - hears of runs that silently do not happen
 * @param runSchedules - whether bots with a schedule run when it is time
 */
export function createTriggers(
  world: World,
  bots: Bots,
  present: <T>(resource: T) => T,
  warn: (text: string) => void,
  runSchedules: boolean,
): Triggers {
  const { store } = world;
  const pending = new Set<Promise<void>>();
  const schedules = new Map<string, { pattern: string; cron: Cron }>();
  const project = (): Project => store.latest('Project', LOCAL.projectId)!.resource as Project;

  const active = (preCommit: boolean): WithId<Subscription>[] => {
    const all = [...store.all('Subscription')].filter(({ deleted }) => !deleted);
    const subscriptions = all.map(({ resource }) => resource as WithId<Subscription>);
    const looked = subscriptions
      .filter(({ status }) => status === 'active')
      .slice(0, MOST_SUBSCRIPTIONS);
    return looked.filter(
      (one) => (core.getExtensionValue(one, `${EXTENSION}/pre-commit-bot`) === true) === preCommit,
    );
  };

  const matches = async (
    subscription: Subscription,
    change: Change,
    interaction: Interaction,
  ): Promise<boolean> => {
    const { resource, previous } = change;
    if (subscription.criteria.split('?')[0] !== resource.resourceType) return false;
    const getPreviousResource = async (): Promise<Resource | undefined> => previous;
    try {
      const context = { interaction };
      return await core.resourceMatchesSubscriptionCriteria({
        resource,
        subscription,
        context,
        getPreviousResource,
      });
    } catch {
      return false; // an expression that does not evaluate is not met
    }
  };

  const botOf = (subscription: Subscription): WithId<Bot> | undefined => {
    const [, id] = /^Bot\/(.+)$/.exec(subscription.channel.endpoint ?? '') ?? [];
    const latest = id ? store.latest('Bot', id) : undefined;
    return latest && !latest.deleted ? (latest.resource as WithId<Bot>) : undefined;
  };

  const notify = async (
    subscription: WithId<Subscription>,
    { interaction, resource }: Change,
  ): Promise<void> => {
    const current = store.latest('Subscription', subscription.id);
    if (!current || current.deleted || (current.resource as Subscription).status !== 'active')
      return;
    // An update is dropped where the resource has been deleted meanwhile.
    if (
      interaction !== 'delete' &&
      store.latest(resource.resourceType, resource.id)?.deleted !== false
    )
      return;
    const bot = botOf(subscription);
    if (!bot)
      return warn(
        `Subscription/${subscription.id} names ${subscription.channel.endpoint}, which is not there`,
      );
    const requester = resource.meta?.author;
    const runAs = runAsOf(world, bot, requester?.reference);
    if (!runAs) return warn(`Bot ${bot.name} did not run: it has no ProjectMembership`);
    const shown = present(resource);
    const input = interaction === 'delete' ? { deletedResource: shown } : shown;
    const traceId = randomUUID();
    const headers = hookHeaders(
      subscription,
      resource,
      interaction,
      JSON.stringify(input),
      traceId,
    );
    const contentType = core.ContentType.FHIR_JSON;
    // A bot that throws is not run again: there is one AuditEvent, and that is all.
    await bots.execute({
      bot,
      cause: 'subscription',
      runAs,
      requester,
      input,
      contentType,
      subscription,
      traceId,
      headers,
    });
  };

  const schedule = (bot: WithId<Bot>, deleted: boolean): void => {
    const pattern = !deleted && isSchedule(bot.cronString) ? bot.cronString : undefined;
    if (schedules.get(bot.id)?.pattern === pattern) return;
    schedules.get(bot.id)?.cron.stop();
    schedules.delete(bot.id);
    if (!runSchedules || !pattern || !project().features?.includes('cron')) return;
    const run = (): Promise<void> => runCron(store.latest('Bot', bot.id)!.resource as WithId<Bot>);
    schedules.set(bot.id, { pattern, cron: new Cron(pattern, { unref: true, catch: true }, run) });
  };

  const runCron = async (bot: WithId<Bot>): Promise<void> => {
    const runAs = runAsOf(world, bot);
    if (!runAs) return warn(`Bot ${bot.name} did not run: it has no ProjectMembership`);
    const contentType = core.ContentType.FHIR_JSON;
    await bots.execute({
      bot,
      cause: 'cron',
      runAs,
      input: present(bot),
      contentType,
      traceId: randomUUID(),
    });
  };

  return {
    // The server says "update" here on creates too.
    beforeCommit: async (change) => {
      const setting = project().setting?.find(
        ({ name }) => name === 'preCommitSubscriptionsEnabled',
      );
      if (!setting?.valueBoolean || change.resource.resourceType === 'AuditEvent') return undefined;
      const meta = { ...change.resource.meta, author: change.actor.author } as Resource['meta'];
      const resource = { ...change.resource, meta } as WithId<Resource>;
      const interaction = change.interaction === 'delete' ? 'delete' : 'update';
      for (const subscription of active(true)) {
        const bot = botOf(subscription);
        const runAs = bot && runAsOf(world, bot);
        if (
          !runAs ||
          !(await matches(subscription, { ...change, resource, previous: undefined }, interaction))
        )
          continue;
        const gone = { 'X-Medplum-Deleted-Resource': `${resource.resourceType}/${resource.id}` };
        const headers = interaction === 'delete' ? gone : {};
        const contentType = core.ContentType.FHIR_JSON;
        const request = {
          bot,
          cause: 'pre-commit' as const,
          runAs,
          input: resource,
          contentType,
          subscription,
          headers,
          traceId: randomUUID(),
        };
        const { success, value, log } = await bots.execute(request);
        if (!success)
          throw new core.OperationOutcomeError(core.normalizeOperationOutcome(value ?? log));
        return value; // only the first one that matches is asked
      }
      return undefined;
    },
    committed: (change) => {
      const { resource, interaction } = change;
      if (resource.resourceType === 'AuditEvent') return;
      if (resource.resourceType === 'Bot') schedule(resource, interaction === 'delete');
      for (const subscription of active(false)) {
        const run = matches(subscription, change, interaction)
          .then((met) => (met ? notify(subscription, change) : undefined))
          .catch((error: Error) => warn(`Subscription/${subscription.id}: ${error.message}`))
          .finally(() => pending.delete(run));
        pending.add(run);
      }
    },
    runCron,
    settled: async () => {
      while (pending.size > 0) {
        await Promise.all(pending);
      }
    },
    stop: () => schedules.forEach(({ cron }) => cron.stop()),
  };
}

function hookHeaders(
  { id, channel, extension }: WithId<Subscription>,
  resource: WithId<Resource>,
  interaction: Interaction,
  body: string,
  traceId: string,
): Record<string, string> {
  const headers: Record<string, string> = {
    'Content-Type': core.ContentType.FHIR_JSON,
    'X-Medplum-Subscription': id,
    'X-Medplum-Interaction': interaction,
  };
  if (interaction === 'delete')
    headers['X-Medplum-Deleted-Resource'] = `${resource.resourceType}/${resource.id}`;
  for (const line of channel.header ?? []) {
    const [name = '', value = ''] = line.split(':');
    headers[name.trim()] = value.trim();
  }
  const secret = extension?.find(({ url }) => url === SECRET_EXTENSION)?.valueString;
  if (secret) headers['X-Signature'] = createHmac('sha256', secret).update(body).digest('hex');
  return { ...headers, 'x-trace-id': traceId };
}

/** Five numeric fields; the server ignores every other string without a word. */
function isSchedule(text: string | undefined): text is string {
  if (!text || !/^([\d*,/-]+ ){4}[\d*,/-]+$/.test(text)) return false;
  try {
    return new Cron(text, { paused: true }).nextRun() !== null;
  } catch {
    return false;
  }
}
