// One HTTP request to another system: with a deadline and a size limit; its errors hold no patient
// data.
import { OperationOutcomeError } from '@medplum/core';
import type { OperationOutcomeIssue } from '@medplum/fhirtypes';
import { Buffer } from 'node:buffer';
import { withTimeout } from './retry.ts';

/** Strings, not numbers: the log shows the verb that was sent. */
export const HTTP_VERBS = {
  GET: 'GET',
  POST: 'POST',
  PUT: 'PUT',
  PATCH: 'PATCH',
  DELETE: 'DELETE',
} as const;
export type HTTP_VERBS = (typeof HTTP_VERBS)[keyof typeof HTTP_VERBS];

/**
 * No answer may be longer than this, in bytes, after decompression: a bot shares its memory with
 * the whole server.
 */
const MAX_BODY_BYTES = 10 * 1024 * 1024;

/** What the other system answered with a 2xx status. */
export interface ExternalResponse<T> {
  status: number;
  /**
   * The parsed JSON body; undefined if there was none, or if it was not JSON (a proxy's HTML page).
   */
  body: T | undefined;
  /** Whether the answer had no body at all. */
  isEmpty: boolean;
  /** The version in the ETag, without `W/"…"`; undefined without an ETag. */
  version: string | undefined;
  /**
   * `Content-Location` or `Location`, e.g. `https://hapi.example.org/fhir/Patient/1/_history/2`.
   */
  location: string | undefined;
}

interface FailureDetails {
  /** The HTTP status; 0 when no complete answer came (refused, reset, timed out, too large). */
  status: number;
  method: HTTP_VERBS;
  /** The FHIR type in the URL, or the host's name if there is none. */
  resourceType: string;
  /**
   * The server's issue codes, HAPI's error numbers, an OAuth error code, or the network error's
   * code.
   */
  codes: string[];
  /** The `Retry-After` header. */
  retryAfter: string | null;
  /**
   * Whether the body was a FHIR OperationOutcome, so that a FHIR server answered and not a proxy.
   */
  isFhir: boolean;
  /** The `Location` header: HAPI names the version of a deleted resource there. */
  location: string | undefined;
}

/**
 * A request that failed. Neither its message nor its fields hold anything about a patient, so that
 * it may be logged.
 */
export class RequestFailure extends OperationOutcomeError implements FailureDetails {
  readonly status: number;
  readonly method: HTTP_VERBS;
  readonly resourceType: string;
  readonly codes: string[];
  readonly retryAfter: string | null;
  readonly isFhir: boolean;
  readonly location: string | undefined;

  constructor(details: FailureDetails) {
    const { status, method, resourceType, codes } = details;
    const list = codes.length > 0 ? ` (${codes.join(', ')})` : '';
    const answer = status === 0 ? 'no answer' : `HTTP ${status}`;
    const text = `${method} ${resourceType}: ${answer}${list}`;
    const code = status === 0 ? 'transient' : 'processing';
    const issue: OperationOutcomeIssue[] = [{ severity: 'error', code, details: { text } }];
    super({ resourceType: 'OperationOutcome', issue });
    this.status = status;
    this.method = method;
    this.resourceType = resourceType;
    this.codes = codes;
    this.retryAfter = details.retryAfter;
    this.isFhir = details.isFhir;
    this.location = details.location;
  }
}

/**
 * Tells whether a request failed, or something else did.
 *
 * @param error - Anything that was thrown.
 * @returns True for the failures of `sendRequest`.
 */
export function isRequestFailure(error: unknown): error is RequestFailure {
  return error instanceof RequestFailure;
}

/**
 * Tells whether the same request may succeed later.
 *
 * @param status - The HTTP status; 0 if there was no answer.
 * @returns True for no answer, for too many requests (429), and for a server's error (5xx).
 */
export function isTransient(status: number): boolean {
  return status === 0 || status === 429 || status >= 500;
}

/**
 * Sends one request, once.
 *
 * @param url - An https address; http only to this machine or a private name, so that no patient
 *   crosses a public network in clear text.
 * @param method - GET, POST, PUT, PATCH or DELETE.
 * @param body - A resource (sent as FHIR JSON), or text that is sent as it is.
 * @param headers - Added to the FHIR headers; they replace those of the same name.
 * @param timeoutMs - The time for the whole request, in milliseconds.
 * @returns Status, body, version and location of a 2xx answer.
 * @throws RequestFailure for any other status, for no answer in time, for a network error, and for
 *   a body of more than 10 MB (code `too-large`).
 */
export async function sendRequest<T = unknown>(
  url: string,
  method: HTTP_VERBS,
  body: unknown,
  headers: Record<string, string>,
  timeoutMs: number,
): Promise<ExternalResponse<T>> {
  const target = checkedUrl(url);
  const sent: SentRequest = { method, resourceType: resourceTypeOf(target) };
  return withTimeout(timeoutMs, async (signal) => {
    try {
      const response = await fetch(target.href, {
        method,
        headers: {
          accept: 'application/fhir+json',
          'content-type': 'application/fhir+json',
          ...headers,
        },
        body: textOf(body),
        // a redirect must not carry a token or a patient to an address that was not configured
        redirect: 'manual',
        signal,
      });
      return await readAnswer<T>(response, sent);
    } catch (error) {
      if (isRequestFailure(error)) {
        throw error;
      }
      // No answer, or half of one: it is unknown what the server did.
      const codes = signal.aborted ? ['timeout'] : networkCodes(error);
      throw new RequestFailure({
        ...sent,
        status: 0,
        codes,
        retryAfter: null,
        isFhir: false,
        location: undefined,
      });
    }
  });
}

