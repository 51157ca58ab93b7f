// Runs a bot because the user of the page asks for it: an earlier event again, or one they wrote.
import type { WithId } from '@medplum/core';
import { ContentType } from '@medplum/core';
import type { Bot, Reference } from '@medplum/fhirtypes';
import { randomUUID } from 'node:crypto';
import { runAsOf } from '../medplum/bot-execution.ts';
import type { ExecuteRequest } from '../medplum/execute-bot.ts';
import type { Run } from '../medplum/bot-runs.ts';
import type { MedplumServer } from '../medplum/server.ts';
import type { BotEventText } from './api-types.ts';
import { PageError } from './page-error.ts';

/**
 * Runs a bot on the event of an earlier run, with the code and the rights that it has now.
 *
 * @returns the id of the new run, as soon as it has started
 */
export async function runAgain(server: MedplumServer, earlier: Run): Promise<string> {
  const bot = findBot(server, earlier.bot.id);
  const runAs = membershipOf(server, bot, earlier.request.requester);
  const request = { ...earlier.request, bot, runAs, traceId: randomUUID() };
  return start(server, { ...request, earlierRuns: undefined });
}

/**
 * Runs a bot on an event that the user wrote.
 *
 * @returns the id of the new run, as soon as it has started
 */
export async function sendEvent(
  server: MedplumServer,
  botId: string,
  event: BotEventText,
): Promise<string> {
  if (typeof event !== 'object' || event === null || !('input' in event)) {
    throw new PageError(400, 'The event needs an "input".');
  }
  const bot = findBot(server, botId);
  const requester = event.requester as Reference | undefined;
  const headers = event.headers as ExecuteRequest['headers'];
  return start(server, {
    bot,
    cause: 'execute',
    runAs: membershipOf(server, bot, requester),
    requester,
    input: event.input,
    contentType: event.contentType ?? ContentType.FHIR_JSON,
    headers: headers ?? {},
    traceId: randomUUID(),
  });
}

function findBot(server: MedplumServer, id: string): WithId<Bot> {
  const latest = server.repository.state.store.latest('Bot', id);
  if (!latest || latest.deleted) {
    throw new PageError(404, 'This bot is not deployed any more.');
  }
  return latest.resource as WithId<Bot>;
}

function membershipOf(
  server: MedplumServer,
  bot: WithId<Bot>,
  requester: Reference | undefined,
): ExecuteRequest['runAs'] {
  const membership = runAsOf(server.repository.state, bot, requester?.reference);
  if (!membership) {
    const reason = bot.runAsUser
      ? 'it runs as the user of the event, and its "requester" has no ProjectMembership'
      : 'it has no ProjectMembership';
    throw new PageError(409, `${bot.name} cannot run: ${reason}.`);
  }
  return membership;
}

async function start(server: MedplumServer, request: ExecuteRequest): Promise<string> {
  return new Promise((resolve, reject) => {
    const onStart = (run: Run): void => {
      if (run.request === request) {
        resolve(run.id);
      }
    };
    server.runs.on('started', onStart);
    server
      .execute(request)
      .catch(reject)
      .finally(() => server.runs.off('started', onStart));
  });
}
