// $deploy, $execute and every other run of a bot: with its membership's rights, the project's secrets, an AuditEvent.
import type { WithId } from '@medplum/core';
import * as core from '@medplum/core';
import type { FhirRequest, FhirResponse } from '@medplum/fhir-router';
import type {
  AuditEvent,
  Binary,
  Bot,
  OperationOutcome,
  Project,
  ProjectMembership,
} from '@medplum/fhirtypes';
import type { Reference, Resource, Subscription } from '@medplum/fhirtypes';
import { randomUUID } from 'node:crypto';
import { SYSTEM, actorOf, findMembership, issueToken } from './access.ts';
import { LOCAL } from './local-project.ts';
import { LocalRepository } from './repository.ts';
import type { World } from './repository.ts';
import type { BotRuns, Run, RunCause } from './bot-runs.ts';
import type { BotRunner } from '../runtime/worker-pool.ts';
import { describeThrown } from '../runtime/sandbox.ts';
import type { BotEvent, SandboxError } from '../runtime/sandbox.ts';

const DEFAULT_TIMEOUT_SECONDS = 10;
/** AuditEvents keep this much of a log's end, in characters. */
const LOG_LENGTH = 10 * 1024;
const NO_MEMBERSHIP = 'Could not find ProjectMembership for Bot';

export interface ExecuteRequest {
  bot: WithId<Bot>;
  cause: RunCause;
  runAs: WithId<ProjectMembership>;
  requester?: Reference | undefined;
  input: unknown;
  contentType: string;
  subscription?: WithId<Subscription> | undefined;
  traceId: string;
  headers?: BotEvent['headers'];
}

/** `value` is what the handler returned, or the outcome of what it threw. */
export interface ExecuteResult {
  success: boolean;
  log: string;
  value?: unknown;
  /** What the handler threw; its stack points into the deployed code. */
  error?: SandboxError | undefined;
}

export type { Run } from './bot-runs.ts';

export interface Bots {
  /** POST Bot/[id]/$deploy */
  deploy(request: FhirRequest, repo: LocalRepository): Promise<FhirResponse>;
  execute(request: ExecuteRequest): Promise<ExecuteResult>;
  /** Creates a bot as the admin endpoint does: with source code and membership. */
  create(repo: LocalRepository, body: Record<string, unknown>): Promise<WithId<Bot>>;
}

/**
 * @param world - the server's resources
 * @param threads - where the code runs
 * @param runs - remembers every run
 */
export function createBots(world: World, threads: BotRunner, runs: BotRuns): Bots {
  const system = new LocalRepository(world, SYSTEM);
  const { store } = world;

  const storeCode = async (
    repo: LocalRepository,
    code: Buffer,
    contentType: string,
  ): Promise<string> => {
    const binary = await repo.createResource<Binary>({ resourceType: 'Binary', contentType });
    store.contents.set(binary.id, code);
    return `Binary/${binary.id}`;
  };

  const codeOf = (bot: Bot): string | undefined => {
    const url = bot.executableCode?.url;
    if (!url) return undefined;
    const content = store.contents.get(url.replace('Binary/', ''));
    if (!content) throw new core.OperationOutcomeError(core.notFound);
    return content.toString();
  };

  const run = async (
    request: ExecuteRequest,
    code: string | undefined,
    started: Run,
  ): Promise<ExecuteResult> => {
    const { bot, runAs, requester, input, contentType, traceId, headers } = request;
    const refuse = (log: string): ExecuteResult => ({ success: false, log });
    const project = store.latest('Project', LOCAL.projectId)!.resource as Project;
    const { runtimeVersion: runtime, timeout = DEFAULT_TIMEOUT_SECONDS } = bot;
    if (!project.features?.includes('bots')) return refuse('Bots not enabled');
    if (runtime !== 'vmcontext' && runtime !== 'awslambda')
      return refuse('Unsupported bot runtime');
    if (code === undefined) return refuse('No executable code');
    const secrets = Object.fromEntries(
      (project.secret ?? []).map((secret) => [secret.name, secret]),
    );
    const about = {
      bot: core.createReference(bot),
      requester,
      input,
      contentType,
      secrets,
      traceId,
      headers,
    };
    const accessToken = issueToken(runAs, world.baseUrl, started.id);
    const { baseUrl } = world;
    const answer = await threads.run(
      { code, runtime, timeout, baseUrl, accessToken, event: about },
      { request: (sent, index) => runs.noteSent(started, sent, index) },
    );
    const value: unknown = answer.error ? answer.error.outcome : answer.result;
    const success = !answer.error && !(core.isOperationOutcome(value) && !core.isOk(value));
    return { success, log: answer.log.join('\n'), value, error: answer.error };
  };

  const execute = async (request: ExecuteRequest): Promise<ExecuteResult> => {
    const code = codeOf(request.bot);
    const started = runs.start(request, code);
    const result = await run(request, code, started);
    try {
      await recordAudit(system, request, result, started.startedAt);
    } catch (error) {
      // The real server refuses a log with control characters too: the run fails and leaves no AuditEvent.
      runs.end(started, {
        ...result,
        success: false,
        error: result.error ?? describeThrown(error),
      });
      throw error;
    }
    runs.end(started, result);
    return result;
  };

  const deploy = async (
    { params, body }: FhirRequest,
    repo: LocalRepository,
  ): Promise<FhirResponse> => {
    await repo.readResource('Bot', params['id']!);
    const bot = await system.readResource<WithId<Bot>>('Bot', params['id']!);
    const { code, filename = 'index.js' } = body as { code?: unknown; filename?: string };
    if (!code && !bot.executableCode?.url) return [core.badRequest('Bot missing executable code')];
    if (code !== undefined && typeof code !== 'string') {
      return [core.badRequest('The "iterable" argument must be an instance of Iterable')];
    }
    if (code) {
      const url = await storeCode(repo, Buffer.from(code), core.ContentType.JAVASCRIPT);
      const executableCode = { contentType: core.ContentType.JAVASCRIPT, url, title: filename };
      await repo.updateResource<Bot>({ ...bot, executableCode });
    } else {
      codeOf(bot);
    }
    if (bot.runtimeVersion === 'awslambda' && bot.timeout === undefined) {
      const latest = await system.readResource<Bot>('Bot', bot.id);
      await repo.updateResource<Bot>({ ...latest, timeout: DEFAULT_TIMEOUT_SECONDS });
    }
    if (bot.runAsUser || findMembership(store, `Bot/${bot.id}`)) return [core.allOk];
    const warning = {
      severity: 'warning' as const,
      code: 'business-rule' as const,
      details: { text: NO_MEMBERSHIP },
    };
    return [{ ...core.allOk, issue: [...core.allOk.issue, warning] }];
  };

  const create = async (
    repo: LocalRepository,
    body: Record<string, unknown>,
  ): Promise<WithId<Bot>> => {
    const {
      name,
      description,
      runtimeVersion = 'vmcontext',
      accessPolicy,
    } = body as unknown as Bot & {
      accessPolicy?: ProjectMembership['accessPolicy'];
    };
    const attachment = async (
      given: Bot['sourceCode'],
      type: string,
      title: string,
    ): Promise<Bot['sourceCode']> => {
      if (given?.url) return given;
      const contentType = given?.contentType ?? type;
      const url = await storeCode(repo, Buffer.from(given?.data ?? '', 'base64'), contentType);
      return { contentType, title: given?.title ?? title, url };
    };
    const given = body as {
      sourceCode?: Bot['sourceCode'];
      executableCode?: Bot['executableCode'];
    };
    const sourceCode = await attachment(given.sourceCode, core.ContentType.TYPESCRIPT, 'index.ts');
    const executableCode =
      given.executableCode &&
      (await attachment(given.executableCode, core.ContentType.JAVASCRIPT, 'index.js'));
    const fields = {
      name,
      description,
      runtimeVersion,
      sourceCode,
      executableCode,
    } as Partial<Bot>;
    const bot = await repo.createResource<Bot>({ resourceType: 'Bot', ...fields } as Bot);
    const reference = core.createReference(bot);
    const project = { reference: `Project/${LOCAL.projectId}`, display: 'Local' };
    const membership = {
      resourceType: 'ProjectMembership',
      project,
      user: reference,
      profile: reference,
      accessPolicy,
    };
    await system.createResource(membership as ProjectMembership);
    return bot;
  };

  return { deploy, execute, create };
}

