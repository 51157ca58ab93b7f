// A Medplum server in memory, over HTTP on loopback: the parts of Medplum that deployments and bots
// use.
import { serve } from '@hono/node-server';
import type { WithId } from '@medplum/core';
import type { Bot } from '@medplum/fhirtypes';
import { Hono } from 'hono';
import type { Context, MiddlewareHandler } from 'hono';
import { html } from 'hono/html';
import { EventEmitter } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SYSTEM, findMembership } from './access.ts';
import { withSignedUrls } from './attachments.ts';
import { createBotExecution } from './bot-execution.ts';
import type { ExecuteRequest, ExecuteResult } from './execute-bot.ts';
import { BotRuns } from './bot-runs.ts';
import type { Run } from './bot-runs.ts';
import { loadDefinitions } from './definitions.ts';
import { sendError } from './http.ts';
import { LOCAL, initialResources } from './local-project.ts';
import type { ClientSecrets } from './local-project.ts';
import { Outbox } from './outbox.ts';
import { QuotaLimiter } from './quota.ts';
import { LocalRepository } from './repository.ts';
import type { Change, ServerState } from './server-state.ts';
import { addAdminRoutes } from './routes/admin.ts';
import { addBinaryRoutes } from './routes/binary.ts';
import { addBotRoutes } from './routes/bots.ts';
import type { RouteContext } from './routes/context.ts';
import { addEmailRoutes } from './routes/email.ts';
import { addFhirRoutes } from './routes/fhir.ts';
import { addPublicRoutes } from './routes/public.ts';
import { DEFAULT_VERSION, ServerVersion } from './server-version.ts';
import { StaleReads } from './stale-reads.ts';
import { StoreFiles } from './store-files.ts';
import { Store } from './store.ts';
import { runIdOf } from './tokens.ts';
import { createPreCommit } from './triggers/pre-commit.ts';
import { createScheduleTriggers } from './triggers/schedules.ts';
import { SelfTriggers } from './triggers/self-triggers.ts';
import { createSubscriptionTriggers } from './triggers/subscriptions.ts';
import { WorkerPool } from '../runtime/worker-pool.ts';
import type { BotRunner } from '../runtime/worker-pool.ts';

export interface MedplumServerOptions {
  /** 0 takes a free one. */
  port?: number;
  /** The project's secrets at the start. */
  secrets?: Record<string, string>;
  /** Features of the project beside `bots` and `cron`; `email` lets bots fill the outbox. */
  features?: string[];
  /** The Medplum version to behave like; 5.1.26 by default. */
  version?: string;
  /**
   * FHIR quota points a minute for each membership; a real server has 50,000. No quota by default.
   */
  quota?: number;
  /**
   * Imitate the fault of Medplum's read cache: deleted resources that come back when read by id.
   */
  staleCache?: boolean;
  /** Of the two clients of the project; if left out, those that tests know. */
  clientSecrets?: ClientSecrets;
  /** Where bots run; a pool of its own if left out, which ends with the server. */
  workers?: BotRunner;
  /** Whether bots with a schedule run when it is time; true if left out. */
  runSchedules?: boolean;
  /**
   * How often in a row a bot may start itself by what it writes, directly or through other bots.
   * The next event is dropped. No limit if left out, as on a real server.
   */
  selfTriggerLimit?: number | undefined;
  /** A folder that keeps what is stored for the next start; only in memory if left out. */
  persist?: string | undefined;
  /** Adds routes before the server's own. */
  extend?(app: Hono, server: MedplumServer): void;
}

export interface ServerEvents {
  /**
   * A run of a bot ended; `server.runs` also tells of those that started, and of their requests.
   */
  run: [Run];
  /** A resource was written. */
  change: [Change];
  /** A bot was stopped because of `selfTriggerLimit`; the text is for people. */
  selfTriggered: [string];
  /** Something did not happen that a user may expect, or works differently than it may seem. */
  warning: [string];
}

