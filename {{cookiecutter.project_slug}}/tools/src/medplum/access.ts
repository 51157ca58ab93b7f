// Who may do what: the local project, its two clients, tokens, and the access policy behind each login.
import type { AccessPolicyInteraction, WithId } from '@medplum/core';
import {
  OperationOutcomeError,
  accessPolicySupportsInteraction,
  badRequest,
  deepClone,
  forbidden,
} from '@medplum/core';
import {
  projectAdminResourceTypes,
  protectedResourceTypes,
  resolveId,
  satisfiedAccessPolicy,
} from '@medplum/core';
import type {
  AccessPolicy,
  AccessPolicyResource,
  ProjectMembership,
  Reference,
} from '@medplum/fhirtypes';
import type { ClientApplication, Resource } from '@medplum/fhirtypes';
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { LOCAL } from './local-project.ts';
import type { Store } from './store.ts';

export const TOKEN_SECONDS = 3600;

/** Someone acting on the server. Without a policy: the server itself. */
export interface Actor {
  author: Reference;
  admin: boolean;
  policy?: AccessPolicy;
  membership?: WithId<ProjectMembership>;
}

export const SYSTEM: Actor = { author: { reference: 'system' }, admin: true };

/** @returns the living membership of a bot or client */
export function findMembership(
  store: Store,
  profile: string | undefined,
): WithId<ProjectMembership> | undefined {
  for (const { resource, deleted } of store.all('ProjectMembership')) {
    const membership = resource as WithId<ProjectMembership>;
    if (!deleted && profile && membership.profile?.reference === profile) return membership;
  }
  return undefined;
}

/** @throws Error where the membership's policy cannot be read: nobody gets in on a broken policy */
export function actorOf(store: Store, membership: WithId<ProjectMembership>): Actor {
  const { profile, admin = false, accessPolicy, access = [] } = membership;
  const [type = '', id = ''] = profile?.reference?.split('/') ?? [];
  const { name } = (store.latest(type, id)?.resource ?? {}) as { name?: string };
  const author = { reference: profile.reference!, ...(name ? { display: name } : {}) };
  const given = [...(accessPolicy ? [{ policy: accessPolicy }] : []), ...access];
  const entries = given.flatMap(({ policy }) => policyEntries(store, policy, profile));
  if (given.length === 0) entries.push({ resourceType: '*' });
  for (const resourceType of ['SearchParameter', 'StructureDefinition']) {
    if (!entries.some((entry) => entry.resourceType === resourceType))
      entries.push({ resourceType, readonly: true });
  }
  const resource = entries.filter(
    (entry) => !projectAdminResourceTypes.includes(entry.resourceType),
  );
  if (admin) resource.push(...ADMIN_ENTRIES);
  return { author, admin, membership, policy: { resourceType: 'AccessPolicy', resource } };
}

/** What an admin may do with the project's own resources, in place of what a policy says of them. */
const ADMIN_ENTRIES: AccessPolicyResource[] = [
  {
    resourceType: 'Project',
    criteria: `Project?_id=${LOCAL.projectId}`,
    readonlyFields: ['features', 'link', 'systemSetting'],
    hiddenFields: ['superAdmin', 'systemSecret', 'strictMode'],
    interaction: ['read', 'vread', 'update', 'history', 'create', 'search'],
  },
  {
    resourceType: 'ProjectMembership',
    criteria: `ProjectMembership?_project=${LOCAL.projectId}`,
    readonlyFields: ['project', 'user'],
  },
  { resourceType: 'AccessPolicy' },
  { resourceType: 'User', readonly: true },
];

function policyEntries(
  store: Store,
  policy: Reference,
  profile: Reference,
): AccessPolicyResource[] {
  const latest = store.latest('AccessPolicy', resolveId(policy) ?? '');
  if (!latest || latest.deleted)
    throw new OperationOutcomeError(
      badRequest('Cannot authenticate: Invalid access policy configuration.'),
    );
  const text = JSON.stringify((deepClone(latest.resource) as AccessPolicy).resource ?? []);
  const [reference, id] = [profile.reference!, resolveId(profile)!];
  const filled = text.replaceAll(/%(?:profile|patient)(\.id)?/g, (_, onlyId?: string) =>
    onlyId ? id : reference,
  );
  return JSON.parse(filled) as AccessPolicyResource[];
}

