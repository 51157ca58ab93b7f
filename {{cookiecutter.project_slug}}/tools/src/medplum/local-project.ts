// The project of the local Medplum, and the two clients in it.
import type { ClientApplication, Project, ProjectMembership, Resource } from '@medplum/fhirtypes';
import { randomUUID } from 'node:crypto';

/** Harmless, public, and the same on every desk: `.env.local` holds them too. */
export const LOCAL = {
  projectId: 'a0a0a0a0-0000-4000-8000-000000000001',
  clientId: 'a0a0a0a0-0000-4000-8000-000000000002',
  clientSecret: 'local-only-not-a-secret',
  noAdminId: 'a0a0a0a0-0000-4000-8000-000000000003',
  noAdminSecret: 'local-only-no-admin',
};

/** @returns the project with its two clients and their memberships, as the server stores them */
export function initialResources(secrets: Record<string, string>): (Resource & { id: string })[] {
  const project: Project & { id: string } = {
    resourceType: 'Project',
    id: LOCAL.projectId,
    name: 'Local',
    strictMode: true,
    features: ['bots', 'cron', 'websocket-subscriptions', 'graphql-introspection'],
    setting: [{ name: 'preCommitSubscriptionsEnabled', valueBoolean: true }],
    secret: Object.entries(secrets).map(([name, valueString]) => ({ name, valueString })),
  };
  const client = (id: string, secret: string, name: string): ClientApplication & { id: string } => {
    return {
      resourceType: 'ClientApplication',
      id,
      secret,
      name,
      description: `${name} of the local project`,
    };
  };
  const admin = client(LOCAL.clientId, LOCAL.clientSecret, 'Local Admin Client');
  const other = client(LOCAL.noAdminId, LOCAL.noAdminSecret, 'Local Client');
  const member = (
    { id, name }: ClientApplication,
    isAdmin: boolean,
  ): ProjectMembership & { id: string } => {
    const profile = { reference: `ClientApplication/${id}`, display: name! };
    const project = { reference: `Project/${LOCAL.projectId}`, display: 'Local' };
    const rights = isAdmin ? { admin: true } : {};
    return {
      resourceType: 'ProjectMembership',
      id: randomUUID(),
      project,
      user: profile,
      profile,
      ...rights,
    };
  };
  return [project, admin, other, member(admin, true), member(other, false)];
}
