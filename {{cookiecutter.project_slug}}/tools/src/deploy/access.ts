// Clients that may do less than a project admin: one that only reads, for plans of merge requests,
// and one that deploys existing bots.
import type { AccessPolicy, AccessPolicyResource, ClientApplication } from '@medplum/fhirtypes';
import { isDeepStrictEqual } from 'node:util';
import type { Config } from '../config/config.ts';
import { UserError } from '../terminal/user-error.ts';
import { resourceTypesIn } from './desired-resources.ts';
import { token } from './links.ts';
import { search } from './search.ts';
import { RequestError } from './server.ts';
import type { Server } from './server.ts';
import { differences } from './stored.ts';
import type { Stored } from './stored.ts';
import { create, patch } from './write.ts';

export const ROLES = ['reader', 'deployer'] as const;
export type Role = (typeof ROLES)[number];

export const ROLE_DESCRIPTIONS: Record<Role, string> = {
  reader: 'reads bots, subscriptions, policies and runs; for plan, doctor and logs',
  deployer: 'deploys the code, settings and subscriptions of bots that exist, and other resources',
};

/** The types that are deployed with bots: those of resources/, and Cron if a bot has cron jobs. */
export function deployedTypes(root: string, { resources, bots }: Config): string[] {
  const hasCrons = bots.some(({ cronJobs }) => cronJobs.length > 0);
  return [...(hasCrons ? ['Cron'] : []), ...resourceTypesIn(root, resources)];
}

/**
 * @param resourceTypes - see deployedTypes
 * @returns the rules of the client's AccessPolicy
 */
export function accessRules(role: Role, resourceTypes: readonly string[]): AccessPolicyResource[] {
  const readonly = (resourceType: string): AccessPolicyResource => ({
    resourceType,
    readonly: true,
  });
  const writable = (resourceType: string): AccessPolicyResource => ({ resourceType });
  if (role === 'reader') {
    const types = ['Bot', 'Subscription', 'AccessPolicy', 'AuditEvent', ...resourceTypes];
    return types.map(readonly);
  }
  return [
    // Without create and delete: a new bot needs a membership, which only an admin can give.
    { resourceType: 'Bot', interaction: ['read', 'vread', 'update', 'search', 'history'] },
    writable('Binary'),
    writable('Subscription'),
    readonly('AccessPolicy'),
    readonly('AuditEvent'),
    ...resourceTypes.map(writable),
  ];
}

/** `Deployment (reader) of urn:medplum-bots:my-bots` */
export function accessName(role: Role, system: string): string {
  return `Deployment (${role}) of ${system}`;
}

/** @returns the policy of the role, if it was created before */
export async function findAccessPolicy(
  server: Server,
  system: string,
  role: Role,
): Promise<Stored<AccessPolicy> | undefined> {
  const found = await search(server, `AccessPolicy?${policyQuery(system, role)}`);
  return found[0] as Stored<AccessPolicy> | undefined;
}

/** Whether a policy gives other rights than the role needs: the repository has changed since. */
export function isOutdated(
  policy: AccessPolicy,
  role: Role,
  resourceTypes: readonly string[],
): boolean {
  return !isDeepStrictEqual(policy.resource, accessRules(role, resourceTypes));
}

function policyQuery(system: string, role: Role): string {
  return `_tag=${token(`${system}/access`, role)}`;
}

export interface CreatedAccess {
  clientId: string;
  clientSecret: string;
  policyId: string;
}

/**
 * Creates the policy, or brings the existing one up to date, and creates a new client with it.
 *
 * @param existing - see findAccessPolicy
 * @throws UserError without the rights of a project admin
 */
export async function createAccess(
  server: Server,
  system: string,
  role: Role,
  resourceTypes: readonly string[],
  existing: Stored<AccessPolicy> | undefined,
): Promise<CreatedAccess> {
  const name = accessName(role, system);
  const tag = { system: `${system}/access`, code: role };
  const resource = accessRules(role, resourceTypes);
  const fields = { name, resource, 'meta.tag': [tag] };
  try {
    const policy = existing
      ? await patch(server, existing, differences(existing, { resource }))
      : await create(server, 'AccessPolicy', fields, policyQuery(system, role));
    const client = await server.createClient({
      name,
      accessPolicy: { reference: `AccessPolicy/${policy.id}` },
    });
    return { ...credentialsOf(client), policyId: policy.id };
  } catch (error) {
    if (error instanceof RequestError && error.status === 403) {
      throw new UserError(
        'Only a project admin creates clients, and these credentials are not of one.',
      );
    }
    throw error;
  }
}

function credentialsOf({ id, secret }: Partial<ClientApplication>): {
  clientId: string;
  clientSecret: string;
} {
  if (typeof id !== 'string' || typeof secret !== 'string' || !id || !secret) {
    throw new UserError('Medplum created the client without an id and a secret');
  }
  return { clientId: id, clientSecret: secret };
}