export interface MedplumServer {
  /** With a slash at the end. */
  baseUrl: string;
  /** The Medplum version that the server behaves like. */
  version: string;
  /** Whether there are resources of an earlier start (`persist`). */
  isRestored: boolean;
  /** All that is stored, seen by the server itself. */
  repository: LocalRepository;
  /** The bots' latest runs, with the requests that each sent to this server. */
  runs: BotRuns;
  /** E-mails that bots sent. */
  outbox: Outbox;
  events: EventEmitter<ServerEvents>;
  /** Runs a bot as its schedule would. */
  runCron(bot: WithId<Bot>): Promise<void>;
  /** Runs a bot on an event; it is remembered as every run is. */
  execute(request: ExecuteRequest): Promise<ExecuteResult>;
  /** Resolves when no run that a subscription started goes on, and none is about to start. */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * @returns the server, ready to answer
 * @throws the error of `listen` where the port is taken (`code` EADDRINUSE)
 * @throws UserError where the folder of `persist` cannot be used
 */
export async function startMedplumServer(
  options: MedplumServerOptions = {},
): Promise<MedplumServer> {
  const files = options.persist === undefined ? undefined : new StoreFiles(options.persist);
  try {
    return await startWithFiles(options, files);
  } catch (error) {
    files?.close();
    throw error;
  }
}

async function startWithFiles(
  options: MedplumServerOptions,
  files: StoreFiles | undefined,
): Promise<MedplumServer> {
  const store = new Store(files);
  const isRestored = store.latest('Project', LOCAL.projectId) !== undefined;
  const app = new Hono();
  const http = await listen(app, options.port ?? 0);
  const baseUrl = `http://localhost:${(http.address() as AddressInfo).port}/`;
  loadDefinitions();
  const events = new EventEmitter<ServerEvents>();
  const warn = once((text) => events.emit('warning', text));
  const state = createState(store, baseUrl, options, warn);
  const repository = new LocalRepository(state, SYSTEM);
  await prepareProject(repository, options);
  const ownWorkers = options.workers ? undefined : new WorkerPool();
  const runs = new BotRuns();
  runs.on('ended', (run) => events.emit('run', run));
  const outbox = new Outbox();
  const execute = createBotExecution(state, options.workers ?? ownWorkers!, runs);
  const present = <T>(value: T): T => JSON.parse(withSignedUrls(JSON.stringify(value), state)) as T;
  const selfTriggered = (text: string): void => {
    events.emit('selfTriggered', text);
  };
  const triggerContext = { state, execute, warn, present, selfTriggered };
  const selfTriggers = new SelfTriggers(runs, options.selfTriggerLimit);
  const subscriptions = createSubscriptionTriggers(triggerContext, selfTriggers);
  const schedules = createScheduleTriggers(triggerContext, options.runSchedules ?? true);
  schedules.start();
  state.beforeCommit = createPreCommit(triggerContext);
  state.committed = (change) => {
    if (change.resource.resourceType !== 'AuditEvent') {
      schedules.committed(change);
      subscriptions.committed(change);
    }
    events.emit('change', change);
  };
  const server: MedplumServer = {
    baseUrl,
    version: state.version.name,
    isRestored,
    repository,
    runs,
    outbox,
    events,
    execute,
    runCron: schedules.runCron,
    settled: subscriptions.settled,
    stop: async () => {
      schedules.stop();
      subscriptions.stop();
      http.closeAllConnections();
      await Promise.all([ownWorkers?.stop(), new Promise((resolve) => http.close(resolve))]);
      files?.close();
    },
  };
  app.use(sameOriginOnly);
  app.use(withCharset);
  app.use(requestRecorder(runs));
  options.extend?.(app, server);
  addRoutes(app, { state, execute, outbox, warn });
  return server;
}

function addRoutes(app: Hono, context: RouteContext): void {
  addPublicRoutes(app, context.state);
  addAdminRoutes(app, context);
  addEmailRoutes(app, context);
  addBinaryRoutes(app, context);
  addBotRoutes(app, context);
  addFhirRoutes(app, context);
  app.notFound((c) => c.html(html`<pre>Cannot ${c.req.method} ${c.req.path}</pre>`, 404));
  app.onError((error, c) => sendError(c, error));
}

/**
 * Creates the project and its clients, or brings what was kept of them up to date with the options.
 */
async function prepareProject(
  repository: LocalRepository,
  { secrets = {}, features, clientSecrets }: MedplumServerOptions,
): Promise<void> {
  const { store } = repository.state;
  for (const resource of initialResources(secrets, features, clientSecrets)) {
    const kept = store.latest(resource.resourceType, resource.id)?.resource;
    if (kept?.resourceType === 'Project' && resource.resourceType === 'Project') {
      const others = (kept.secret ?? []).filter(({ name }) => !(name in secrets));
      const secret = [...others, ...(resource.secret ?? [])];
      await repository.updateResource({ ...kept, features: resource.features, secret });
    } else if (
      resource.resourceType !== 'ProjectMembership' ||
      !findMembership(store, resource.profile.reference)
    ) {
      await repository.createResource(resource, { assignedId: true });
    }
  }
}

function createState(
  store: Store,
  baseUrl: string,
  { version: name = DEFAULT_VERSION, quota, staleCache }: MedplumServerOptions,
  warn: (text: string) => void,
): ServerState {
  const version = new ServerVersion(name);
  return {
    store,
    baseUrl,
    version,
    warn,
    queues: new Map(),
    quota: quota ? new QuotaLimiter(quota, !version.atLeast('5.1.28')) : undefined,
    staleReads: staleCache ? new StaleReads() : undefined,
    beforeCommit: async () => undefined,
    committed: () => undefined,
  };
}

/** How many different texts are remembered. */
const TEXTS_KEPT = 1000;

/** @returns a function that says each text once */
function once(say: (text: string) => void): (text: string) => void {
  const said = new Set<string>();
  return (text) => {
    if (!said.has(text) && said.size < TEXTS_KEPT) {
      said.add(text);
      say(text);
    }
  };
}

function listen(app: Hono, port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = serve({ fetch: app.fetch, port, hostname: '127.0.0.1' }, () =>
      resolve(server as Server),
    );
    server.once('error', reject);
  });
}

/**
 * Other sites in the same browser must not reach this server, also not under a name that points to
 * this machine.
 */
async function sameOriginOnly(c: Context, next: () => Promise<void>): Promise<Response | void> {
  const host = c.req.header('host') ?? '';
  const origin = c.req.header('origin');
  const local = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/.test(host);
  if (!local || (origin !== undefined && origin !== `http://${host}`)) {
    return c.text('This server answers only programs and pages of this machine', 403);
  }
  await next();
}

/** Express, which the real server is built on, names the charset of JSON. */
async function withCharset(c: Context, next: () => Promise<void>): Promise<void> {
  await next();
  if (c.res.headers.get('content-type') === 'application/json') {
    c.res.headers.set('content-type', 'application/json; charset=utf-8');
  }
}

/** Notes each request of a bot with the run that sent it. */
function requestRecorder(runs: BotRuns): MiddlewareHandler {
  return async (c, next) => {
    const startedAt = new Date();
    await next();
    const runId = runIdOf(c.req.header('authorization'));
    if (runId) {
      const { pathname, search } = new URL(c.req.url);
      runs.addRequest(runId, {
        method: c.req.method,
        path: pathname + search,
        status: c.res.status,
        startedAt,
        milliseconds: Date.now() - startedAt.getTime(),
      });
    }
  };
}
