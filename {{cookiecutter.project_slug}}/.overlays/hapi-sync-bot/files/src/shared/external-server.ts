// A connection to the external FHIR server: its address and credentials come from secrets.
import { checkedUrl, isRequestFailure, sendRequest } from './http-request.ts';
import type { ExternalResponse, HTTP_VERBS } from './http-request.ts';
import { clock } from './retry.ts';
import { optionalSecret, requiredSecret } from './secrets.ts';
import type { Secrets } from './secrets.ts';
import { forgetToken, oauthToken } from './oauth.ts';

/**
 * The time for one request and for one Bundle, in milliseconds. A hanging server must leave time
 * for a second try.
 */
const REQUEST_MS = 8_000;
const BUNDLE_MS = 60_000;

/** Sends requests to an external FHIR server. */
export interface ExternalServer {
  /** Its address, without a slash at its end. */
  baseUrl: string;
  /**
   * Sends one request, once. A token that the server no longer accepts (401) is renewed once.
   *
   * @param method - GET, POST, PUT or DELETE.
   * @param path - Below the server's address, e.g. `Patient/123`; empty for a Bundle, `?…` for a
   *   next page.
   * @param body - A resource, or text that is sent as it is.
   * @param headers - Added to the FHIR headers.
   * @returns The answer.
   * @throws RequestFailure, as sendRequest.
   */
  send: <T = unknown>(
    method: HTTP_VERBS,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ) => Promise<ExternalResponse<T>>;
}

/**
 * Connects to the external FHIR server of this Medplum project. The secrets that are set decide how
 * requests are authorized: with `HAPI_TOKEN_URL` by OAuth 2.0 client credentials (see oauthToken),
 * else with `HAPI_BEARER_TOKEN` by that token, else not at all.
 *
 * @param secrets - `event.secrets`, with `HAPI_BASE_URL`, e.g. `https://hapi.example.org/fhir`.
 * @param deadline - When everything must be over, in milliseconds since 1970; no request runs
 *   longer.
 * @returns The connection.
 * @throws Error that names the secret that is missing or malformed; never its value.
 * @example const server = connectExternalServer(event.secrets, clock.now() + 25_000);
 */
export function connectExternalServer(secrets: Secrets, deadline: number): ExternalServer {
  const baseUrl = addressIn(secrets, 'HAPI_BASE_URL').replace(/\/+$/, '');
  const tokenUrl =
    optionalSecret(secrets, 'HAPI_TOKEN_URL') && addressIn(secrets, 'HAPI_TOKEN_URL');
  const fixedToken = optionalSecret(secrets, 'HAPI_BEARER_TOKEN');
  if (fixedToken && !/^[\x21-\x7e]+$/.test(fixedToken)) {
    throw new Error(
      'Secret HAPI_BEARER_TOKEN is not a token: it contains a space, a line break ' +
        'or another character',
    );
  }

  function timeLeft(limitMs: number): number {
    return Math.max(1, Math.min(limitMs, deadline - clock.now()));
  }

  async function authorization(): Promise<Record<string, string>> {
    const token = tokenUrl ? await oauthToken(tokenUrl, secrets, timeLeft(REQUEST_MS)) : fixedToken;
    return token ? { authorization: `Bearer ${token}` } : {};
  }

  return {
    baseUrl,
    send: async (method, path, body, headers = {}) => {
      const url = path && !path.startsWith('?') ? `${baseUrl}/${path}` : `${baseUrl}${path}`;
      const limitMs = path ? REQUEST_MS : BUNDLE_MS;
      const signed = { ...headers, ...(await authorization()) };
      try {
        return await sendRequest(url, method, body, signed, timeLeft(limitMs));
      } catch (error) {
        if (!tokenUrl || !isRequestFailure(error) || error.status !== 401) {
          throw error;
        }
        forgetToken(signed.authorization);
        const renewed = { ...headers, ...(await authorization()) };
        return await sendRequest(url, method, body, renewed, timeLeft(limitMs));
      }
    },
  };
}

/**
 * An address in a secret. What would only fail later, as "no answer", is refused here with the
 * reason.
 */
function addressIn(secrets: Secrets, name: string): string {
  const text = requiredSecret(secrets, name);
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || /\s/.test(text)) {
    throw new Error(
      `Secret ${name} is not an address such as https://hapi.example.org/fhir ` +
        '(or contains a space)',
    );
  }
  if (url.username || url.password) {
    throw new Error(
      `Secret ${name} contains credentials: use HAPI_BEARER_TOKEN or HAPI_TOKEN_URL for them`,
    );
  }
  if (name === 'HAPI_BASE_URL' && (url.search || url.hash)) {
    throw new Error(
      `Secret ${name} contains a ? or a #: it must be the base address of the FHIR server`,
    );
  }
  checkedUrl(text);
  return text;
}
