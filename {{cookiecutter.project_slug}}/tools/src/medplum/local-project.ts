// The project of the local Medplum, and the two clients in it.
import type { ClientApplication, Project, ProjectMembership, Resource } from '@medplum/fhirtypes';
import { randomUUID } from 'node:crypto';
import { LOCAL_PROJECT_ID } from '../config/local-medplum.ts';

/**
 * The ids are the same everywhere. The secrets are those of tests: the commands make new ones at
 * each start.
 */
export const LOCAL = {
  projectId: LOCAL_PROJECT_ID,
  clientId: 'a0a0a0a0-0000-4000-8000-000000000002',
  clientSecret: 'local-only-not-a-secret',
  noAdminId: 'a0a0a0a0-0000-4000-8000-000000000003',
  noAdminSecret: 'local-only-no-admin',
};

export const PROJECT_REFERENCE = { reference: `Project/${LOCAL.projectId}`, display: 'Local' };

/** Of the two clients. */
export interface ClientSecrets {
  /** Of the client with the rights of a project admin. */
  clientSecret: string;
  /** Of the client without. */
  noAdminSecret: string;
}

type Stored<T extends Resource> = T & { id: string };

/**
 * @param features - of the project beside the ones it always has, such as `email`
 * @param clientSecrets - of its clients
 * @returns the project with its two clients and their memberships, as the server stores them
 */
export function initialResources(
  secrets: Record<string, string>,
  features: string[] = [],
  clientSecrets: ClientSecrets = LOCAL,
): Stored<Resource>[] {
  const project: Stored<Project> = {
    resourceType: 'Project',
    id: LOCAL.projectId,
    name: 'Local',
    strictMode: true,
    features: ['bots', 'cron', ...features] as NonNullable<Project['features']>,
    setting: [{ name: 'preCommitSubscriptionsEnabled', valueBoolean: true }],
    secret: Object.entries(secrets).map(([name, valueString]) => ({ name, valueString })),
  };
  const admin = clientApplication(LOCAL.clientId, clientSecrets.clientSecret, 'Local Admin Client');
  const other = clientApplication(LOCAL.noAdminId, clientSecrets.noAdminSecret, 'Local Client');
  return [project, admin, other, membership(admin, true), membership(other, false)];
}

function clientApplication(id: string, secret: string, name: string): Stored<ClientApplication> {
  const description = `${name} of the local project`;
  return { resourceType: 'ClientApplication', id, secret, name, description };
}

function membership(client: Stored<ClientApplication>, admin: boolean): Stored<ProjectMembership> {
  const profile = { reference: `ClientApplication/${client.id}`, display: client.name! };
  const result: Stored<ProjectMembership> = {
    resourceType: 'ProjectMembership',
    id: randomUUID(),
    project: PROJECT_REFERENCE,
    user: profile,
    profile,
  };
  return admin ? { ...result, admin } : result;
}
