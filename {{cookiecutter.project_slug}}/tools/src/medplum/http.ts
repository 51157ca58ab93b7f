// Answers of the local Medplum server in the real one's form: resources, outcomes, what bots
// return.
import * as core from '@medplum/core';
import type { Binary, OperationOutcome, Resource } from '@medplum/fhirtypes';
import type { Context } from 'hono';
import { randomUUID } from 'node:crypto';
import { withSignedUrls } from './attachments.ts';
import { tracing } from './audit-events.ts';
import { statusOf } from './not-available.ts';
import type { ExecuteResult } from './execute-bot.ts';
import type { ServerState } from './server-state.ts';
import { contentType } from './request-body.ts';

export function sendBotResult(c: Context, state: ServerState, result: ExecuteResult): Response {
  const { success, log, value, unsendable } = result;
  if (unsendable) {
    return sendError(c, undefined);
  }
  const outcome = success ? core.allOk : core.badRequest(log);
  const answer = value === undefined ? outcome : value;
  if (core.isOperationOutcome(answer) && !core.isOk(answer)) {
    return sendOutcome(c, answer);
  }
  if (core.isResource(answer)) {
    const resource = answer as Resource;
    return resource.resourceType === 'Binary'
      ? sendReturnedBinary(c, state, outcome, resource)
      : sendResource(c, state, outcome, resource);
  }
  const mirrored = [core.ContentType.TEXT, core.ContentType.HL7_V2] as string[];
  const asked = contentType(c);
  const type = mirrored.includes(asked) ? asked : core.ContentType.JSON;
  return send(c, botText(answer, state), core.getStatus(outcome), type);
}

/** A string goes out without quotes, also as JSON; null as nothing. */
function botText(value: unknown, state: ServerState): string {
  if (value === null) {
    return '';
  }
  if (typeof value === 'string' || typeof value === 'number') {
    return String(value);
  }
  return withSignedUrls(JSON.stringify(value), state);
}

/** A returned Binary goes out as its content; without any there is nothing to read. */
function sendReturnedBinary(
  c: Context,
  state: ServerState,
  outcome: OperationOutcome,
  binary: Binary,
): Response {
  const stored = binary.id ? state.store.content(binary.id) : undefined;
  const content = binary.data ? Buffer.from(binary.data, 'base64') : stored;
  if (!content) {
    return state.version.atLeast('5.1.27')
      ? sendOutcome(c, core.notFound)
      : sendError(c, undefined);
  }
  resourceHeaders(c, state, outcome, binary);
  return send(c, content, core.getStatus(outcome), binary.contentType);
}

export function sendResource(
  c: Context,
  state: ServerState,
  outcome: OperationOutcome,
  resource: Resource,
  type: string = core.ContentType.FHIR_JSON,
): Response {
  resourceHeaders(c, state, outcome, resource);
  const status = core.getStatus(outcome);
  if (c.req.header('prefer') === 'return=minimal') {
    return send(c, '', status, type);
  }
  const pretty = c.req.query('_pretty') === 'true';
  // FHIR has no empty lists and members; other JSON, such as a GraphQL result, keeps them.
  const isFhir = type === core.ContentType.FHIR_JSON;
  const text = isFhir ? core.stringify(resource, pretty) : JSON.stringify(resource);
  return send(c, withSignedUrls(text, state), status, type);
}

export function resourceHeaders(
  c: Context,
  state: ServerState,
  outcome: OperationOutcome,
  { resourceType, id, meta }: Resource,
): void {
  if (meta?.versionId) {
    c.header('ETag', `W/"${meta.versionId}"`);
  }
  if (meta?.lastUpdated) {
    c.header('Last-Modified', new Date(meta.lastUpdated).toUTCString());
  }
  if (core.isCreated(outcome)) {
    c.header('Location', `${state.baseUrl}fhir/R4/${resourceType}/${id}`);
  }
}

export function sendOutcome(c: Context, outcome: OperationOutcome): Response {
  if (core.isAccepted(outcome) && outcome.issue[0]?.diagnostics) {
    c.header('Content-Location', outcome.issue[0].diagnostics);
  }
  if (c.req.header('prefer') === 'return=minimal') {
    return send(c, '', statusOf(outcome), core.ContentType.FHIR_JSON);
  }
  const trace = tracing(c.req.header('x-trace-id') ?? randomUUID());
  const extension = [trace, ...(outcome.extension ?? [])];
  const text = JSON.stringify({ ...outcome, extension });
  return send(c, text, statusOf(outcome), core.ContentType.FHIR_JSON);
}

export function sendError(c: Context, error: unknown): Response {
  if (error instanceof core.OperationOutcomeError) {
    return sendOutcome(c, error.outcome);
  }
  return c.json({ msg: 'Internal Server Error' }, 500);
}

export function sendJson(c: Context, state: ServerState, status: number, body: unknown): Response {
  return send(c, withSignedUrls(JSON.stringify(body), state), status, core.ContentType.JSON);
}

export function send(c: Context, body: string | Buffer, status: number, type: string): Response {
  const withCharset = /^text|json/.test(type) && !type.includes('charset');
  c.header('Cache-Control', 'no-store, no-cache, must-revalidate');
  const headers = { 'Content-Type': withCharset ? `${type}; charset=utf-8` : type };
  return c.body(body as never, status as never, headers);
}
