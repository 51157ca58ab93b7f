// Requests and answers of the local Medplum server in the real one's form: bodies, outcomes, ETags, signed addresses.
import * as core from '@medplum/core';
import type { OperationOutcome, Resource } from '@medplum/fhirtypes';
import type { Context } from 'hono';
import { randomUUID } from 'node:crypto';
import { signature } from './access.ts';
import { tracing } from './bot-execution.ts';
import type { World } from './repository.ts';

/** Of JSON; Binary takes more. */
const MAX_BODY_BYTES = 1024 * 1024;
const PRESIGNED_SECONDS = 3600;

/** JSON and text are read, an empty or unknown body is `{}`, as Express does it for the real server. */
export async function readBody(c: Context, world: World): Promise<unknown> {
  const type = c.req.header('content-type')?.split(';')[0] ?? '';
  const tooLarge = new core.OperationOutcomeError(core.contentTooLarge('Request body too large'));
  if (Number(c.req.header('content-length') ?? 0) > MAX_BODY_BYTES) throw tooLarge;
  const text = await c.req.text();
  if (Buffer.byteLength(text) > MAX_BODY_BYTES) throw tooLarge;
  if (text === '') return {};
  if (type === 'text/plain' || type === core.ContentType.HL7_V2) return text;
  if (type === 'application/x-www-form-urlencoded')
    return Object.fromEntries(new URLSearchParams(text));
  if (!/^application\/(.+\+)?json$/.test(type)) return {};
  try {
    const value: unknown = JSON.parse(text.replaceAll(storageUrls(world), '"$1":"Binary/$2"'));
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // said below
  }
  throw new core.OperationOutcomeError(core.badRequest('Content could not be parsed'));
}

/** Attachments go out with a signed address that differs at each read, and are stored as a reference again. */
function storageUrls({ baseUrl }: World): RegExp {
  return new RegExp(
    `"(url|path)"\\s*:\\s*"${baseUrl}(?:storage|fhir/R4/Binary)/([0-9a-f-]{36})[^"]*"`,
    'g',
  );
}

export function presigned(json: string, { store, baseUrl }: World): string {
  return json.replaceAll(
    /"(url|path)":"Binary\/([0-9a-f-]{36})"/g,
    (whole, key: string, id: string) => {
      const latest = store.latest('Binary', id);
      if (!latest || latest.deleted) return whole;
      const version = latest.resource.meta!.versionId!;
      const expires = `${Date.now() + PRESIGNED_SECONDS * 1000}.${Math.floor(Math.random() * 1e9)}`;
      const proof = signature(`${id}/${version}/${expires}`);
      return `"${key}":"${baseUrl}storage/${id}/${version}?Expires=${expires}&Signature=${proof}"`;
    },
  );
}

export function sendBotResult(
  c: Context,
  world: World,
  success: boolean,
  value: unknown,
  log: string,
): Response {
  const result = value === undefined ? (success ? core.allOk : core.badRequest(log)) : value;
  const outcome = success ? core.allOk : core.badRequest(log);
  if (core.isOperationOutcome(result) && !core.isOk(result)) return sendOutcome(c, result);
  if (core.isResource(result)) return sendResource(c, world, outcome, result as Resource);
  const asked = c.req.header('content-type') ?? '';
  const type = ['text/plain', core.ContentType.HL7_V2].includes(asked)
    ? asked
    : core.ContentType.JSON;
  // A string goes out without quotes, also as JSON; null as nothing.
  const text =
    typeof result === 'string' || result === null
      ? (result ?? '')
      : presigned(JSON.stringify(result), world);
  return send(c, text, core.getStatus(outcome), type);
}

export function sendResource(
  c: Context,
  world: World,
  outcome: OperationOutcome,
  resource: Resource,
): Response {
  const { versionId, lastUpdated } = resource.meta ?? {};
  if (versionId) c.header('ETag', `W/"${versionId}"`);
  if (lastUpdated) c.header('Last-Modified', new Date(lastUpdated).toUTCString());
  if (core.isCreated(outcome))
    c.header('Location', `${world.baseUrl}fhir/R4/${resource.resourceType}/${resource.id}`);
  return sendJson(c, world, core.getStatus(outcome), resource, core.ContentType.FHIR_JSON);
}

export function sendOutcome(c: Context, outcome: OperationOutcome): Response {
  const extension = [
    tracing(c.req.header('x-trace-id') ?? randomUUID()),
    ...(outcome.extension ?? []),
  ];
  return send(
    c,
    JSON.stringify({ ...outcome, extension }),
    core.getStatus(outcome),
    core.ContentType.FHIR_JSON,
  );
}

export function sendError(c: Context, error: unknown): Response {
  if (error instanceof core.OperationOutcomeError) return sendOutcome(c, error.outcome);
  return c.json({ msg: 'Internal Server Error' }, 500);
}

export function sendJson(
  c: Context,
  world: World,
  status: number,
  body: unknown,
  type = core.ContentType.JSON as string,
): Response {
  return send(c, presigned(JSON.stringify(body), world), status, type);
}

export function send(c: Context, body: string | Buffer, status: number, type: string): Response {
  const contentType = /^text|json/.test(type) ? `${type}; charset=utf-8` : type;
  c.header('Cache-Control', 'no-store, no-cache, must-revalidate');
  return c.body(body as never, status as never, { 'Content-Type': contentType });
}
