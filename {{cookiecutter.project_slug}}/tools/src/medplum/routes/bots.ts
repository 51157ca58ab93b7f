// Calls of bots from outside: `$execute`, public webhooks, CDS Hooks.
import * as core from '@medplum/core';
import type { WithId } from '@medplum/core';
import type { AsyncJob, Bot, Parameters, ProjectMembership } from '@medplum/fhirtypes';
import type { Context, Hono } from 'hono';
import { randomUUID } from 'node:crypto';
import { parse } from 'node:querystring';
import { SYSTEM } from '../access.ts';
import { runAsOf } from '../bot-execution.ts';
import type { ExecuteRequest, ExecuteResult } from '../execute-bot.ts';
import { sendBotResult, sendOutcome, sendResource } from '../http.ts';
import { NotAvailableError } from '../not-available.ts';
import { LocalRepository } from '../repository.ts';
import type { ServerState } from '../server-state.ts';
import { contentType, isIgnoredBody, readBody } from '../request-body.ts';
import { login } from './context.ts';
import type { RouteContext } from './context.ts';

export function addBotRoutes(app: Hono, context: RouteContext): void {
  const paths = ['/fhir/R4/Bot/$execute', '/fhir/R4/Bot/:id/$execute'];
  for (const path of paths.flatMap((base) => [base, `${base}/*`])) {
    app.get(path, (c) => handleExecute(c, context));
    app.post(path, (c) => handleExecute(c, context));
  }
  app.get('/fhir/R4/job/:id/status', async (c) => {
    const job = await login(c, context.state).readResource<AsyncJob>('AsyncJob', c.req.param('id'));
    const isFinal = ['completed', 'error', 'cancelled'].includes(job.status);
    const outcome = isFinal ? core.allOk : core.accepted(jobLocation(context.state, job));
    return sendResource(c, context.state, outcome, job);
  });
  app.post('/webhook/:id', (c) => handleWebhook(c, context));
  app.get('/cds-services', (c) => listCdsServices(c, context));
  app.post('/cds-services/:id', (c) => callCdsService(c, context));
}

async function handleExecute(c: Context, context: RouteContext): Promise<Response> {
  const request = await executeRequest(c, context);
  if (c.req.header('prefer') === 'respond-async') {
    return startJob(c, context, request);
  }
  const { streamingEnabled, runtimeVersion } = request.bot;
  if (streamingEnabled && c.req.header('accept')?.includes('text/event-stream')) {
    throw new NotAvailableError('A streaming bot');
  }
  if (streamingEnabled && runtimeVersion === 'awslambda') {
    const log = 'Streaming bot requires Accept: text/event-stream header';
    return sendBotResult(c, context.state, { success: false, log });
  }
  return sendBotResult(c, context.state, await context.execute(request));
}

/**
 * The body of a POST or the query of a GET is the input; what stands behind `$execute` is ignored.
 */
async function executeRequest(c: Context, context: RouteContext): Promise<ExecuteRequest> {
  const { state } = context;
  const repo = login(c, state);
  const input = c.req.method === 'POST' ? await readInput(c, context) : queryOf(c);
  const bot = await findBot(c, repo);
  const { membership, author } = repo.actor;
  return {
    bot,
    cause: 'execute',
    runAs: (bot.runAsUser ? undefined : runAsOf(state, bot)) ?? membership!,
    requester: author,
    input,
    contentType: c.req.header('content-type') ?? '',
    headers: Object.fromEntries(c.req.raw.headers),
    traceId: c.req.header('x-trace-id') ?? randomUUID(),
  };
}

async function readInput(c: Context, { warn }: RouteContext): Promise<unknown> {
  const input = await readBody(c);
  if (isIgnoredBody(c)) {
    warn(
      `A bot was called with the content type ${contentType(c)}: ` +
        'on Medplum its input is {} then. Send text/plain or JSON instead.',
    );
  }
  return input;
}

/** A parameter that is repeated becomes a list. */
function queryOf(c: Context): unknown {
  return { ...parse(new URL(c.req.url).search.slice(1)) };
}

async function findBot(c: Context, repo: LocalRepository): Promise<WithId<Bot>> {
  const id = c.req.param('id');
  const identifier = c.req.query('identifier');
  if (!id && !identifier) {
    throw new core.OperationOutcomeError(core.badRequest('Must specify bot ID or identifier.'));
  }
  const operator = core.Operator.EXACT;
  const filters = [{ code: 'identifier', operator, value: identifier ?? '' }];
  const found = id
    ? await repo.readResource<WithId<Bot>>('Bot', id)
    : await repo.searchOne<Bot>({ resourceType: 'Bot', filters });
  if (!found) {
    throw new core.OperationOutcomeError(core.notFound);
  }
  return repo.state.store.latest('Bot', found.id)!.resource as WithId<Bot>;
}

