// What the routes of the local server share, and who is asking.
import * as core from '@medplum/core';
import type { WithId } from '@medplum/core';
import type { Project } from '@medplum/fhirtypes';
import type { Context } from 'hono';
import { randomUUID } from 'node:crypto';
import { authenticate } from '../access.ts';
import type { ExecuteBot } from '../execute-bot.ts';
import { LOCAL } from '../local-project.ts';
import type { Outbox } from '../outbox.ts';
import { LocalRepository } from '../repository.ts';
import type { ServerState } from '../server-state.ts';

export interface RouteContext {
  state: ServerState;
  execute: ExecuteBot;
  outbox: Outbox;
  /** Warns the user; each text is shown only once. */
  warn(text: string): void;
}

/** @throws OperationOutcomeError (401) where it is not known who asks */
export function login(c: Context, state: ServerState): LocalRepository {
  const header = c.req.header('authorization');
  const actor = authenticate(state.store, header);
  if (!actor) {
    const scheme = header?.split(' ')[0] ?? 'Bearer';
    c.header('WWW-Authenticate', `${scheme} realm="${state.baseUrl}"`);
    throw new core.OperationOutcomeError(core.unauthorized);
  }
  return new LocalRepository(state, actor, c.req.header('x-medplum') === 'extended');
}

/** @throws OperationOutcomeError (401, 403) where it is not a project admin who asks */
export function loginAsAdmin(c: Context, state: ServerState): LocalRepository {
  const repo = login(c, state);
  if (!repo.actor.admin) {
    throw new core.OperationOutcomeError(core.forbidden);
  }
  return repo;
}

export function currentProject({ store }: ServerState): WithId<Project> {
  return store.latest('Project', LOCAL.projectId)!.resource as WithId<Project>;
}

/** @returns the outcome with which the real server refuses a body that lacks members */
export function invalidRequest(problems: Record<string, string>): Error {
  return new core.OperationOutcomeError({
    resourceType: 'OperationOutcome',
    id: randomUUID(),
    issue: Object.entries(problems).map(([name, text]) => ({
      severity: 'error',
      code: 'invalid',
      expression: [name],
      details: { text },
    })),
  });
}
