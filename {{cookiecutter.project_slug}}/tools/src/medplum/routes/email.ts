// medplum.sendEmail: the mail is kept in the server's outbox, not sent.
import * as core from '@medplum/core';
import type { Hono } from 'hono';
import { sendOutcome } from '../http.ts';
import { contentType, readBody } from '../request-body.ts';
import { currentProject, invalidRequest, login } from './context.ts';
import type { RouteContext } from './context.ts';

/** Needs the project's feature `email` and an admin membership, as on the real server. */
export function addEmailRoutes(app: Hono, { state, outbox }: RouteContext): void {
  app.post('/email/v1/send', async (c) => {
    const { actor } = login(c, state);
    const options = (await readBody(c)) as Record<string, unknown>;
    const problems: Record<string, string> = {};
    if (contentType(c) !== core.ContentType.JSON) {
      problems['content-type'] = 'Invalid value';
    }
    if (!options['to']) {
      problems['to'] = 'To is required';
    }
    if (!options['subject']) {
      problems['subject'] = 'Subject is required';
    }
    if (Object.keys(problems).length > 0) {
      throw invalidRequest(problems);
    }
    if (!currentProject(state).features?.includes('email')) {
      return sendOutcome(c, core.badRequest('Email feature is not enabled for this project'));
    }
    if (!actor.admin) {
      const details = { text: 'Only project administrators can send emails' };
      const issue = [{ severity: 'error' as const, code: 'forbidden' as const, details }];
      return sendOutcome(c, { resourceType: 'OperationOutcome', id: 'forbidden', issue });
    }
    const { to, subject } = options;
    outbox.add({ sentAt: new Date(), to, subject: String(subject), options });
    return sendOutcome(c, core.allOk);
  });
}
