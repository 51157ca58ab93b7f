// Access tokens and signed addresses: made and checked under a key that lives as long as the
// process.
import { resolveId } from '@medplum/core';
import type { WithId } from '@medplum/core';
import type { ProjectMembership } from '@medplum/fhirtypes';
import { createHmac, createSecretKey, randomBytes, timingSafeEqual } from 'node:crypto';

export const TOKEN_SECONDS = 3600;

/** A key object: Node prepares one once, and bytes again for each signature. */
const key = createSecretKey(randomBytes(32));

interface Claims {
  /** The id of the ProjectMembership. */
  login_id: string;
  /** Expiry, in seconds since 1970. */
  exp: number;
  /** The id of the bot's run that the token was made for. */
  run?: string;
}

/**
 * Makes a JSON web token in the shape that MedplumClient looks into for its expiry.
 *
 * @param runId - the bot's run that the token is for, if it is for one
 */
export function issueToken(
  membership: WithId<ProjectMembership>,
  baseUrl: string,
  runId?: string,
): string {
  const profile = membership.profile.reference!;
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    login_id: membership.id,
    sub: resolveId(membership.profile),
    profile,
    scope: 'openid',
    iss: baseUrl,
    client_id: resolveId(membership.profile),
    run: runId,
    iat: now,
    exp: now + TOKEN_SECONDS,
  };
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const body = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${body}.${signature(body)}`;
}

/** @returns what a token says, if this server signed it and it has not expired */
export function verifiedClaims(token: string): Claims | undefined {
  const [head, claims = '', proof = ''] = token.split('.');
  if (!sameSecret(proof, signature(`${head}.${claims}`))) {
    return undefined;
  }
  const result = JSON.parse(Buffer.from(claims, 'base64url').toString()) as Claims;
  return result.exp * 1000 > Date.now() ? result : undefined;
}

/**
 * @param header - the Authorization header of a request
 * @returns the id of the bot's run that sent it, undefined where it came from elsewhere
 */
export function runIdOf(header: string | undefined): string | undefined {
  const [scheme, token = ''] = header?.split(' ') ?? [];
  return scheme === 'Bearer' ? verifiedClaims(token)?.run : undefined;
}

/** @returns an HMAC of the text */
export function signature(text: string): string {
  return createHmac('sha256', key).update(text).digest('base64url');
}

/** @returns whether two secrets are the same, in a time that does not tell where they differ */
export function sameSecret(a: string, b: string): boolean {
  return timingSafeEqual(
    createHmac('sha256', key).update(a).digest(),
    createHmac('sha256', key).update(b).digest(),
  );
}

/** @returns id and secret of a Basic header, empty where it has none */
export function basicCredentials(header: string | undefined): string[] {
  const [scheme, value = ''] = header?.split(' ') ?? [];
  return scheme === 'Basic'
    ? Buffer.from(value, 'base64').toString().split(/:(.*)/s).slice(0, 2)
    : [];
}
