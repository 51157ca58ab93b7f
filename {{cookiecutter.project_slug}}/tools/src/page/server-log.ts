// E-mails that bots sent, and requests that the local server refused because only a real Medplum
// can answer them.
import { isOperationOutcome, operationOutcomeToString } from '@medplum/core';
import { Hono } from 'hono';
import type { Context, MiddlewareHandler } from 'hono';
import type { Email } from '../medplum/outbox.ts';
import { currentProject } from '../medplum/routes/context.ts';
import type { MedplumServer } from '../medplum/server.ts';
import type { EmailView, RefusedRequest, ServerLog } from './api-types.ts';

/** Older ones are forgotten. */
const REFUSED_KEPT = 100;
const NOT_IMPLEMENTED = 501;

export class RefusedRequests {
  /** Newest first. */
  readonly list: RefusedRequest[] = [];
  private readonly changed: () => void;

  /** @param changed - is called after each refused request */
  constructor(changed: () => void) {
    this.changed = changed;
  }

  /** Notes what the routes after it refuse. */
  readonly middleware: MiddlewareHandler = async (c, next) => {
    await next();
    if (c.res.status === NOT_IMPLEMENTED) {
      this.list.unshift({
        at: new Date().toISOString(),
        method: c.req.method,
        path: pathOf(c),
        message: await reasonOf(c.res.clone()),
      });
      this.list.length = Math.min(this.list.length, REFUSED_KEPT);
      this.changed();
    }
  };
}

export function serverLogApi(server: MedplumServer, refused: RefusedRequests): Hono {
  const api = new Hono();
  api.get('/', (c) => {
    const log: ServerLog = {
      canSendEmail: currentProject(server.repository.state).features?.includes('email') === true,
      emails: server.outbox.list().map(toEmailView),
      refused: refused.list,
    };
    return c.json(log);
  });
  return api;
}

function pathOf(c: Context): string {
  const { pathname, search } = new URL(c.req.url);
  return pathname + search;
}

async function reasonOf(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const body: unknown = JSON.parse(text);
    return isOperationOutcome(body) ? operationOutcomeToString(body) : text;
  } catch {
    return text;
  }
}

function toEmailView({ sentAt, to, subject, options }: Email): EmailView {
  const { text, html } = options as { text?: unknown; html?: unknown };
  const body = text ?? html;
  return {
    sentAt: sentAt.toISOString(),
    to: [to].flat().map(addressOf).join(', '),
    subject,
    text: typeof body === 'string' ? body : '',
  };
}

/** An address is a text, or an object with name and address, as nodemailer takes it. */
function addressOf(value: unknown): string {
  if (typeof value === 'object' && value !== null && 'address' in value) {
    return String(value.address);
  }
  return String(value);
}
