// Runs of bots: with the rights of a membership, the project's secrets, and an AuditEvent.
import type { WithId } from '@medplum/core';
import * as core from '@medplum/core';
import type { Bot, Project, ProjectMembership } from '@medplum/fhirtypes';
import { SYSTEM, findMembership } from './access.ts';
import { createBotAuditEvent } from './audit-events.ts';
import type { BotRuns, Run } from './bot-runs.ts';
import type { ExecuteBot, ExecuteRequest, ExecuteResult } from './execute-bot.ts';
import { LOCAL } from './local-project.ts';
import { LocalRepository } from './repository.ts';
import type { ServerState } from './server-state.ts';
import { issueToken } from './tokens.ts';
import { DEFAULT_TIMEOUT_SECONDS } from '../config/runtimes.ts';
import { describeThrown } from '../runtime/sandbox.ts';
import type { BotEvent } from '../runtime/sandbox-types.ts';
import type { BotRunner } from '../runtime/worker-pool.ts';

/**
 * @param state - the server's resources
 * @param threads - where the code runs
 * @param runs - remembers every run
 * @returns the function that runs a bot; it throws where the run's AuditEvent cannot be written
 */
export function createBotExecution(
  state: ServerState,
  threads: BotRunner,
  runs: BotRuns,
): ExecuteBot {
  const system = new LocalRepository(state, SYSTEM);

  return async (request) => {
    const code = codeOf(state, request.bot);
    const run = runs.start(request, code);
    const result = await runBot({ state, threads, runs }, request, run);
    try {
      await createBotAuditEvent(system, request, result, run.startedAt);
    } catch (error) {
      // As on the real server, a log with control characters makes the run fail and leaves no
      // AuditEvent.
      const described = result.error ?? describeThrown(error);
      runs.end(run, { ...result, success: false, error: described });
      throw error;
    }
    runs.end(run, result);
    return result;
  };
}

interface RunContext {
  state: ServerState;
  threads: BotRunner;
  runs: BotRuns;
}

async function runBot(
  { state, threads, runs }: RunContext,
  request: ExecuteRequest,
  run: Run,
): Promise<ExecuteResult> {
  const { code } = run;
  const { bot, runAs, requester, input, contentType, traceId, headers } = request;
  const { store, baseUrl } = state;
  const project = store.latest('Project', LOCAL.projectId)!.resource as Project;
  const { runtimeVersion: runtime, timeout = DEFAULT_TIMEOUT_SECONDS } = bot;
  if (!project.features?.includes('bots')) {
    return { success: false, log: 'Bots not enabled' };
  }
  if (runtime !== 'vmcontext' && runtime !== 'awslambda') {
    return { success: false, log: 'Unsupported bot runtime' };
  }
  if (code === undefined) {
    return { success: false, log: 'No executable code' };
  }
  const secrets = Object.fromEntries((project.secret ?? []).map((secret) => [secret.name, secret]));
  const event: BotEvent = {
    bot: core.createReference(bot),
    requester,
    input,
    contentType,
    secrets,
    traceId,
    headers,
  };
  const accessToken = issueToken(runAs, baseUrl, run.id);
  const { result, error, log, unsendable } = await threads.run(
    { code, runtime, timeout, baseUrl, accessToken, event },
    { request: (sent, index) => runs.noteSent(run, sent, index) },
  );
  if (unsendable) {
    return { success: true, log: log.join('\n'), error, unsendable };
  }
  const value: unknown = error ? error.outcome : result;
  const success = !error && !(core.isOperationOutcome(value) && !core.isOk(value));
  return { success, log: log.join('\n'), value, error };
}

/** @returns the deployed code of a bot, undefined where it has none */
export function codeOf({ store }: ServerState, bot: Bot): string | undefined {
  const url = bot.executableCode?.url;
  if (!url) {
    return undefined;
  }
  const content = store.content(url.replace('Binary/', ''));
  if (!content) {
    throw new core.OperationOutcomeError(core.notFound);
  }
  return content.toString();
}

/**
 * @returns whose rights a run has: those of the bot's membership or, with runAsUser, the caller's
 */
export function runAsOf(
  state: ServerState,
  bot: WithId<Bot>,
  caller?: string,
): WithId<ProjectMembership> | undefined {
  return findMembership(state.store, bot.runAsUser ? caller : `Bot/${bot.id}`);
}
