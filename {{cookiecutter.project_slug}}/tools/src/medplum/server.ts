// A Medplum server in memory, over HTTP on loopback: what deployments and bots meet of Medplum 5.1.26.
import { serve } from '@hono/node-server';
import type { WithId } from '@medplum/core';
import type { Binary, Bot } from '@medplum/fhirtypes';
import { Hono } from 'hono';
import type { Context, MiddlewareHandler } from 'hono';
import { EventEmitter } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as access from './access.ts';
import { initialResources } from './local-project.ts';
import { createBots } from './bot-execution.ts';
import { BotRuns } from './bot-runs.ts';
import type { Run } from './bot-runs.ts';
import { addRoutes } from './routes.ts';
import { presigned, send, sendError } from './http.ts';
import { LocalRepository } from './repository.ts';
import type { Change, World } from './repository.ts';
import { WorkerPool } from '../runtime/worker-pool.ts';
import type { BotRunner } from '../runtime/worker-pool.ts';
import { loadDefinitions } from './search.ts';
import { Store } from './store.ts';
import { createTriggers } from './subscriptions.ts';

export interface MedplumServerOptions {
  /** 0: a free one. */
  port?: number;
  /** The project's secrets at the start. */
  secrets?: Record<string, string>;
  /** Where bots run; a pool of its own if left out, which ends with the server. */
  workers?: BotRunner;
  /** Whether bots with a schedule run when it is time; true if left out. */
  runSchedules?: boolean;
  /** Adds routes of one's own before the server's. */
  extend?(app: Hono, server: MedplumServer): void;
}

export interface ServerEvents {
  /** A run of a bot ended; `server.runs` also tells of those that started, and of their requests. */
  run: [Run];
  /** A resource was written. */
  change: [Change];
  /** Something did not happen that a user may expect, or works differently than it may seem. */
  warning: [string];
}

export interface MedplumServer {
  /** With a slash at the end. */
  baseUrl: string;
  /** All that is stored, seen by the server itself. */
  repository: LocalRepository;
  /** The bots' latest runs, with the requests that each sent to this server. */
  runs: BotRuns;
  events: EventEmitter<ServerEvents>;
  /** Runs a bot as its schedule would. */
  runCron(bot: WithId<Bot>): Promise<void>;
  /** Resolves when no run that a subscription started goes on, and none is about to start. */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * @returns the server, ready to answer
 * @throws the error of `listen` where the port is taken (`code` EADDRINUSE)
 */
export async function startMedplumServer(
  options: MedplumServerOptions = {},
): Promise<MedplumServer> {
  const app = new Hono();
  const http = await listen(app, options.port ?? 0);
  const baseUrl = `http://localhost:${(http.address() as AddressInfo).port}/`;
  loadDefinitions();
  const events: MedplumServer['events'] = new EventEmitter();
  const store = new Store();
  const world: World = {
    store,
    baseUrl,
    queues: new Map(),
    beforeCommit: async () => undefined,
    committed: () => undefined,
  };
  const repository = new LocalRepository(world, access.SYSTEM);
  for (const one of initialResources(options.secrets ?? {})) {
    await repository.createResource(one, { assignedId: true });
  }
  const ownWorkers = options.workers ? undefined : new WorkerPool();
  const runs = new BotRuns();
  runs.on('ended', (run) => events.emit('run', run));
  const bots = createBots(world, options.workers ?? ownWorkers!, runs);
  const present = <T>(value: T): T => JSON.parse(presigned(JSON.stringify(value), world)) as T;
  const triggers = createTriggers(
    world,
    bots,
    present,
    (text) => events.emit('warning', text),
    options.runSchedules ?? true,
  );
  world.beforeCommit = triggers.beforeCommit;
  world.committed = (change) => {
    triggers.committed(change);
    events.emit('change', change);
  };
  const server: MedplumServer = {
    baseUrl,
    repository,
    runs,
    events,
    runCron: triggers.runCron,
    settled: triggers.settled,
    stop: async () => {
      triggers.stop();
      http.closeAllConnections();
      await Promise.all([ownWorkers?.stop(), new Promise((resolve) => http.close(resolve))]);
    },
  };
  app.use(sameOriginOnly);
  app.use(requestRecorder(runs));
  options.extend?.(app, server);
  addPublicRoutes(app, world);
  addRoutes(app, world, bots);
  app.notFound((c) => c.text(`Cannot ${c.req.method} ${c.req.path}`, 404));
  app.onError((error, c) => sendError(c, error));
  return server;
}

function listen(app: Hono, port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = serve({ fetch: app.fetch, port, hostname: '127.0.0.1' }, () =>
      resolve(server as Server),
    );
    server.once('error', reject);
  });
}