type SentRequest = Pick<FailureDetails, 'method' | 'resourceType'>;

/** @throws RequestFailure for a status that is not 2xx */
async function readAnswer<T>(response: Response, sent: SentRequest): Promise<ExternalResponse<T>> {
  const { status, headers } = response;
  const text = await readText(response);
  const body = parseJson(text);
  const location = headers.get('content-location') ?? headers.get('location') ?? undefined;
  if (!response.ok) {
    throw new RequestFailure({
      ...sent,
      status,
      codes: serverCodes(body),
      retryAfter: headers.get('retry-after'),
      isFhir: isOperationOutcome(body),
      location,
    });
  }
  const version = versionInEtag(headers.get('etag'));
  return { status, body: body as T, isEmpty: text === '', version, location };
}

function textOf(body: unknown): string | undefined {
  if (body === undefined || body === null) {
    return undefined;
  }
  return typeof body === 'string' ? body : JSON.stringify(body);
}

/**
 * Reads a body piece by piece, and stops at the limit: `response.text()` would first read all of it
 * into memory.
 */
async function readText(response: Response): Promise<string> {
  // Node's fetch has a web stream, node-fetch (vmcontext) a Node stream; both can be iterated. A
  // mock may have neither.
  const stream = response.body as AsyncIterable<Uint8Array> | null | undefined;
  if (!stream?.[Symbol.asyncIterator]) {
    return response.text();
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) {
      throw Object.assign(new Error('The body is too large'), { code: 'too-large' });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function isOperationOutcome(body: unknown): boolean {
  return (
    (body as { resourceType?: unknown } | null | undefined)?.resourceType === 'OperationOutcome'
  );
}

/**
 * The codes of an OperationOutcome or of an OAuth error. Texts are left out: HAPI's diagnostics
 * repeat patient data.
 */
function serverCodes(body: unknown): string[] {
  const { issue, error } = Object(body) as { issue?: unknown; error?: unknown };
  const issues = (Array.isArray(issue) ? issue : []) as ({
    code?: unknown;
    diagnostics?: unknown;
  } | null)[];
  const codes = issues.flatMap((found) => [
    String(found?.code),
    ...(String(found?.diagnostics).match(/\bHAPI-\d{4}\b/g) ?? []),
  ]);
  if (typeof error === 'string' && /^[a-z_]{3,40}$/.test(error)) {
    codes.push(error); // RFC 6749, 5.2, e.g. invalid_client
  }
  return [...new Set(codes)].filter(
    (code) => /^[a-z_-]{1,40}$|^HAPI-/.test(code) && code !== 'undefined',
  );
}

/**
 * The network error's code alone: node-fetch, which vmcontext has, writes the whole URL into its
 * message.
 */
function networkCodes(error: unknown): string[] {
  const { code, cause } = (error ?? {}) as { code?: string; cause?: { code?: string } };
  return [cause?.code ?? code ?? ''].filter((text) => /^[A-Z_]{3,40}$|^too-large$/.test(text));
}

/**
 * The version in an ETag.
 *
 * @param etag - `W/"3"`, or `3`, as HAPI 8.8 answers in the entries of a Bundle.
 * @returns The version, e.g. `3`; undefined without an ETag.
 */
export function versionInEtag(etag: string | null | undefined): string | undefined {
  return /^(?:W\/)?"?([^"]+)"?$/.exec(etag ?? '')?.[1];
}

function parseJson(text: string): unknown {
  try {
    return text ? JSON.parse(text) : undefined;
  } catch {
    return undefined;
  }
}

function resourceTypeOf(url: URL): string {
  return (
    url.pathname.split('/').find((part) => /^[A-Z][a-z]+[A-Za-z]*$/.test(part)) ?? url.hostname
  );
}

/**
 * Loopback, private addresses (RFC 1918), names without a dot (a container's), and names that no
 * public DNS knows.
 */
const PRIVATE_HOST =
  /^([^.:]+|.+\.(local|localhost|internal|lan)|(127|10|192\.168|172\.(1[6-9]|2\d|3[01]))\.[\d.]+|\[::1\])$/;

/**
 * Parses an address, and refuses what patients may not be sent to.
 *
 * @param text - An https address; http only to this machine or a private name.
 * @returns The address.
 * @throws Error for any other address.
 */
export function checkedUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isSafe =
    url?.protocol === 'https:' || (url?.protocol === 'http:' && PRIVATE_HOST.test(url.hostname));
  if (!url || !isSafe) {
    throw new Error(
      'The external address must be https://… (http:// only to this machine or a private name)',
    );
  }
  return url;
}
