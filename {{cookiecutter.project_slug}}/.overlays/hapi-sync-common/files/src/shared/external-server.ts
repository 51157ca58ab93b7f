// The external FHIR server: its address, and how it is told who we are. All of it comes from secrets.
import { Buffer } from 'node:buffer';
import { HTTP_VERBS, isRequestFailure, sendRequest } from './http-request.ts';
import type { ExternalResponse } from './http-request.ts';
import { clock } from './retry.ts';
import { optionalSecret, requiredSecret } from './secrets.ts';
import type { Secrets } from './secrets.ts';

/** One request may take this long, a Bundle longer; a server that hangs must not use up the time for a second try. */
const REQUEST_MS = 10_000;
const BUNDLE_MS = 60_000;

export interface ExternalServer {
  /**
   * Sends one request, once, signed; a token that the server no longer takes (401) is renewed once.
   *
   * @param path - Below the server's address, e.g. `Patient/123`; empty for a Bundle, `?…` for a next page.
   * @throws RequestFailure, as sendRequest.
   */
  send: <T = unknown>(
    method: HTTP_VERBS,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ) => Promise<ExternalResponse<T>>;
}

interface Token {
  for: string;
  value: Promise<string>;
  /** Milliseconds since 1970. */
  expires: number;
}

/** The last token. It stays while a Lambda is warm; vmcontext starts anew each time, and asks each time. */
let lastToken: Token | undefined;

/**
 * The external server of this Medplum project. Which authentication it wants is told by which secrets there are:
 * `HAPI_TOKEN_URL` (with `HAPI_CLIENT_ID` and `HAPI_CLIENT_SECRET`): OAuth 2.0 client credentials (RFC 6749, 4.4);
 * else `HAPI_BEARER_TOKEN`: this token; else none.
 *
 * @param secrets - `event.secrets`, with `HAPI_BASE_URL`, e.g. `https://hapi.example.org/fhir`.
 * @param deadline - When all must be over, in milliseconds since 1970; no request runs beyond it.
 * @returns The server.
 * @throws Error that names a missing secret.
 */
export function connectExternalServer(secrets: Secrets, deadline: number): ExternalServer {
  const baseUrl = requiredSecret(secrets, 'HAPI_BASE_URL').replace(/\/+$/, '');
  const tokenUrl = optionalSecret(secrets, 'HAPI_TOKEN_URL');
  const fixedToken = optionalSecret(secrets, 'HAPI_BEARER_TOKEN');
  const timeLeft = (atMost = REQUEST_MS): number => Math.max(1, Math.min(atMost, deadline - clock.now()));

  async function authorization(): Promise<Record<string, string>> {
    const token = tokenUrl ? await clientCredentialsToken(tokenUrl, secrets, timeLeft()) : fixedToken;
    return token ? { authorization: `Bearer ${token}` } : {};
  }

  return {
    send: async (method, path, body, headers = {}) => {
      const url = path && !path.startsWith('?') ? `${baseUrl}/${path}` : `${baseUrl}${path}`;
      const atMost = path ? REQUEST_MS : BUNDLE_MS;
      const signed = { ...headers, ...(await authorization()) };
      const used = lastToken;
      try {
        return await sendRequest(url, method, body, signed, timeLeft(atMost));
      } catch (error) {
        if (!tokenUrl || !isRequestFailure(error) || error.status !== 401) {
          throw error;
        }
        lastToken = lastToken === used ? undefined : lastToken; // perhaps another request has renewed it already
        return await sendRequest(url, method, body, { ...headers, ...(await authorization()) }, timeLeft(atMost));
      }
    },
  };
}

/** A token that is still good for a minute, or a new one. Requests that need one at the same time share it. */
async function clientCredentialsToken(tokenUrl: string, secrets: Secrets, timeoutMs: number): Promise<string> {
  const clientId = requiredSecret(secrets, 'HAPI_CLIENT_ID');
  const clientSecret = requiredSecret(secrets, 'HAPI_CLIENT_SECRET');
  const key = `${tokenUrl} ${clientId}`;
  if (lastToken?.for === key && lastToken.expires > clock.now() + 60_000) {
    return lastToken.value;
  }
  const token: Token = { for: key, value: requestToken(), expires: Infinity };
  lastToken = token;
  return token.value;

  async function requestToken(): Promise<string> {
    try {
      const credentials = Buffer.from(`${encodeURIComponent(clientId)}:${encodeURIComponent(clientSecret)}`);
      const answer = await sendRequest<{ access_token?: string; expires_in?: number }>(
        tokenUrl,
        HTTP_VERBS.POST,
        'grant_type=client_credentials',
        {
          authorization: `Basic ${credentials.toString('base64')}`,
          accept: 'application/json',
          'content-type': 'application/x-www-form-urlencoded',
        },
        timeoutMs,
      );
      if (!answer.body?.access_token) {
        throw new Error('The address in HAPI_TOKEN_URL answered without an access_token');
      }
      token.expires = clock.now() + (answer.body.expires_in ?? 0) * 1000;
      return answer.body.access_token;
    } catch (error) {
      lastToken = undefined; // the next request asks anew
      throw error;
    }
  }
}
