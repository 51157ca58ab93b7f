// The stored versions of a resource, for rollback and logs.
import type { Bundle, Resource } from '@medplum/fhirtypes';
import { UserError } from '../terminal/user-error.ts';
import { expectResource } from './server.ts';
import type { Server } from './server.ts';
import { isBundle } from './shapes.ts';
import type { Stored } from './stored.ts';

/**
 * @param reference - such as `Bot/<id>`
 * @returns up to 1,000 versions, newest first; deletions are left out
 */
export async function readHistory<T extends Resource>(
  server: Server,
  reference: string,
): Promise<Stored<T>[]> {
  const path = `${reference}/_history`;
  // Without this header Medplum leaves out the author of each version.
  const headers = { 'X-Medplum': 'extended' };
  const bundle = await server.send<Bundle<T> | null>(
    'GET',
    `${path}?_count=1000`,
    undefined,
    headers,
  );
  if (!isBundle(bundle)) {
    throw new UserError(`GET ${path} was answered without a Bundle of versions`);
  }
  const [resourceType = ''] = reference.split('/');
  return (bundle?.entry ?? []).flatMap(({ resource }) =>
    resource ? [expectResource<T>(resource, resourceType as T['resourceType'], `GET ${path}`)] : [],
  );
}
