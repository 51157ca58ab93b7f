// A Medplum server in memory, over HTTP on loopback: what deployments and bots meet of Medplum 5.1.26.
import { serve } from '@hono/node-server';
import type { WithId } from '@medplum/core';
import * as core from '@medplum/core';
import { FhirRouter } from '@medplum/fhir-router';
import type { FhirRequest } from '@medplum/fhir-router';
import type { Binary, Bot, OperationOutcome, Project, Resource } from '@medplum/fhirtypes';
import { Hono } from 'hono';
import type { Context } from 'hono';
import { EventEmitter } from 'node:events';
import type { Server } from 'node:http';
import { randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { UserError } from '../cli.ts';
import * as access from './access.ts';
import { createBots, runAsOf, tracing } from './bots.ts';
import type { Run } from './bots.ts';
import { LocalRepository } from './repository.ts';
import type { Change, World } from './repository.ts';
import { startBotThreads } from './run-bot.ts';
import { loadDefinitions } from './search.ts';
import { Store } from './store.ts';
import { createTriggers } from './subscriptions.ts';

/** Of JSON; Binary takes more. */
const MAX_BODY_BYTES = 1024 * 1024;
const PRESIGNED_SECONDS = 3600;

export interface MedplumServerOptions {
  /** 0: a free one. */
  port?: number;
  /** The project's secrets at the start. */
  secrets?: Record<string, string>;
  /** Adds routes of one's own before the server's. */
  extend?(app: Hono, server: MedplumServer): void;
}

export interface MedplumServer {
  /** With a slash at the end. */
  baseUrl: string;
  /** All that is stored, seen by the server itself. */
  repository: LocalRepository;
  /** `run` (Run), `change` (Change), `warning` (string). */
  events: EventEmitter<{ run: [Run]; change: [Change]; warning: [string] }>;
  /** Runs a bot as its schedule would. */
  runCron(bot: WithId<Bot>): Promise<void>;
  stop(): Promise<void>;
}

/**
 * @returns the server, ready to answer
 * @throws UserError where the port is taken
 */
export async function startMedplumServer(options: MedplumServerOptions = {}): Promise<MedplumServer> {
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
  for (const one of access.initialResources(options.secrets ?? {})) {
    await repository.createResource(one, { assignedId: true });
  }
  const threads = startBotThreads();
  const bots = createBots(world, threads, (run) => events.emit('run', run));
  const present = <T>(value: T): T => JSON.parse(presigned(JSON.stringify(value), world)) as T;
  const triggers = createTriggers(world, bots, present, (text) => events.emit('warning', text));
  world.beforeCommit = triggers.beforeCommit;
  world.committed = (change) => {
    triggers.committed(change);
    events.emit('change', change);
  };
  const server: MedplumServer = {
    baseUrl,
    repository,
    events,
    runCron: triggers.runCron,
    stop: async () => {
      triggers.stop();
      http.closeAllConnections();
      await Promise.all([threads.stop(), new Promise((resolve) => http.close(resolve))]);
    },
  };
  app.use(sameOriginOnly);
  options.extend?.(app, server);
  addPublicRoutes(app, world);
  addFhirRoutes(app, world, bots);
  app.notFound((c) => c.text(`Cannot ${c.req.method} ${c.req.path}`, 404));
  app.onError((error, c) => sendError(c, error));
  return server;
}

function listen(app: Hono, port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = serve({ fetch: app.fetch, port, hostname: '127.0.0.1' }, () => resolve(server as Server));
    server.on('error', (error: NodeJS.ErrnoException) => {
      const taken = `Port ${port} is taken: stop what uses it, or choose another (-- --port 0 takes a free one).`;
      reject(error.code === 'EADDRINUSE' ? new UserError(taken) : error);
    });
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
    return send(c, content, 200, (store.latest('Binary', id)?.resource as Binary).contentType);
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
      ...{ smart_style_url: `${baseUrl}fhir/R4/.well-known/smart-styles.json`, need_patient_banner: false },
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

function addFhirRoutes(app: Hono, world: World, bots: ReturnType<typeof createBots>): void {
  const { store } = world;
  const router = new FhirRouter({ introspectionEnabled: true });
  router.add('POST', 'Bot/:id/$deploy', (request, repo) => bots.deploy(request, repo as LocalRepository));
  router.add('POST', ':resourceType/$validate', async ({ body }) => {
    core.validateResource(body as Resource);
    return [core.allOk];
  });
  router.add('POST', ':resourceType/:id/$expunge', async ({ params }, repo) => {
    (repo as LocalRepository).expunge(params['resourceType']!, params['id']!);
    return [core.allOk];
  });

  const login = (c: Context): LocalRepository => {
    const actor = access.authenticate(store, c.req.header('authorization'));
    const scheme = c.req.header('authorization')?.split(' ')[0] ?? 'Bearer';
    c.header('WWW-Authenticate', actor ? undefined : `${scheme} realm="${world.baseUrl}"`);
    if (!actor) throw new core.OperationOutcomeError(core.unauthorized);
    return new LocalRepository(world, actor, c.req.header('x-medplum') === 'extended');
  };
  const asAdmin = (c: Context): LocalRepository => {
    const repo = login(c);
    if (!repo.actor.admin) throw new core.OperationOutcomeError(core.forbidden);
    return repo;
  };
  const project = (): WithId<Project> => store.latest('Project', access.LOCAL.projectId)!.resource as WithId<Project>;

  app.get('/auth/me', (c) => {
    const { author, membership } = login(c).actor;
    const { id, name, features, strictMode } = project();
    const { user, profile, admin } = membership!;
    const [type = '', profileId = ''] = author.reference!.split('/');
    return sendJson(c, world, 200, {
      project: { resourceType: 'Project', id, name, features, strictMode },
      membership: { resourceType: 'ProjectMembership', id: membership!.id, user, profile, admin },
      profile: store.latest(type, profileId)?.resource,
    });
  });
  // The project of the path is not looked at, as on the real server: it is always the caller's own.
  app.get('/admin/projects/:id', (c) => {
    asAdmin(c);
    const { id, name, setting, secret } = project();
    return c.json({ project: { id, name, setting, secret } });
  });
  app.post('/admin/projects/:id/:list{secrets|settings}', async (c) => {
    const repo = asAdmin(c);
    const member = c.req.param('list') === 'secrets' ? 'secret' : 'setting';
    return c.json(await repo.updateResource({ ...project(), [member]: await readBody(c, world) }));
  });
  app.post('/admin/projects/:id/bot', async (c) => {
    const repo = asAdmin(c);
    const body = (await readBody(c, world)) as Record<string, unknown>;
    if (!body['name']) {
      const issue = { severity: 'error' as const, code: 'invalid' as const, expression: ['name'] };
      const details = { text: 'Bot name is required' };
      return sendOutcome(c, { resourceType: 'OperationOutcome', id: randomUUID(), issue: [{ ...issue, details }] });
    }
    return c.json(await bots.create(repo, body), 201);
  });

  const writeBinary = async (c: Context): Promise<Response> => {
    const repo = login(c);
    const contentType = c.req.header('content-type') ?? 'application/octet-stream';
    let data = Buffer.from(await c.req.arrayBuffer());
    let given: Binary | undefined;
    if (contentType.startsWith(core.ContentType.FHIR_JSON)) {
      given = JSON.parse(data.toString()) as Binary;
      data = Buffer.from(given.data ?? '', 'base64');
    }
    const { data: _inContents, ...fields } = given ?? { resourceType: 'Binary' as const, contentType };
    const id = c.req.param('id');
    const create = c.req.method === 'POST';
    const binary = create ? await repo.createResource(fields) : await repo.updateResource({ ...fields, id: id! });
    store.contents.set(binary.id, data);
    const url = given ? {} : { url: `Binary/${binary.id}` };
    return sendResource(c, world, create ? core.created : core.allOk, { ...binary, ...url } as Binary);
  };
  app.post('/fhir/R4/Binary', writeBinary);
  app.put('/fhir/R4/Binary/:id', writeBinary);
  app.get('/fhir/R4/Binary/:id', async (c) => {
    const binary = await login(c).readResource<WithId<Binary>>('Binary', c.req.param('id'));
    if (c.req.header('accept')?.startsWith(core.ContentType.FHIR_JSON))
      return sendResource(c, world, core.allOk, binary);
    c.header('ETag', `W/"${binary.meta!.versionId}"`);
    return send(c, store.contents.get(binary.id) ?? Buffer.of(), 200, binary.contentType);
  });

  const execute = async (c: Context): Promise<Response> => {
    const repo = login(c);
    const input = await readBody(c, world);
    const { id } = c.req.param() as { id?: string };
    const identifier = c.req.query('identifier');
    if (!id && !identifier) throw new core.OperationOutcomeError(core.badRequest('Must specify bot ID or identifier.'));
    const filters = [{ code: 'identifier', operator: core.Operator.EQUALS, value: identifier ?? '' }];
    const found = id
      ? await repo.readResource<WithId<Bot>>('Bot', id)
      : await repo.searchOne<Bot>({ resourceType: 'Bot', filters });
    if (!found) throw new core.OperationOutcomeError(core.notFound);
    const bot = store.latest('Bot', found.id)!.resource as WithId<Bot>;
    const { membership, author } = repo.actor;
    const runAs = (!bot.runAsUser && runAsOf(world, bot)) || membership!;
    const headers = Object.fromEntries(c.req.raw.headers);
    const contentType = c.req.header('content-type') ?? '';
    const traceId = c.req.header('x-trace-id') ?? randomUUID();
    const {
      success,
      value = null,
      log,
    } = await bots.execute({ bot, runAs, requester: author, input, contentType, headers, traceId });
    return sendBotResult(c, world, success, value, log);
  };
  for (const path of ['/fhir/R4/Bot/$execute', '/fhir/R4/Bot/:id/$execute']) app.get(path, execute).post(path, execute);

  app.all('/fhir/R4/*', async (c) => handleFhir(c));
  app.all('/fhir/R4', async (c) => handleFhir(c));
  const handleFhir = async (c: Context): Promise<Response> => {
    const repo = login(c);
    const url = new URL(c.req.url);
    const request: FhirRequest = {
      method: c.req.method as FhirRequest['method'],
      url: url.pathname.slice('/fhir/R4'.length) + url.search,
      ...{ pathname: '', params: {}, query: {}, body: await readBody(c, world) },
      headers: Object.fromEntries(c.req.raw.headers),
    };
    const [outcome, resource] = await router.handleRequest(request, repo);
    return resource ? sendResource(c, world, outcome, resource) : sendOutcome(c, outcome);
  };
}

/** JSON and text are read, an empty or unknown body is `{}`, as Express does it for the real server. */
async function readBody(c: Context, world: World): Promise<unknown> {
  const type = c.req.header('content-type')?.split(';')[0] ?? '';
  const tooLarge = new core.OperationOutcomeError(core.contentTooLarge('Request body too large'));
  if (Number(c.req.header('content-length') ?? 0) > MAX_BODY_BYTES) throw tooLarge;
  const text = await c.req.text();
  if (Buffer.byteLength(text) > MAX_BODY_BYTES) throw tooLarge;
  if (text === '') return {};
  if (type === 'text/plain' || type === core.ContentType.HL7_V2) return text;
  if (type === 'application/x-www-form-urlencoded') return Object.fromEntries(new URLSearchParams(text));
  if (!/^application\/(.+\+)?json$/.test(type)) return {};
  try {
    const value: unknown = JSON.parse(text.replaceAll(storageUrls(world), '"$1":"Binary/$2"'));
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // said below
  }
  throw new core.OperationOutcomeError(core.badRequest('Content could not be parsed'));
}

/** Attachments go out with a signed address that differs at each read, and are stored as a reference again. */
function storageUrls({ baseUrl }: World): RegExp {
  return new RegExp(`"(url|path)"\\s*:\\s*"${baseUrl}(?:storage|fhir/R4/Binary)/([0-9a-f-]{36})[^"]*"`, 'g');
}

function presigned(json: string, { store, baseUrl }: World): string {
  return json.replaceAll(/"(url|path)":"Binary\/([0-9a-f-]{36})"/g, (whole, key: string, id: string) => {
    const latest = store.latest('Binary', id);
    if (!latest || latest.deleted) return whole;
    const version = latest.resource.meta!.versionId!;
    const expires = `${Date.now() + PRESIGNED_SECONDS * 1000}.${Math.floor(Math.random() * 1e9)}`;
    const proof = access.signature(`${id}/${version}/${expires}`);
    return `"${key}":"${baseUrl}storage/${id}/${version}?Expires=${expires}&Signature=${proof}"`;
  });
}

function sendBotResult(c: Context, world: World, success: boolean, value: unknown, log: string): Response {
  const result = value ?? (success ? core.allOk : core.badRequest(log));
  const outcome = success ? core.allOk : core.badRequest(log);
  if (core.isOperationOutcome(result) && !core.isOk(result)) return sendOutcome(c, result);
  if (core.isResource(result)) return sendResource(c, world, outcome, result as Resource);
  const asked = c.req.header('content-type') ?? '';
  const type = ['text/plain', core.ContentType.HL7_V2].includes(asked) ? asked : core.ContentType.JSON;
  // A string goes out without quotes, also as JSON.
  const text = typeof result === 'string' ? result : presigned(JSON.stringify(result), world);
  return send(c, text, core.getStatus(outcome), type);
}

function sendResource(c: Context, world: World, outcome: OperationOutcome, resource: Resource): Response {
  const { versionId, lastUpdated } = resource.meta ?? {};
  if (versionId) c.header('ETag', `W/"${versionId}"`);
  if (lastUpdated) c.header('Last-Modified', new Date(lastUpdated).toUTCString());
  if (core.isCreated(outcome)) c.header('Location', `${world.baseUrl}fhir/R4/${resource.resourceType}/${resource.id}`);
  return sendJson(c, world, core.getStatus(outcome), resource, core.ContentType.FHIR_JSON);
}

function sendOutcome(c: Context, outcome: OperationOutcome): Response {
  const extension = [tracing(c.req.header('x-trace-id') ?? randomUUID()), ...(outcome.extension ?? [])];
  return send(c, JSON.stringify({ ...outcome, extension }), core.getStatus(outcome), core.ContentType.FHIR_JSON);
}

function sendError(c: Context, error: unknown): Response {
  if (error instanceof core.OperationOutcomeError) return sendOutcome(c, error.outcome);
  return c.json({ msg: 'Internal Server Error' }, 500);
}

function sendJson(
  c: Context,
  world: World,
  status: number,
  body: unknown,
  type = core.ContentType.JSON as string,
): Response {
  return send(c, presigned(JSON.stringify(body), world), status, type);
}

function send(c: Context, body: string | Buffer, status: number, type: string): Response {
  const contentType = /^text|json/.test(type) ? `${type}; charset=utf-8` : type;
  c.header('Cache-Control', 'no-store, no-cache, must-revalidate');
  return c.body(body as never, status as never, { 'Content-Type': contentType });
}
