// `$deploy` and the admin endpoint that creates a bot with its membership.
import * as core from '@medplum/core';
import type { WithId } from '@medplum/core';
import type { FhirRequest, FhirResponse } from '@medplum/fhir-router';
import type { Binary, Bot, ProjectMembership } from '@medplum/fhirtypes';
import { SYSTEM, findMembership } from './access.ts';
import { canAccess } from './access-policies.ts';
import { codeOf } from './bot-execution.ts';
import { PROJECT_REFERENCE } from './local-project.ts';
import { LocalRepository } from './repository.ts';
import { DEFAULT_TIMEOUT_SECONDS } from '../config/runtimes.ts';

const NO_MEMBERSHIP = 'Could not find ProjectMembership for Bot';

/** POST Bot/[id]/$deploy: a failed one has changed the Bot all the same. */
export async function deployBot(
  { params, body }: FhirRequest,
  repo: LocalRepository,
): Promise<FhirResponse> {
  const { state } = repo;
  const system = new LocalRepository(state, SYSTEM);
  await repo.readResource('Bot', params['id']!);
  const bot = await system.readResource<WithId<Bot>>('Bot', params['id']!);
  if (!canAccess(repo.actor.policy, 'update', bot)) {
    return [core.forbidden]; // also if the code is to stay the same (5.1.26)
  }
  const { code, filename = 'index.js' } = body as { code?: unknown; filename?: string };
  if (!code && !bot.executableCode?.url) {
    return [core.badRequest('Bot missing executable code')];
  }
  if (code !== undefined && typeof code !== 'string') {
    return [core.badRequest('The "iterable" argument must be an instance of Iterable')];
  }
  if (code) {
    const contentType = core.ContentType.JAVASCRIPT;
    const url = await storeCode(repo, Buffer.from(code), contentType);
    const executableCode = { contentType, url, title: filename };
    await repo.updateResource<Bot>({ ...bot, executableCode });
  } else {
    codeOf(state, bot);
  }
  if (bot.runtimeVersion === 'fission') {
    // What a server without fission answers; the code is stored all the same.
    return [core.badRequest('Fission bots are not enabled')];
  }
  if (bot.runtimeVersion === 'awslambda' && bot.timeout === undefined) {
    const latest = await system.readResource<Bot>('Bot', bot.id);
    await repo.updateResource<Bot>({ ...latest, timeout: DEFAULT_TIMEOUT_SECONDS });
  }
  if (bot.runAsUser || findMembership(state.store, `Bot/${bot.id}`)) {
    return [core.allOk];
  }
  const warning = {
    severity: 'warning' as const,
    code: 'business-rule' as const,
    details: { text: NO_MEMBERSHIP },
  };
  return [{ ...core.allOk, issue: [...core.allOk.issue, warning] }];
}

/** What `POST admin/projects/:id/bot` honours; it drops everything else. */
interface CreateBotRequest {
  name: string;
  description?: string;
  runtimeVersion?: Bot['runtimeVersion'];
  accessPolicy?: ProjectMembership['accessPolicy'];
  sourceCode?: Bot['sourceCode'];
  executableCode?: Bot['executableCode'];
}

/** Creates a bot as the admin endpoint does: with source code and membership. */
export async function createBot(repo: LocalRepository, body: unknown): Promise<WithId<Bot>> {
  const request = body as CreateBotRequest;
  const bot = await repo.createResource<Bot>({
    resourceType: 'Bot',
    name: request.name,
    description: request.description,
    runtimeVersion: request.runtimeVersion ?? 'vmcontext',
    sourceCode: await storeAttachment(
      repo,
      request.sourceCode ?? {},
      core.ContentType.TYPESCRIPT,
      'index.ts',
    ),
    executableCode:
      request.executableCode &&
      (await storeAttachment(
        repo,
        request.executableCode,
        core.ContentType.JAVASCRIPT,
        'index.js',
      )),
  } as Bot);
  const reference = core.createReference(bot);
  await new LocalRepository(repo.state, SYSTEM).createResource({
    resourceType: 'ProjectMembership',
    project: PROJECT_REFERENCE,
    user: reference,
    profile: reference,
    accessPolicy: request.accessPolicy,
  } as ProjectMembership);
  return bot;
}

async function storeAttachment(
  repo: LocalRepository,
  given: NonNullable<Bot['sourceCode']>,
  defaultType: string,
  defaultTitle: string,
): Promise<Bot['sourceCode']> {
  if (given.url) {
    return given;
  }
  const contentType = given.contentType ?? defaultType;
  const url = await storeCode(repo, Buffer.from(given.data ?? '', 'base64'), contentType);
  return { contentType, title: given.title ?? defaultTitle, url } as Bot['sourceCode'];
}

async function storeCode(
  repo: LocalRepository,
  code: Buffer,
  contentType: string,
): Promise<string> {
  const binary = await repo.createResource<Binary>({ resourceType: 'Binary', contentType });
  repo.state.store.setContent(binary.id, code);
  return `Binary/${binary.id}`;
}
