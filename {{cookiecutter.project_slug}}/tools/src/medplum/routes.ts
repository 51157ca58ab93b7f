// What of the server needs a login: FHIR resources and operations, the project's administration.
import type { WithId } from '@medplum/core';
import * as core from '@medplum/core';
import { FhirRouter } from '@medplum/fhir-router';
import type { FhirRequest } from '@medplum/fhir-router';
import type { Binary, Bot, Project, Resource } from '@medplum/fhirtypes';
import type { Context, Hono } from 'hono';
import { randomUUID } from 'node:crypto';
import { authenticate } from './access.ts';
import { LOCAL } from './local-project.ts';
import { runAsOf } from './bot-execution.ts';
import type { Bots } from './bot-execution.ts';
import { readBody, send, sendBotResult, sendJson, sendOutcome, sendResource } from './http.ts';
import { LocalRepository } from './repository.ts';
import type { World } from './repository.ts';

export function addRoutes(app: Hono, world: World, bots: Bots): void {
  const { store } = world;
  const router = new FhirRouter({ introspectionEnabled: true });
  router.add('POST', 'Bot/:id/$deploy', (request, repo) =>
    bots.deploy(request, repo as LocalRepository),
  );
  router.add('POST', ':resourceType/$validate', async ({ body }) => {
    core.validateResource(body as Resource);
    return [core.allOk];
  });
  router.add('POST', ':resourceType/:id/$expunge', async ({ params }, repo) => {
    (repo as LocalRepository).expunge(params['resourceType']!, params['id']!);
    return [core.allOk];
  });

  const login = (c: Context): LocalRepository => {
    const actor = authenticate(store, c.req.header('authorization'));
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
  const project = (): WithId<Project> =>
    store.latest('Project', LOCAL.projectId)!.resource as WithId<Project>;

  app.get('/auth/me', (c) => {
    const { author, membership, policy } = login(c).actor;
    const { id, name, features, strictMode } = project();
    const { user, profile, admin } = membership!;
    const [type = '', profileId = ''] = author.reference!.split('/');
    return sendJson(c, world, 200, {
      project: { resourceType: 'Project', id, name, features, strictMode },
      membership: { resourceType: 'ProjectMembership', id: membership!.id, user, profile, admin },
      profile: store.latest(type, profileId)?.resource,
      accessPolicy: policy,
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
      return sendOutcome(c, {
        resourceType: 'OperationOutcome',
        id: randomUUID(),
        issue: [{ ...issue, details }],
      });
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
    const { data: _inContents, ...fields } = given ?? {
      resourceType: 'Binary' as const,
      contentType,
    };
    const id = c.req.param('id');
    const create = c.req.method === 'POST';
    const binary = create
      ? await repo.createResource(fields)
      : await repo.updateResource({ ...fields, id: id! });
    store.contents.set(binary.id, data);
    const url = given ? {} : { url: `Binary/${binary.id}` };
    return sendResource(c, world, create ? core.created : core.allOk, {
      ...binary,
      ...url,
    } as Binary);
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
    if (!id && !identifier)
      throw new core.OperationOutcomeError(core.badRequest('Must specify bot ID or identifier.'));
    const filters = [
      { code: 'identifier', operator: core.Operator.EQUALS, value: identifier ?? '' },
    ];
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
    const request = {
      bot,
      cause: 'execute' as const,
      runAs,
      requester: author,
      input,
      contentType,
      headers,
      traceId,
    };
    const { success, value, log } = await bots.execute(request);
    return sendBotResult(c, world, success, value, log);
  };
  for (const path of ['/fhir/R4/Bot/$execute', '/fhir/R4/Bot/:id/$execute'])
    app.get(path, execute).post(path, execute);

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