/**
 * @returns whose rights a run has: those of the bot's membership or, with runAsUser, the caller's
 */
export function runAsOf(
  world: World,
  bot: WithId<Bot>,
  caller?: string,
): WithId<ProjectMembership> | undefined {
  return findMembership(world.store, bot.runAsUser ? caller : `Bot/${bot.id}`);
}

async function recordAudit(
  system: LocalRepository,
  { bot, runAs, requester, input, subscription, traceId }: ExecuteRequest,
  { success, log }: ExecuteResult,
  startedAt: Date,
): Promise<void> {
  const {
    auditEventTrigger: trigger = 'always',
    auditEventDestination: destinations = ['resource'],
  } = bot;
  if (
    trigger === 'never' ||
    (trigger === 'on-error' && success) ||
    (trigger === 'on-output' && !log)
  )
    return;
  if (!destinations.includes('resource')) return;
  const now = new Date().toISOString();
  const concerned = [bot, input, subscription].filter(
    (one) => core.isResource(one) && one.id,
  ) as WithId<Resource>[];
  await system.createResource({
    resourceType: 'AuditEvent',
    extension: [tracing(traceId)],
    period: { start: startedAt.toISOString(), end: now },
    recorded: now,
    type: { system: 'https://medplum.com/CodeSystem/audit-event', code: 'execute' },
    agent: [
      { ...(requester ? { who: requester as Reference<Bot> } : {}), requestor: true },
      { who: actorOf(system.world.store, runAs).author as Reference<Bot>, requestor: false },
    ],
    source: { observer: core.createReference(bot) },
    entity: concerned.map((one) => ({ what: core.createReference(one), role: auditRole(one) })),
    outcome: success ? '0' : '4',
    ...(log ? { outcomeDesc: log.slice(-LOG_LENGTH) } : {}),
  } as AuditEvent);
}

function auditRole({ resourceType }: Resource): { code: string; display: string } {
  if (resourceType === 'Patient') return { code: '1', display: 'Patient' };
  return resourceType === 'Subscription'
    ? { code: '9', display: 'Subscriber' }
    : { code: '4', display: 'Domain' };
}

/** What real servers put on each outcome and AuditEvent, to find a request in their logs. */
export function tracing(traceId: string): NonNullable<OperationOutcome['extension']>[number] {
  const url = 'https://medplum.com/fhir/StructureDefinition/tracing';
  return {
    url,
    extension: [
      { url: 'requestId', valueId: randomUUID() },
      { url: 'traceId', valueId: traceId },
    ],
  };
}
