// The routes about bots: what is configured, what is deployed, and running one.
import type { WithId } from '@medplum/core';
import { getExtensionValue, resolveId } from '@medplum/core';
import type {
  AccessPolicy,
  Bot,
  Extension,
  Project,
  ProjectMembership,
  Subscription,
} from '@medplum/fhirtypes';
import { Hono } from 'hono';
import { readFileSync } from 'node:fs';
import type { Manifest } from '../bundling/manifest.ts';
import { loadConfig } from '../config/config.ts';
import type { BotConfig } from '../config/config.ts';
import { nextRunOf } from '../config/cron-pattern.ts';
import { findMembership } from '../medplum/access.ts';
import { LOCAL } from '../medplum/local-project.ts';
import type { MedplumServer } from '../medplum/server.ts';
import { scheduleOf } from '../medplum/triggers/bot-schedule.ts';
import { UserError } from '../terminal/user-error.ts';
import type {
  BotEventText,
  BotList,
  BotView,
  ScheduleView,
  SubscriptionView,
} from './api-types.ts';
import { PageError } from './page-error.ts';
import { readJson } from './resources-api.ts';
import { sendEvent } from './run-bot.ts';
import { toSummary } from './run-views.ts';
import { saveEvent } from './sample-files.ts';
import { living } from './store-view.ts';

const INTERACTION_EXTENSION =
  'https://medplum.com/fhir/StructureDefinition/subscription-supported-interaction';
const ALL_INTERACTIONS = ['create', 'update', 'delete'];

export function botsApi(server: MedplumServer): Hono {
  const api = new Hono();
  const { store } = server.repository.state;

  api.get('/', (c) => c.json(listBots(server)));
  api.post('/:id/send', async (c) => {
    const event = (await readJson(c)) as BotEventText;
    return c.json({ id: await sendEvent(server, c.req.param('id'), event) });
  });
  api.post('/:id/cron', async (c) => {
    const latest = store.latest('Bot', c.req.param('id'));
    if (!latest || latest.deleted) {
      throw new PageError(404, 'This bot is not deployed any more.');
    }
    await server.runCron(latest.resource as WithId<Bot>);
    return c.json({});
  });
  return api;
}

/** The route that writes a file in tests/events. */
export function sampleEventsApi(): Hono {
  const api = new Hono();
  api.post('/', async (c) => {
    const body = (await readJson(c)) as { name?: string; event?: unknown; replace?: boolean };
    return c.json({ path: saveEvent(body.name ?? '', body.event, body.replace === true) });
  });
  return api;
}

function listBots(server: MedplumServer): BotList {
  const { configured, problem } = readConfig();
  const { store } = server.repository.state;
  const deployed = living<Bot>(store, 'Bot');
  const names = new Set([
    ...configured.map(({ name }) => name),
    ...deployed.map((bot) => bot.name ?? bot.id),
  ]);
  const manifest = readManifest();
  const bots = [...names].toSorted().map((name) => {
    const config = configured.find((bot) => bot.name === name);
    const bot = deployed.find((candidate) => (candidate.name ?? candidate.id) === name);
    return toView(server, name, config, bot, manifest);
  });
  return { bots, problem };
}

function toView(
  server: MedplumServer,
  name: string,
  config: BotConfig | undefined,
  bot: WithId<Bot> | undefined,
  manifest: Manifest['bots'],
): BotView {
  const { store } = server.repository.state;
  const project = store.latest('Project', LOCAL.projectId)!.resource as Project;
  const present = new Set((project.secret ?? []).map((secret) => secret.name));
  const membership = bot && findMembership(store, `Bot/${bot.id}`);
  const runs = server.runs.list().filter((run) => (run.bot.name ?? run.bot.id) === name);
  const info = manifest[name];
  return {
    name,
    id: bot?.id,
    description: bot?.description ?? config?.description,
    source: config?.source,
    runtime: bot?.runtimeVersion ?? config?.runtimeVersion,
    timeoutSeconds: bot?.timeout ?? config?.timeout,
    schedules: schedulesOf(bot, config),
    subscriptions: bot ? subscriptionsOf(server, bot) : configuredSubscriptions(config),
    secrets: (config?.secrets ?? []).map((secret) => {
      return { ...secret, present: present.has(secret.name) };
    }),
    policy: membership ? policyOf(server, membership) : configuredPolicy(config),
    hasMembership: bot === undefined || bot.runAsUser === true || membership !== undefined,
    code: bot?.executableCode?.title,
    deployedAt: bot?.meta?.lastUpdated,
    shared: Object.entries(info?.shared ?? {}).map(([path, { bytes }]) => ({ path, bytes })),
    bytes: info?.bytes,
    runs: {
      total: runs.length,
      failed: runs.filter(({ state }) => state === 'failed').length,
      running: runs.filter(({ state }) => state === 'running').length,
    },
    lastRun: runs[0] && toSummary(runs[0]),
  };
}