/**
 * Answers 202 at once; the job is `completed` also where the bot throws, the error is in its
 * output.
 */
async function startJob(
  c: Context,
  { state, execute }: RouteContext,
  request: ExecuteRequest,
): Promise<Response> {
  const system = new LocalRepository(state, SYSTEM);
  const job = await system.createResource<AsyncJob>({
    resourceType: 'AsyncJob',
    status: 'accepted',
    request: c.req.url,
    requestTime: new Date().toISOString(),
  });
  const end = async (status: AsyncJob['status'], output: Parameters): Promise<void> => {
    const transactionTime = new Date().toISOString();
    await system.updateResource<AsyncJob>({ ...job, status, transactionTime, output });
  };
  void execute(request)
    .then((result) => end('completed', jobOutput(result)))
    .catch((error: unknown) =>
      end('error', outcomeParameters(core.normalizeOperationOutcome(error))),
    );
  return sendOutcome(c, core.accepted(jobLocation(state, job)));
}

function jobLocation({ baseUrl }: ServerState, { id }: AsyncJob): string {
  return `${baseUrl}fhir/R4/job/${id}/status`;
}

function jobOutput({ success, log, value }: ExecuteResult): Parameters {
  const nothing = success ? core.allOk : core.badRequest(log);
  const result = value === undefined ? nothing : value;
  if (core.isOperationOutcome(result)) {
    return outcomeParameters(result);
  }
  const name = 'responseBody';
  if (typeof result === 'boolean') {
    return { resourceType: 'Parameters', parameter: [{ name, valueBoolean: result }] };
  }
  const isText = typeof result === 'string' || typeof result === 'number';
  const valueString = isText ? String(result) : JSON.stringify(result);
  return { resourceType: 'Parameters', parameter: [{ name, valueString }] };
}

function outcomeParameters(
  resource: ReturnType<typeof core.normalizeOperationOutcome>,
): Parameters {
  return { resourceType: 'Parameters', parameter: [{ name: 'outcome', resource }] };
}

/** POST /webhook/[id of the bot's ProjectMembership]: no login, so no requester and no trace id. */
async function handleWebhook(c: Context, context: RouteContext): Promise<Response> {
  const { state, execute } = context;
  const system = new LocalRepository(state, SYSTEM);
  const runAs = await system.readResource<WithId<ProjectMembership>>(
    'ProjectMembership',
    c.req.param('id')!,
  );
  if (!runAs.profile.reference?.startsWith('Bot/')) {
    return c.html('ProjectMembership must be for a Bot resource', 403);
  }
  if (!runAs.access && !runAs.accessPolicy) {
    return c.html('ProjectMembership must have an Access Policy', 403);
  }
  const bot = await system.readReference<Bot>(runAs.profile as { reference: string });
  if (!bot.publicWebhook) {
    return c.html('Bot is not configured for public webhook access', 403);
  }
  const result = await execute({
    bot,
    cause: 'webhook',
    runAs,
    input: await readInput(c, context),
    contentType: c.req.header('content-type') ?? '',
    headers: Object.fromEntries(c.req.raw.headers),
  });
  return sendBotResult(c, state, result);
}

const MOST_CDS_SERVICES = 100;

async function listCdsServices(c: Context, { state }: RouteContext): Promise<Response> {
  const bots = await login(c, state).searchResources<Bot>({
    resourceType: 'Bot',
    filters: [{ code: 'cds-hook', operator: core.Operator.MISSING, value: 'false' }],
    count: MOST_CDS_SERVICES,
  });
  const services = bots.map(({ id, cdsService }) => ({
    id,
    hook: cdsService?.hook,
    title: cdsService?.title,
    description: cdsService?.description,
    usageRequirements: cdsService?.usageRequirements,
    prefetch:
      cdsService?.prefetch &&
      Object.fromEntries(cdsService.prefetch.map(({ key, query }) => [key, query])),
  }));
  return c.json({ services });
}

/** Runs with the rights of the caller, not of the bot. */
async function callCdsService(c: Context, context: RouteContext): Promise<Response> {
  const { state, execute } = context;
  const repo = login(c, state);
  const found = await repo.readResource<WithId<Bot>>('Bot', c.req.param('id')!);
  if (!found.cdsService) {
    return c.text('Not Found', 404);
  }
  const bot = state.store.latest('Bot', found.id)!.resource as WithId<Bot>;
  const result = await execute({
    bot,
    cause: 'cds-hook',
    runAs: repo.actor.membership!,
    requester: repo.actor.author,
    input: await readBody(c),
    contentType: core.ContentType.JSON,
    headers: Object.fromEntries(c.req.raw.headers),
    traceId: c.req.header('x-trace-id') ?? randomUUID(),
  });
  return sendBotResult(c, state, result);
}
