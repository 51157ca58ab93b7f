// One HTTP request to another system: a deadline, a body read where there is one, failures that hold no patient data.
import { OperationOutcomeError } from '@medplum/core';
import type { OperationOutcomeIssue } from '@medplum/fhirtypes';
import { withTimeout } from './retry.ts';

/** Names, not numbers: what is logged is what was sent. */
export const HTTP_VERBS = { GET: 'GET', POST: 'POST', PUT: 'PUT', PATCH: 'PATCH', DELETE: 'DELETE' } as const;
export type HTTP_VERBS = (typeof HTTP_VERBS)[keyof typeof HTTP_VERBS];

/** What the other system answered. */
export interface ExternalResponse<T> {
  status: number;
  /** The parsed JSON body; undefined where there was none, or where it was not JSON (a proxy's HTML page). */
  body: T | undefined;
  /** The version in the ETag, without `W/"…"`; undefined where there was none. */
  version: string | undefined;
}

/** A request that failed: everything one may know of it without learning anything about a patient. */
export interface RequestFailure extends OperationOutcomeError {
  /** The HTTP status; 0 when no answer came (refused, reset, timed out). */
  status: number;
  method: HTTP_VERBS;
  /** The FHIR type in the URL, or the host's name where there is none. */
  resourceType: string;
  /** The server's issue codes, HAPI's error numbers, or the network error's code. */
  codes: string[];
  retryAfter: string | null;
}

/**
 * Whether a request failed, or something else did. (`instanceof` fails on vmcontext, where realms mix.)
 *
 * @param error - Whatever was thrown.
 * @returns True for the failures of `sendRequest`.
 */
export function isRequestFailure(error: unknown): error is RequestFailure {
  return typeof error === 'object' && error !== null && 'codes' in error && 'retryAfter' in error;
}

/**
 * Whether the same request may succeed later.
 *
 * @param status - The HTTP status; 0 where there was no answer.
 * @returns True for no answer, too many requests, and a server's error.
 */
export function isTransient(status: number): boolean {
  return status === 0 || status === 429 || status >= 500;
}

/**
 * Sends one request, once.
 *
 * @param url - https, or http to this machine or a private name: a patient does not cross a network in the clear.
 * @param method - GET, POST, PUT, PATCH or DELETE.
 * @param body - A resource (sent as FHIR JSON), or text that is sent as it is.
 * @param headers - Added to, and winning over, the FHIR headers.
 * @param timeoutMs - Until the whole answer must be there, in milliseconds.
 * @returns Status, parsed body and version of a 2xx answer.
 * @throws RequestFailure for any other status, for no answer in time, and for a network error.
 */
export async function sendRequest<T = unknown>(
  url: string,
  method: HTTP_VERBS,
  body: unknown,
  headers: Record<string, string>,
  timeoutMs: number,
): Promise<ExternalResponse<T>> {
  const target = checkedUrl(url);
  return withTimeout(timeoutMs, async (signal) => {
    try {
      const response = await fetch(target.href, {
        method,
        headers: { accept: 'application/fhir+json', 'content-type': 'application/fhir+json', ...headers },
        body: body === undefined || body === null ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
        redirect: 'manual', // never carry a token or a patient to an address nobody configured
        signal,
      });
      const parsed = parseJson(await response.text());
      if (response.ok) {
        return { status: response.status, body: parsed as T, version: versionOf(response.headers.get('etag')) };
      }
      throw requestFailure(method, target, response.status, serverCodes(parsed), response.headers.get('retry-after'));
    } catch (error) {
      // No answer, or half of one: nobody knows what the server did.
      const codes = signal.aborted ? ['timeout'] : networkCodes(error);
      throw isRequestFailure(error) ? error : requestFailure(method, target, 0, codes, null);
    }
  });
}

function requestFailure(
  method: HTTP_VERBS,
  url: URL,
  status: number,
  codes: string[],
  retryAfter: string | null,
): RequestFailure {
  const resourceType = resourceTypeOf(url);
  const list = codes.length > 0 ? ` (${codes.join(', ')})` : '';
  const text = `${method} ${resourceType}: ${status === 0 ? 'no answer' : `HTTP ${status}`}${list}`;
  const code = status === 0 ? 'transient' : 'processing';
  const issue: OperationOutcomeIssue[] = [{ severity: 'error', code, details: { text } }];
  const failure = new OperationOutcomeError({ resourceType: 'OperationOutcome', issue });
  return Object.assign(failure, { status, method, resourceType, codes, retryAfter });
}

/** An OperationOutcome cut down to its codes: its diagnostics echo the patient (HAPI 8.8). */
function serverCodes(body: unknown): string[] {
  const issues = (body as { issue?: ({ code?: unknown; diagnostics?: unknown } | null)[] } | undefined)?.issue;
  const codes = (Array.isArray(issues) ? issues : []).flatMap((issue) => [
    String(issue?.code),
    ...(String(issue?.diagnostics).match(/\bHAPI-\d{4}\b/g) ?? []),
  ]);
  return [...new Set(codes)].filter((code) => /^[a-z-]{1,30}$|^HAPI-/.test(code) && code !== 'undefined');
}

/** The network error's code alone: node-fetch, which vmcontext has, writes the whole URL into its message. */
function networkCodes(error: unknown): string[] {
  const { code, cause } = (error ?? {}) as { code?: string; cause?: { code?: string } };
  return [cause?.code ?? code ?? ''].filter((text) => /^[A-Z_]{3,40}$/.test(text));
}

function versionOf(etag: string | null): string | undefined {
  return /"(.+)"/.exec(etag ?? '')?.[1];
}

function parseJson(text: string): unknown {
  try {
    return text ? JSON.parse(text) : undefined;
  } catch {
    return undefined;
  }
}

function resourceTypeOf(url: URL): string {
  return url.pathname.split('/').find((part) => /^[A-Z][a-z]+[A-Za-z]*$/.test(part)) ?? url.hostname;
}

/** Loopback, private addresses (RFC 1918), names without a dot (a container's), and names no public DNS knows. */
const PRIVATE_HOST =
  /^([^.:]+|.+\.(local|localhost|internal|lan)|(127|10|192\.168|172\.(1[6-9]|2\d|3[01]))\.[\d.]+|\[::1\])$/;

function checkedUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !(url.protocol === 'https:' || (url.protocol === 'http:' && PRIVATE_HOST.test(url.hostname)))) {
    throw new Error('The external address must be https://… (http:// only to this machine or a private name)');
  }
  return url;
}