/** Other sites in the same browser must not reach this server, also not under a name that points to this machine. */
async function sameOriginOnly(c: Context, next: () => Promise<void>): Promise<Response | void> {
  const host = c.req.header('host') ?? '';
  const origin = c.req.header('origin');
  const local = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/.test(host);
  if (!local || (origin !== undefined && origin !== `http://${host}`)) {
    return c.text('This server answers only programs and pages of this machine', 403);
  }
  await next();
}

/** Notes each request of a bot with the run that sent it. */
function requestRecorder(runs: BotRuns): MiddlewareHandler {
  return async (c, next) => {
    const startedAt = new Date();
    await next();
    const runId = access.runIdOf(c.req.header('authorization'));
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

function addPublicRoutes(app: Hono, world: World): void {
  const { store, baseUrl } = world;
  app.get('/healthcheck', (c) =>
    c.json({ ok: true, version: 'local', platform: process.platform, runtime: process.version }),
  );
  app.get('/storage/:id/:version', (c) => {
    const { id, version } = c.req.param();
    const { Expires = '', Signature = '' } = c.req.query();
    const proof = access.signature(`${id}/${version}/${Expires}`);
    const content = store.contents.get(id);
    if (!content || !access.sameSecret(proof, Signature) || Number(Expires) < Date.now())
      return c.text('Unauthorized', 401);
    return send(c, content, 200, (store.latest('Binary', id)!.resource as Binary).contentType);
  });
  app.post('/oauth2/token', async (c) => {
    if (!c.req.header('content-type')?.startsWith('application/x-www-form-urlencoded')) {
      return c.text('Unsupported content type', 400);
    }
    const form = new URLSearchParams(await c.req.text());
    const [basicId, basicSecret] = access.basicCredentials(c.req.header('authorization'));
    const id = basicId ?? form.get('client_id') ?? '';
    const secret = basicSecret ?? form.get('client_secret') ?? '';
    const refuse = (error_description: string): Response =>
      c.json({ error: 'invalid_request', error_description }, 400);
    if (!form.get('grant_type')) return refuse('Missing grant_type');
    if (form.get('grant_type') !== 'client_credentials') return refuse('Unsupported grant_type');
    if (!id) return refuse('Missing client_id');
    if (!secret) return refuse('Missing client_secret');
    if (store.latest('ClientApplication', id)?.deleted !== false) return refuse('Invalid client');
    const membership = access.checkClient(store, id, secret);
    if (!membership) return refuse('Invalid secret');
    const token = access.issueToken(membership, baseUrl);
    return c.json({
      ...{
        token_type: 'Bearer',
        expires_in: access.TOKEN_SECONDS,
        scope: 'openid',
        id_token: token,
        access_token: token,
      },
      ...{ project: membership.project, profile: membership.profile },
      ...{
        smart_style_url: `${baseUrl}fhir/R4/.well-known/smart-styles.json`,
        need_patient_banner: false,
      },
    });
  });
  app.get('/fhir/R4/metadata', (c) => {
    const software = { name: 'Medplum' };
    return c.json({
      resourceType: 'CapabilityStatement',
      status: 'active',
      kind: 'instance',
      fhirVersion: '4.0.1',
      software,
    });
  });
}
