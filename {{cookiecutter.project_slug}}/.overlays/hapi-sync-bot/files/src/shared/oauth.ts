// Access tokens for the external server: OAuth 2.0 client credentials, with a client secret or with
// a private key.
import { Buffer } from 'node:buffer';
import { createPrivateKey, randomUUID, sign } from 'node:crypto';
import type { JsonWebKey, KeyObject } from 'node:crypto';
import { HTTP_VERBS, sendRequest } from './http-request.ts';
import { clock } from './retry.ts';
import { optionalSecret, requiredSecret } from './secrets.ts';
import type { Secrets } from './secrets.ts';

/** A token is renewed a minute before it expires; a short-lived one after half of its life. */
const RENEW_BEFORE_MS = 60_000;
/** How long a token is kept if the server does not say when it expires. */
const UNKNOWN_LIFE_MS = 300_000;
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

interface Token {
  /** Which server and client it belongs to. */
  owner: string;
  value: Promise<string>;
  /** The `authorization` header that carries it, once it is known. */
  header: string | undefined;
  /** In milliseconds since 1970. */
  renewAt: number;
}

/**
 * The last token. A warm Lambda keeps it; on vmcontext nothing is kept between two runs, so each
 * run asks once.
 */
let lastToken: Token | undefined;

/**
 * Returns an access token that is still valid, or asks for a new one (RFC 6749, 4.4). Requests that
 * need a new token at the same time share it.
 *
 * The client authenticates with `HAPI_CLIENT_SECRET`, or, as SMART Backend Services requires, with
 * a signed assertion (RFC 7523) if `HAPI_CLIENT_KEY` is set. `HAPI_SCOPE` and `HAPI_AUDIENCE` are
 * sent if they are set.
 *
 * @param tokenUrl - The token endpoint.
 * @param secrets - With `HAPI_CLIENT_ID`, and either `HAPI_CLIENT_SECRET` or `HAPI_CLIENT_KEY`.
 * @param timeoutMs - The time for the request, in milliseconds.
 * @returns The token.
 * @throws RequestFailure if the endpoint refuses; its codes hold the OAuth error, e.g.
 *   `invalid_client`.
 */
export async function oauthToken(
  tokenUrl: string,
  secrets: Secrets,
  timeoutMs: number,
): Promise<string> {
  const owner =
    `${tokenUrl} ${requiredSecret(secrets, 'HAPI_CLIENT_ID')} ` +
    optionalSecret(secrets, 'HAPI_SCOPE');
  if (lastToken?.owner === owner && lastToken.renewAt > clock.now()) {
    return lastToken.value;
  }
  const token: Token = { owner, value: requestToken(), header: undefined, renewAt: Infinity };
  lastToken = token;
  return token.value;

  async function requestToken(): Promise<string> {
    try {
      const { headers, form } = clientCredentials(tokenUrl, secrets);
      const answer = await sendRequest<{ access_token?: string; expires_in?: number }>(
        tokenUrl,
        HTTP_VERBS.POST,
        form.toString(),
        {
          ...headers,
          accept: 'application/json',
          'content-type': 'application/x-www-form-urlencoded',
        },
        timeoutMs,
      );
      const { access_token: value, expires_in: seconds } = answer.body ?? {};
      if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) {
        throw new Error('The address in HAPI_TOKEN_URL answered without an access_token');
      }
      const lifeMs = typeof seconds === 'number' ? seconds * 1000 : UNKNOWN_LIFE_MS;
      token.renewAt = clock.now() + lifeMs - Math.min(RENEW_BEFORE_MS, lifeMs / 2);
      token.header = `Bearer ${value}`;
      return value;
    } catch (error) {
      lastToken = undefined; // the next request asks again
      throw error;
    }
  }
}

/**
 * Drops a token that the server no longer accepts, unless another request has replaced it already.
 *
 * @param header - The `authorization` header that was refused.
 */
export function forgetToken(header: string | undefined): void {
  if (lastToken?.header === header) {
    lastToken = undefined;
  }
}

/** How the client proves who it is: in a header (a secret), or in the form (a signed assertion). */
function clientCredentials(
  tokenUrl: string,
  secrets: Secrets,
): { headers: Record<string, string>; form: URLSearchParams } {
  const clientId = requiredSecret(secrets, 'HAPI_CLIENT_ID');
  const form = new URLSearchParams({ grant_type: 'client_credentials' });
  for (const [parameter, name] of [
    ['scope', 'HAPI_SCOPE'],
    ['audience', 'HAPI_AUDIENCE'],
  ] as const) {
    const value = optionalSecret(secrets, name);
    if (value) {
      form.set(parameter, value);
    }
  }
  const key = optionalSecret(secrets, 'HAPI_CLIENT_KEY');
  if (key) {
    form.set('client_assertion_type', ASSERTION_TYPE);
    form.set('client_assertion', clientAssertion(clientId, tokenUrl, key));
    return { headers: {}, form };
  }
  const clientSecret = requiredSecret(secrets, 'HAPI_CLIENT_SECRET');
  const pair = `${encodeURIComponent(clientId)}:${encodeURIComponent(clientSecret)}`;
  return { headers: { authorization: `Basic ${Buffer.from(pair).toString('base64')}` }, form };
}

/**
 * A JWT that only the owner of the private key can make, valid for five minutes (SMART App Launch
 * 2.2, 4.5).
 */
function clientAssertion(clientId: string, tokenUrl: string, secret: string): string {
  const { key, keyId } = privateKeyFrom(secret);
  const isRsa = key.asymmetricKeyType === 'rsa';
  const seconds = Math.floor(clock.now() / 1000);
  const header = { alg: isRsa ? 'RS384' : 'ES384', typ: 'JWT', kid: keyId };
  const claims = {
    iss: clientId,
    sub: clientId,
    aud: tokenUrl,
    jti: randomUUID(),
    iat: seconds,
    exp: seconds + 300,
  };
  const text = [header, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  const signature = sign(
    'sha384',
    Buffer.from(text),
    isRsa ? key : { key, dsaEncoding: 'ieee-p1363' },
  );
  return `${text}.${signature.toString('base64url')}`;
}

/**
 * Reads HAPI_CLIENT_KEY: a private JWK (one line of JSON, with its `kid`), or a PEM block. Of the
 * curves only P-384 goes with ES384, so that any other would be refused as a wrong signature.
 */
function privateKeyFrom(secret: string): { key: KeyObject; keyId: string | undefined } {
  try {
    const isJwk = secret.trimStart().startsWith('{');
    const jwk = isJwk ? (JSON.parse(secret) as JsonWebKey & { kid?: string }) : undefined;
    const key = jwk
      ? createPrivateKey({ key: jwk, format: 'jwk' })
      : createPrivateKey(secret.replaceAll(String.raw`\n`, '\n'));
    const curve = key.asymmetricKeyDetails?.namedCurve;
    if (key.asymmetricKeyType === 'rsa' || curve === 'secp384r1') {
      return { key, keyId: jwk?.kid };
    }
  } catch {
    // its message may hold a part of the key
  }
  throw new Error(
    'Secret HAPI_CLIENT_KEY is not a private key: it must be a JWK ' +
      '(RSA, or EC with P-384) or a PEM block',
  );
}
