// Writes of single resources. Each can be repeated: a create is conditional, a change tests the
// version.
import type { Bot, Resource } from '@medplum/fhirtypes';
import { NEW_BOT_ID_HEADER } from '../config/local-medplum.ts';
import { UserError } from '../terminal/user-error.ts';
import { expectResource, RequestError } from './server.ts';
import type { Server } from './server.ts';
import { differences, toResource } from './stored.ts';
import type { Fields, Stored } from './stored.ts';

/** Another client wrote the resource between our reading and our writing it. */
export class ConflictError extends UserError {
  override name = 'ConflictError';
  /** The resource as it is now. */
  readonly current: Stored;

  constructor(current: Stored) {
    const resource = `${current.resourceType}/${current.id}`;
    super(`${resource} was changed by another client. That was not overwritten: run it again`);
    this.current = current;
  }
}

/**
 * Creates a resource, unless one fits the search: of 40 at the same time, one creates it.
 *
 * @param newId - of a Bot on the local Medplum; a real server chooses the id itself
 * @returns the resource as it is stored
 */
export async function create(
  server: Server,
  resourceType: Resource['resourceType'],
  fields: Fields,
  createQuery: string,
  newId?: string,
): Promise<Stored> {
  const resource = toResource(resourceType, fields);
  const headers: Record<string, string> = { 'If-None-Exist': createQuery };
  if (newId !== undefined) {
    headers[NEW_BOT_ID_HEADER] = newId;
  }
  const created = await server.send('POST', resourceType, resource, headers);
  return expectResource(created, resourceType, `POST ${resourceType}`);
}

/**
 * Changes members of a resource, and only if it is still as it was read.
 *
 * @returns the resource as it is now
 * @throws ConflictError
 */
export async function patch(server: Server, existing: Stored, fields: Fields): Promise<Stored> {
  if (Object.keys(fields).length === 0) {
    return existing;
  }
  const path = `${existing.resourceType}/${existing.id}`;
  const operations = Object.entries(fields).map(([member, value]) => {
    const op = value === undefined ? 'remove' : 'add';
    return { op, path: `/${member.replace('.', '/')}`, value };
  });
  const test = { op: 'test', path: '/meta/versionId', value: existing.meta?.versionId };
  try {
    const patched = await server.send('PATCH', path, [test, ...operations]);
    return expectResource(patched, existing.resourceType, `PATCH ${path}`);
  } catch (error) {
    if (!(error instanceof RequestError) || error.status !== 400) {
      throw error;
    }
    const { resourceType } = existing;
    const current = expectResource(await server.send('GET', path), resourceType, `GET ${path}`);
    if (current.meta?.versionId === existing.meta?.versionId) {
      throw error;
    }
    // Our own write whose answer was lost, or another run of the same deployment.
    if (hasAll(current, fields)) {
      return current;
    }
    throw new ConflictError(current);
  }
}

function hasAll(current: Resource, fields: Fields): boolean {
  const left = Object.keys(differences(current, fields));
  return left.every((member) => member === 'executableCode' && hasSameCode(current, fields));
}

/** Addresses of code differ at each read; its title has the hash. */
function hasSameCode(current: Resource, { executableCode }: Fields): boolean {
  const wanted = executableCode as Bot['executableCode'];
  return (current as Bot).executableCode?.title === wanted?.title;
}

/**
 * Switches a Subscription off before it is deleted, so that it starts nothing while the rest is
 * removed.
 */
export async function remove(server: Server, resource: Stored): Promise<void> {
  try {
    if (resource.resourceType === 'Subscription' && resource.status === 'active') {
      await patch(server, resource, { status: 'off' });
    }
    await server.send('DELETE', `${resource.resourceType}/${resource.id}`);
  } catch (error) {
    const isGone = error instanceof RequestError && [404, 410].includes(error.status);
    if (!isGone) {
      throw error;
    }
  }
}