type Interaction = AccessPolicyInteraction;

/** @throws OperationOutcomeError (403) where the actor may do this with no resource of the type at all */
export function demand({ policy }: Actor, interaction: Interaction, type: string): void {
  if (!policy) return;
  const allowed = accessPolicySupportsInteraction(
    policy,
    interaction,
    type as Resource['resourceType'],
  );
  if (!allowed || protectedResourceTypes.includes(type)) throw new OperationOutcomeError(forbidden);
}

export function may({ policy }: Actor, interaction: Interaction, resource: Resource): boolean {
  return Boolean(satisfiedAccessPolicy(resource, interaction, policy));
}

/** A resource without the members that the actor's policy hides. */
export function withoutHidden<T extends Resource>({ policy }: Actor, resource: T): T {
  const hidden = satisfiedAccessPolicy(resource, 'read', policy)?.hiddenFields ?? [];
  return Object.fromEntries(
    Object.entries(resource).filter(([field]) => !hidden.includes(field)),
  ) as unknown as T;
}

/** What is to be written, with the members put back that the actor's policy lets nobody change. */
export function withProtected<T extends Resource>(
  { policy }: Actor,
  wanted: T,
  existing: Resource | undefined,
): T {
  const entry = satisfiedAccessPolicy(existing ?? wanted, existing ? 'update' : 'create', policy);
  const fields = [...(entry?.readonlyFields ?? []), ...(entry?.hiddenFields ?? [])];
  const before = (existing ?? {}) as Record<string, unknown>;
  return { ...wanted, ...Object.fromEntries(fields.map((field) => [field, before[field]])) };
}

const key = randomBytes(32);

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
  };
  return signed({
    ...claims,
    client_id: resolveId(membership.profile),
    run: runId,
    iat: now,
    exp: now + TOKEN_SECONDS,
  });
}

function signed(claims: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const body = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${body}.${signature(body)}`;
}

/** HMAC under a key that lives as long as the process. */
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

/** @returns the membership of a client whose secret is right */
export function checkClient(
  store: Store,
  id: string,
  secret: string,
): WithId<ProjectMembership> | undefined {
  const latest = store.latest('ClientApplication', id);
  const client = latest && !latest.deleted ? (latest.resource as ClientApplication) : undefined;
  if (!client?.secret || !sameSecret(client.secret, secret)) return undefined;
  return findMembership(store, `ClientApplication/${id}`);
}

/**
 * @param header - the Authorization header: Bearer or Basic
 * @returns who is asking, if that is known
 */
export function authenticate(store: Store, header: string | undefined): Actor | undefined {
  const [scheme, token = ''] = header?.split(' ') ?? [];
  let membership: WithId<ProjectMembership> | undefined;
  if (scheme === 'Basic') {
    const [id = '', secret = ''] = basicCredentials(header);
    membership = checkClient(store, id, secret);
  } else if (scheme === 'Bearer') {
    const claims = verifiedClaims(token);
    if (!claims) {
      return undefined;
    }
    const { login_id: id, exp } = claims;
    const latest = store.latest('ProjectMembership', id!);
    if (latest && !latest.deleted && Number(exp) * 1000 > Date.now())
      membership = latest.resource as typeof membership;
  }
  return membership && actorOf(store, membership);
}

/** @returns what a token says, if this server signed it */
function verifiedClaims(token: string): Record<string, string> | undefined {
  const [head, claims = '', proof = ''] = token.split('.');
  if (!sameSecret(proof, signature(`${head}.${claims}`))) {
    return undefined;
  }
  return JSON.parse(Buffer.from(claims, 'base64url').toString()) as Record<string, string>;
}

/**
 * @param header - the Authorization header of a request
 * @returns the id of the bot's run that sent it, undefined where it came from elsewhere
 */
export function runIdOf(header: string | undefined): string | undefined {
  const [scheme, token = ''] = header?.split(' ') ?? [];
  return scheme === 'Bearer' ? verifiedClaims(token)?.['run'] : undefined;
}