function subscriptionsOf(server: MedplumServer, bot: WithId<Bot>): SubscriptionView[] {
  return living<Subscription>(server.repository.state.store, 'Subscription')
    .filter(({ channel }) => channel.endpoint === `Bot/${bot.id}`)
    .map((subscription) => ({
      id: subscription.id,
      criteria: subscription.criteria,
      interactions: interactionsOf(subscription),
      active: subscription.status === 'active',
    }));
}

function interactionsOf(subscription: Subscription): string[] {
  const values = (subscription.extension ?? [])
    .filter((extension: Extension) => extension.url === INTERACTION_EXTENSION)
    .flatMap((extension) => extension.valueCode ?? []);
  const single = getExtensionValue(subscription, INTERACTION_EXTENSION);
  if (values.length === 0 && single === undefined) {
    return ALL_INTERACTIONS;
  }
  return values;
}

function configuredSubscriptions(config: BotConfig | undefined): SubscriptionView[] {
  return (config?.subscriptions ?? []).map(({ criteria, interactions }, index) => {
    return { id: String(index), criteria, interactions, active: false };
  });
}

function policyOf(
  { repository }: MedplumServer,
  { accessPolicy, access }: ProjectMembership,
): BotView['policy'] {
  const references = [accessPolicy, ...(access ?? []).map(({ policy }) => policy)].filter(
    (reference) => reference !== undefined,
  );
  if (references.length === 0) {
    return undefined;
  }
  return references.flatMap((reference) => {
    const latest = repository.state.store.latest('AccessPolicy', resolveId(reference) ?? '');
    const policy = latest?.resource as AccessPolicy | undefined;
    return (policy?.resource ?? []).map(({ resourceType, readonly, criteria }) => {
      return { resourceType, readonly: readonly === true, criteria };
    });
  });
}

function configuredPolicy(config: BotConfig | undefined): BotView['policy'] {
  const policy = config?.accessPolicy;
  if (!policy) {
    return undefined;
  }
  if (policy.kind === 'existing') {
    return []; // It is on the server; which rights it gives is known when the bot is deployed.
  }
  return policy.resources.map(({ resourceType, readonly, criteria }) => {
    return { resourceType, readonly: readonly === true, criteria };
  });
}

/** @returns the bots of medplum.config.json, or why it cannot be read */
function readConfig(): { configured: BotConfig[]; problem: string | undefined } {
  try {
    return { configured: loadConfig(undefined, 'local').bots, problem: undefined };
  } catch (error) {
    if (error instanceof UserError) {
      return { configured: [], problem: error.message };
    }
    throw error;
  }
}

function readManifest(): Manifest['bots'] {
  try {
    return (JSON.parse(readFileSync('dist/manifest.json', 'utf8')) as Manifest).bots;
  } catch {
    return {}; // Nothing was built in this repository.
  }
}

/** The schedule of the bot itself, and those of its Cron resources. */
function schedulesOf(bot: Bot | undefined, config: BotConfig | undefined): ScheduleView[] {
  const configured = { cronString: config?.cron, cronTiming: config?.cronTiming } as Bot;
  const pattern = scheduleOf(bot ?? configured);
  const own = pattern === undefined ? [] : [pattern];
  const jobs = config?.cronJobs ?? [];
  return [
    ...own.map((text) => ({
      name: undefined,
      pattern: text,
      nextRun: bot && nextRunOf(text)?.toISOString(),
      problem: undefined,
    })),
    ...jobs.map(({ name, cron, active }) => ({
      name,
      pattern: cron,
      nextRun: undefined,
      problem: active ? 'needs Medplum 5.2; not run locally' : 'switched off',
    })),
  ];
}
