// Bodies of requests, read by their content type as Medplum's server reads them.
import * as core from '@medplum/core';
import type { Context } from 'hono';
import { parse } from 'node:querystring';

/** Of JSON and text; Binary takes more. */
const MAX_BODY_BYTES = 1024 * 1024;

/**
 * JSON is parsed, text and HL7 stay text, a form becomes an object; anything else is `{}`.
 *
 * @throws OperationOutcomeError: 413 where it is too large, 400 where it cannot be parsed
 */
export async function readBody(c: Context): Promise<unknown> {
  const type = contentType(c);
  const text = await readText(c);
  if (text === '') {
    return {};
  }
  if (type === core.ContentType.TEXT) {
    return text;
  }
  if (type === core.ContentType.HL7_V2) {
    return hl7(text);
  }
  if (type === core.ContentType.FORM_URL_ENCODED) {
    return { ...parse(text) };
  }
  return /^application\/(.+\+)?json$/.test(type) ? json(text) : {};
}

/** @returns whether a body of this content type reaches a bot as `{}` */
export function isIgnoredBody(c: Context): boolean {
  const type = contentType(c);
  const read = [
    core.ContentType.TEXT,
    core.ContentType.HL7_V2,
    core.ContentType.FORM_URL_ENCODED,
    '',
  ] as string[];
  return !read.includes(type) && !/^application\/(.+\+)?json$/.test(type);
}

export function contentType(c: Context): string {
  return c.req.header('content-type')?.split(';')[0]?.trim() ?? '';
}

/** Does not wait for the body of a GET, which has none. */
async function readText(c: Context): Promise<string> {
  if (c.req.method === 'GET') {
    return '';
  }
  if (Number(c.req.header('content-length') ?? 0) > MAX_BODY_BYTES) {
    throw tooLarge();
  }
  const text = await c.req.text();
  if (Buffer.byteLength(text) > MAX_BODY_BYTES) {
    throw tooLarge();
  }
  return text;
}

function tooLarge(): Error {
  return new core.OperationOutcomeError(core.contentTooLarge('Request body too large'));
}

function hl7(text: string): string {
  try {
    core.Hl7Message.parse(text);
    return text;
  } catch {
    throw new core.OperationOutcomeError(core.badRequest('Content could not be parsed'));
  }
}

/** Only lists and objects; a bare string or number is refused. */
function json(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (typeof value !== 'object' || value === null) {
    throw new core.OperationOutcomeError(core.badRequest('Content could not be parsed'));
  }
  return value;
}
