// Requests to other systems, for every bot: plain, authenticated and conditional, with retries
// where they are safe.
import type { Resource } from '@medplum/fhirtypes';
import { identifierQuery, parseIdentifierQuery } from './fhir-identifier.ts';
import { HTTP_VERBS, isRequestFailure, isTransient, sendRequest } from './http-request.ts';
import { clock, retry, retryDelay } from './retry.ts';

export { HTTP_VERBS };

/** A bot has 10 s by default (Bot.timeout); a request and its retries end before that. */
const TIME_BUDGET_MS = 8_000;
const ATTEMPT_MS = 4_000;

/**
 * Sends a request, with retries after 429, 5xx and network errors, for at most 8 seconds in all.
 *
 * POST and PATCH are sent again only after 429: after anything else it is unknown whether they were
 * carried out.
 *
 * @param url - An https address; http only to this machine or a private name.
 * @param method - GET, POST, PUT, PATCH or DELETE.
 * @param body - A resource; null and undefined send none.
 * @param headers - Added to the FHIR headers.
 * @returns The answer's JSON body, or undefined if there was none.
 * @throws RequestFailure with status, method, resource type and codes; never the URL's query or a
 *   body.
 * @example const patient = await makeExternalRequest(`${baseUrl}/Patient/${id}`, HTTP_VERBS.GET);
 */
