// The project's administration: who am I, settings, secrets, sites, and new bots, clients and
// people.
import * as core from '@medplum/core';
import type {
  ClientApplication,
  Patient,
  Practitioner,
  ProjectMembership,
  Reference,
  RelatedPerson,
  User,
} from '@medplum/fhirtypes';
import type { Context, Hono } from 'hono';
import { randomBytes } from 'node:crypto';
import { SYSTEM } from '../access.ts';
import { createBot } from '../bot-deployment.ts';
import { sendJson, sendResource } from '../http.ts';
import { LOCAL, PROJECT_REFERENCE } from '../local-project.ts';
import { LocalRepository } from '../repository.ts';
import type { ServerState } from '../server-state.ts';
import { readBody } from '../request-body.ts';
import { currentProject, invalidRequest, login, loginAsAdmin } from './context.ts';
import type { RouteContext } from './context.ts';

const PROJECT_LISTS = { secrets: 'secret', settings: 'setting', sites: 'site' };

/**
 * The project in the path is not looked at, as on the real server: it is always the caller's own.
 */
export function addAdminRoutes(app: Hono, { state }: RouteContext): void {
  app.get('/auth/me', (c) => whoAmI(c, state));
  app.get('/admin/projects/:id', (c) => {
    loginAsAdmin(c, state);
    const { id, name, setting, secret, site } = currentProject(state);
    return c.json({ project: { id, name, setting, secret: secret ?? [], site } });
  });
  for (const [list, member] of Object.entries(PROJECT_LISTS)) {
    app.post(`/admin/projects/:id/${list}`, async (c) => {
      const repo = loginAsAdmin(c, state);
      const value = await readBody(c);
      const project = await repo.updateResource({ ...currentProject(state), [member]: value });
      return c.json({ ...project, [member]: value });
    });
  }
  app.post('/admin/projects/:id/bot', async (c) => {
    const repo = loginAsAdmin(c, state);
    const body = (await readBody(c)) as { name?: unknown };
    if (!body.name) {
      throw invalidRequest({ name: 'Bot name is required' });
    }
    return c.json(await createBot(repo, body), 201);
  });
  app.post('/admin/projects/:id/client', async (c) => {
    loginAsAdmin(c, state);
    return c.json(await createClient(state, await readBody(c)), 201);
  });
  app.post('/admin/projects/:id/invite', async (c) => {
    loginAsAdmin(c, state);
    return sendResource(c, state, core.allOk, await invite(state, await readBody(c)));
  });
}

function whoAmI(c: Context, state: ServerState): Response {
  const { author, membership, policy } = login(c, state).actor;
  const { id, name, features, strictMode } = currentProject(state);
  const { id: membershipId, user, profile, admin } = membership!;
  const [type = '', profileId = ''] = author.reference!.split('/');
  return sendJson(c, state, 200, {
    project: { resourceType: 'Project', id, name, features, strictMode },
    membership: { resourceType: 'ProjectMembership', id: membershipId, user, profile, admin },
    profile: state.store.latest(type, profileId)?.resource,
    config: { resourceType: 'UserConfiguration' },
    accessPolicy: policy,
  });
}

interface CreateClientRequest extends Partial<ClientApplication> {
  accessPolicy?: ProjectMembership['accessPolicy'];
}

async function createClient(state: ServerState, body: unknown): Promise<ClientApplication> {
  const { accessPolicy, ...fields } = body as CreateClientRequest;
  if (!fields.name) {
    throw invalidRequest({ name: 'Client name is required' });
  }
  const system = new LocalRepository(state, SYSTEM);
  const client = await system.createResource<ClientApplication>({
    secret: randomBytes(32).toString('hex'),
    ...fields,
    resourceType: 'ClientApplication',
  });
  const reference = core.createReference(client);
  await createMembership(system, { user: reference, profile: reference, accessPolicy });
  return client;
}

interface InviteRequest {
  resourceType?: string;
  firstName?: string;
  lastName?: string;
  email?: string;
  externalId?: string;
  patient?: Reference<Patient>;
  membership?: Partial<ProjectMembership>;
}

const INVITED_TYPES = ['Patient', 'Practitioner', 'RelatedPerson'];

async function invite(state: ServerState, body: unknown): Promise<ProjectMembership> {
  const request = body as InviteRequest;
  const { firstName, lastName, email, externalId, membership = {} } = request;
  checkInvite(request);
  const system = new LocalRepository(state, SYSTEM);
  const user = await system.createResource<User>({
    resourceType: 'User',
    firstName: firstName!,
    lastName: lastName!,
    email: email?.toLowerCase(),
    externalId,
    project: { reference: `Project/${LOCAL.projectId}` },
  } as User);
  const profile = await system.createResource(profileResource(request));
  return createMembership(system, {
    ...membership,
    user: core.createReference(user),
    profile: core.createReference(profile) as ProjectMembership['profile'],
    externalId,
  });
}

function checkInvite({ resourceType = '', ...request }: InviteRequest): void {
  const problems: Record<string, string> = {};
  if (!INVITED_TYPES.includes(resourceType)) {
    problems['resourceType'] = 'Resource type is required';
  }
  if (!request.firstName) {
    problems['firstName'] = 'First name is required';
  }
  if (!request.lastName) {
    problems['lastName'] = 'Last name is required';
  }
  if (!request.externalId && !request.email?.includes('@')) {
    problems['email'] = 'Valid email address is required';
  }
  if (Object.keys(problems).length > 0) {
    throw invalidRequest(problems);
  }
}

function profileResource(request: InviteRequest): Patient | Practitioner | RelatedPerson {
  const { resourceType, firstName, lastName, email, patient } = request;
  const name = [{ given: [firstName!], family: lastName! }];
  const telecom = email ? [{ system: 'email' as const, use: 'work' as const, value: email }] : [];
  const profile = { resourceType, name, telecom } as Patient | Practitioner | RelatedPerson;
  return profile.resourceType === 'RelatedPerson' ? { ...profile, patient: patient! } : profile;
}

async function createMembership(
  system: LocalRepository,
  fields: Partial<ProjectMembership>,
): Promise<ProjectMembership> {
  return system.createResource<ProjectMembership>({
    ...fields,
    resourceType: 'ProjectMembership',
    project: PROJECT_REFERENCE,
  } as ProjectMembership);
}
