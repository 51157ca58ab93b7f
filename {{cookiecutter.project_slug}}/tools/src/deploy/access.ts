// Clients that may do less than a project admin: one that only reads, for plans of merge requests,
// and one that deploys existing bots.
import type { AccessPolicy, AccessPolicyResource, ClientApplication } from '@medplum/fhirtypes';
import { UserError } from '../terminal/user-error.ts';
import { token } from './links.ts';
import { RequestError } from './server.ts';
import type { Server } from './server.ts';
import type { Stored } from './stored.ts';
import { create } from './write.ts';

export const ROLES = ['reader', 'deployer'] as const;
export type Role = (typeof ROLES)[number];

export const ROLE_DESCRIPTIONS: Record<Role, string> = {
  reader: 'reads bots, subscriptions, policies and runs; for plan, doctor and logs',
  deployer: 'deploys the code, settings and subscriptions of bots that exist, and other resources',
};

/**
 * @param resourceTypes - of resources/, which are deployed, too
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

export interface CreatedAccess {
  clientId: string;
  clientSecret: string;
  policyId: string;
}

/**
 * Creates the policy, if it does not exist, and a new client with it.
 *
 * @throws UserError without the rights of a project admin
 */
export async function createAccess(
  server: Server,
  system: string,
  role: Role,
  resourceTypes: readonly string[],
): Promise<CreatedAccess> {
  const name = accessName(role, system);
  const tag = { system: `${system}/access`, code: role };
  const fields = { name, resource: accessRules(role, resourceTypes), 'meta.tag': [tag] };
  try {
    const query = `_tag=${token(tag.system, tag.code)}`;
    const policy = (await create(server, 'AccessPolicy', fields, query)) as Stored<AccessPolicy>;
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
  if (!id || !secret) {
    throw new UserError('Medplum created the client without an id and a secret');
  }
  return { clientId: id, clientSecret: secret };
}
