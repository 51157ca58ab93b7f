// Who asks: memberships, clients and bots, and the access policy behind each login.
import type { WithId } from '@medplum/core';
import type {
  AccessPolicy,
  ClientApplication,
  ProjectMembership,
  Reference,
} from '@medplum/fhirtypes';
import { effectivePolicy } from './access-policies.ts';
import type { Store } from './store.ts';
import { basicCredentials, runIdOf, sameSecret, verifiedClaims } from './tokens.ts';

/** Someone acting on the server. Without a policy: the server itself. */
export interface Actor {
  author: Reference;
  admin: boolean;
  policy?: AccessPolicy;
  membership?: WithId<ProjectMembership>;
  /** The run of a bot that acts, where it is one. */
  runId?: string | undefined;
}

export const SYSTEM: Actor = { author: { reference: 'system' }, admin: true };

/** @returns the membership of a bot, client or person that is not deleted */
export function findMembership(
  store: Store,
  profile: string | undefined,
): WithId<ProjectMembership> | undefined {
  for (const membership of store.living<ProjectMembership>('ProjectMembership')) {
    if (profile && membership.profile?.reference === profile) {
      return membership;
    }
  }
  return undefined;
}

/** @throws OperationOutcomeError where a policy of the membership cannot be read */
export function actorOf(store: Store, membership: WithId<ProjectMembership>): Actor {
  const { profile, admin = false } = membership;
  const [type = '', id = ''] = profile?.reference?.split('/') ?? [];
  const { name } = (store.latest(type, id)?.resource ?? {}) as { name?: unknown };
  const reference = profile.reference!;
  const author = typeof name === 'string' ? { reference, display: name } : { reference };
  return { author, admin, membership, policy: effectivePolicy(store, membership) };
}

/** @returns the membership of a client whose secret is right */
export function checkClient(
  store: Store,
  id: string,
  secret: string,
): WithId<ProjectMembership> | undefined {
  const latest = store.latest('ClientApplication', id);
  const client = latest && !latest.deleted ? (latest.resource as ClientApplication) : undefined;
  if (!client?.secret || !sameSecret(client.secret, secret)) {
    return undefined;
  }
  return findMembership(store, `ClientApplication/${id}`);
}

/**
 * @param header - the Authorization header: Bearer or Basic
 * @returns who is asking, if that is known
 */
export function authenticate(store: Store, header: string | undefined): Actor | undefined {
  const membership = authenticatedMembership(store, header);
  return membership && { ...actorOf(store, membership), runId: runIdOf(header) };
}

function authenticatedMembership(
  store: Store,
  header: string | undefined,
): WithId<ProjectMembership> | undefined {
  const [scheme, token = ''] = header?.split(' ') ?? [];
  if (scheme === 'Basic') {
    const [id = '', secret = ''] = basicCredentials(header);
    return checkClient(store, id, secret);
  }
  const claims = scheme === 'Bearer' ? verifiedClaims(token) : undefined;
  const latest = claims && store.latest('ProjectMembership', claims.login_id);
  return latest && !latest.deleted ? (latest.resource as WithId<ProjectMembership>) : undefined;
}
