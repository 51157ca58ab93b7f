// What commands ask a local Medplum that another command started. Only for its admin: the answers
// hold tokens and events.
import type { WithId } from '@medplum/core';
import type { Bot } from '@medplum/fhirtypes';
import type { Context, Hono } from 'hono';
import { authenticate, findMembership } from './medplum/access.ts';
import type { MedplumServer } from './medplum/server.ts';
import { issueToken } from './medplum/tokens.ts';

/** An event of an earlier run. */
export interface RecordedEvent {
  input: unknown;
  contentType: string;
  headers: Record<string, string | string[] | undefined>;
  requester?: { reference?: string } | undefined;
}

/** What a run of a bot needs, to be like one on the server. */
export interface BotAccess {
  /** Has the rights of the bot. */
  accessToken: string;
  id: string;
  /** All secrets of the project, by name. */
  secrets: Record<string, { name: string }>;
}

export function addCommandApi(app: Hono, server: MedplumServer): void {
  const { state } = server.repository;
  const isAdmin = (c: Context): boolean =>
    authenticate(state.store, c.req.header('authorization'))?.admin === true;

  app.get('/_commands/bots/:name', (c) => {
    if (!isAdmin(c)) {
      return c.text('Unauthorized', 401);
    }
    const access = accessOf(server, c.req.param('name'));
    return access ? c.json(access) : c.text('Not found', 404);
  });
  app.get('/_commands/runs/:id', (c) => {
    if (!isAdmin(c)) {
      return c.text('Unauthorized', 401);
    }
    const run = server.runs.get(c.req.param('id'));
    if (!run) {
      return c.text('Not found', 404);
    }
    const { input, contentType, headers = {}, requester } = run.request;
    const event: RecordedEvent = { input, contentType, headers, requester };
    return c.json(event);
  });
}

/**
 * @param name - of a deployed bot
 * @returns undefined if the bot does not exist, or has no ProjectMembership
 */
export function accessOf(server: MedplumServer, name: string): BotAccess | undefined {
  const { state } = server.repository;
  const versions = [...state.store.all('Bot')].filter(({ deleted }) => !deleted);
  const bots = versions.map(({ resource }) => resource as WithId<Bot>);
  const bot = bots.find((candidate) => candidate.name === name);
  const membership = bot && findMembership(state.store, `Bot/${bot.id}`);
  if (!bot || !membership) {
    return undefined;
  }
  const accessToken = issueToken(membership, server.baseUrl);
  return { accessToken, id: bot.id, secrets: projectSecrets(server) };
}

function projectSecrets({ repository }: MedplumServer): BotAccess['secrets'] {
  const [project] = [...repository.state.store.all('Project')];
  const { secret = [] } = (project?.resource ?? {}) as { secret?: { name: string }[] };
  return Object.fromEntries(secret.map((entry) => [entry.name, entry]));
}