export async function makeExternalRequest<T = unknown>(
  url: string,
  method: HTTP_VERBS,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<T | undefined> {
  const deadline = clock.now() + TIME_BUDGET_MS;
  const repeatable = method !== HTTP_VERBS.POST && method !== HTTP_VERBS.PATCH;
  const answer = await retry(
    () => sendRequest<T>(url, method, body, headers, Math.min(ATTEMPT_MS, deadline - clock.now())),
    deadline,
    (error, attempt) => {
      if (!isRequestFailure(error)) {
        return undefined;
      }
      const mayRetry = error.status === 429 || (repeatable && isTransient(error.status));
      return mayRetry ? retryDelay(attempt, error.retryAfter) : undefined;
    },
  );
  return answer.body;
}

/**
 * Sends a request with a bearer token; otherwise as `makeExternalRequest`.
 *
 * @param url - An https address; http only to this machine or a private name.
 * @param method - GET, POST, PUT, PATCH or DELETE.
 * @param authToken - The token, without `Bearer`; from a secret, never from the source.
 * @param body - A resource, or nothing.
 * @returns The answer's JSON body, or undefined if there was none.
 * @throws RequestFailure, as makeExternalRequest.
 * @example const patient = await makeAuthenticatedRequest(url, HTTP_VERBS.GET, token);
 */
export async function makeAuthenticatedRequest<T = unknown>(
  url: string,
  method: HTTP_VERBS,
  authToken: string,
  body?: unknown,
): Promise<T | undefined> {
  return makeExternalRequest<T>(url, method, body, { authorization: `Bearer ${authToken}` });
}

/**
 * Sends a conditional request: creates or updates, reads, or deletes what carries one identifier
 * (FHIR R4, 3.1.0.4.3).
 *
 * Any query but exactly one complete identifier is refused before it is sent: HAPI 8.8 answers 200
 * to `DELETE Patient?identifier=` and deletes an unrelated patient. Before you delete, look whether
 * the server honours the query at all: see hapi-sync-simple-bot.
 *
 * @param baseUrl - The FHIR server, e.g. `https://hapi.example.org/fhir`.
 * @param resourceType - E.g. `Patient`.
 * @param conditionalQuery - URL query syntax, as `identifierQuery` makes it; parsed here and
 *   encoded again.
 * @param method - GET, PUT, PATCH or DELETE.
 * @param resource - The body. For PUT it must carry the identifier, or the next PUT would create a
 *   second one.
 * @param headers - Added to the FHIR headers.
 * @returns The answer's JSON body, or undefined if there was none.
 * @throws Error for a query, a type or a body that is refused; RequestFailure, as
 *   makeExternalRequest.
 * @example
 * const query = identifierQuery(system, id);
 * await makeConditionalFhirRequest(baseUrl, 'Patient', query, HTTP_VERBS.PUT, patient);
 */
export async function makeConditionalFhirRequest<T = unknown>(
  baseUrl: string,
  resourceType: string,
  conditionalQuery: string,
  method: HTTP_VERBS,
  resource?: Resource | null,
  headers: Record<string, string> = {},
): Promise<T | undefined> {
  const { system, value } = parseIdentifierQuery(conditionalQuery);
  if (!/^[A-Z][A-Za-z]+$/.test(resourceType)) {
    throw new Error('Refused: a conditional request needs a FHIR resource type, such as Patient');
  }
  if (method === HTTP_VERBS.POST) {
    throw new Error('Refused: a POST takes no conditional query; use PUT');
  }
  if (method === HTTP_VERBS.PUT && !hasIdentifier(resource, system, value)) {
    throw new Error(
      `Refused: the ${resourceType} to PUT does not carry the identifier it is looked up by`,
    );
  }
  const { id: _serverAssigned, ...body } = resource ?? {};
  const url = `${baseUrl.replace(/\/+$/, '')}/${resourceType}?${identifierQuery(system, value)}`;
  return makeExternalRequest<T>(url, method, resource ? body : undefined, headers);
}

function hasIdentifier(
  resource: Resource | null | undefined,
  system: string,
  value: string,
): boolean {
  const identifiers = (
    resource as { identifier?: { system?: string; value?: string }[] } | undefined
  )?.identifier;
  return (
    Array.isArray(identifiers) &&
    identifiers.some((found) => found.system === system && found.value === value)
  );
}

/**
 * Logs one line about a request: the operation, the resource's id, the outcome, and numbers.
 *
 * Medplum keeps the log of a bot in AuditEvents, so nothing about a patient belongs in it: of an
 * error only status and codes are logged, because servers repeat patient data in their messages.
 *
 * @param operation - What was done, in your words, e.g. `PUT Patient` or `External sync PUT`. It is
 *   logged as it is.
 * @param resourceId - The resource's id; anything that is not a FHIR id is logged as `?`.
 * @param success - Whether it was carried out.
 * @param error - What went wrong; see describeError.
 * @param details - Numbers and versions for the line, e.g.
 *   `{ status: 200, version: '3', attempt: 1, ms: 45 }`.
 * @example
 * logExternalRequest('PUT Patient', id, false, error, { ms: 45 });
 * // PUT Patient/… failed: HTTP 412 ms=45
 */
export function logExternalRequest(
  operation: string,
  resourceId: string,
  success: boolean,
  error?: unknown,
  details: LogDetails = {},
): void {
  // Control characters make Medplum refuse the whole run (5.1: "Invalid string format").
  // eslint-disable-next-line no-control-regex
  const words = operation.replace(/[\s\u0000-\u001f]+/g, ' ').trim() || 'request';
  const endsWithType = /^[A-Z]+ [A-Z][A-Za-z]+$/.test(words);
  const id = /^[A-Za-z0-9.-]{1,64}$/.test(resourceId) ? resourceId : '?';
  const numbers = LOGGED_DETAILS.filter((name) => details[name] !== undefined).map(
    (name) => ` ${name}=${details[name]}`,
  );
  const outcome = success ? 'ok' : `failed: ${describeError(error)}`;
  // vmcontext has console.log only
  console.log(`${words}${endsWithType ? '/' : ' '}${id} ${outcome}${numbers.join('')}`);
}

const LOGGED_DETAILS = ['status', 'version', 'attempt', 'leftOut', 'ms'] as const;

interface LogDetails {
  status?: number;
  version?: string;
  attempt?: number;
  leftOut?: number;
  ms?: number;
}

/**
 * Reduces an error to what may be logged: status and codes.
 *
 * @param error - Anything thrown.
 * @returns E.g. `HTTP 409 processing HAPI-0989`, `no answer timeout`, `not-found`, `see the error`.
 * @example console.log(`upload failed: ${describeError(error)}`);
 */
export function describeError(error: unknown): string {
  if (isRequestFailure(error)) {
    return [error.status === 0 ? 'no answer' : `HTTP ${error.status}`, ...error.codes].join(' ');
  }
  const { code, cause } = Object(error) as { code?: unknown; cause?: unknown };
  if (typeof code === 'string' && /^[a-z-]{3,30}$/.test(code)) {
    return isRequestFailure(cause) ? `${code} ${describeError(cause)}` : code;
  }
  return (
    String(error)
      .match(/\bHTTP \d{3}\b|\bHAPI-\d{4}\b/g)
      ?.join(' ') ?? 'see the error'
  );
}
