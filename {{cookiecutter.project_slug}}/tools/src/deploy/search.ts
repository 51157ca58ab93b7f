// Searches: several in one request, and each page of them until the last.
import type { Bundle, BundleEntry } from '@medplum/fhirtypes';
import { UserError } from '../terminal/user-error.ts';
import { expectResource } from './server.ts';
import type { Server } from './server.ts';
import { isBatchResponse, isBundle } from './shapes.ts';
import type { Stored } from './stored.ts';

/** What is left of a search that was refused: the server does not know the resource type. */
export const UNKNOWN_TYPE = 'unknown-type';

/**
 * Runs several searches as one request, and one more for each further page.
 *
 * @param searches - such as `Bot?_count=1000`
 * @param isOptional - whether a search may be refused with 400: then it is UNKNOWN_TYPE
 * @returns for each search what it found; undefined if these credentials may not search that type
 * @throws UserError if a search fails, or does not end
 */
export async function searchAll(
  server: Server,
  searches: readonly string[],
  isOptional: (search: string) => boolean = () => false,
): Promise<(Stored[] | typeof UNKNOWN_TYPE | undefined)[]> {
  const entry = searches.map((url): BundleEntry => ({ request: { method: 'GET', url } }));
  const bundle = { resourceType: 'Bundle', type: 'batch', entry };
  const batch = await server.send<Bundle | null>('POST', '', bundle);
  if (!isBatchResponse(batch)) {
    throw new UserError('POST batch was answered without a Bundle of answers');
  }
  return Promise.all(
    searches.map(async (search, index) => {
      const { response, resource } = batch?.entry?.[index] ?? {};
      const status = response?.status ?? '';
      if (status.startsWith('403')) {
        return undefined;
      }
      if (status.startsWith('400') && isOptional(search)) {
        return UNKNOWN_TYPE;
      }
      // A batch does not repeat what was refused for now, such as too many requests; a request of
      // its own does.
      const first = status.startsWith('200') ? resource : await server.send('GET', search);
      return readPages(server, search, first);
    }),
  );
}

/**
 * Runs one search to its last page.
 *
 * @param limit - stop when so many resources are found
 */
export async function search(
  server: Server,
  query: string,
  limit: number = Number.POSITIVE_INFINITY,
): Promise<Stored[]> {
  const found = await readPages(server, query, await server.send('GET', query), limit);
  return found.slice(0, limit);
}

async function readPages(
  server: Server,
  query: string,
  first: unknown,
  limit: number = Number.POSITIVE_INFINITY,
): Promise<Stored[]> {
  const resourceType = query.split('?')[0] ?? '';
  // By id: a resource that changes between two pages can be on both.
  const found = new Map<string, Stored>();
  const seen = new Set<string>();
  let page = first;
  for (;;) {
    const bundle = expectSearchset(page, resourceType);
    for (const resource of resourcesOf(bundle, resourceType)) {
      found.set(resource.id, resource);
    }
    const next = nextPath(bundle, resourceType);
    if (next === undefined || found.size >= limit) {
      return [...found.values()];
    }
    if (seen.has(next)) {
      throw new UserError(`GET ${resourceType} does not end: a page names itself as the next one.`);
    }
    seen.add(next);
    if (seen.size >= server.limits.pages) {
      throw new UserError(
        `GET ${resourceType} has more than ${server.limits.pages} pages: the search does not end.`,
      );
    }
    page = await server.send('GET', next);
  }
}

function expectSearchset(value: unknown, resourceType: string): Bundle {
  if (!isBundle(value)) {
    throw new UserError(`GET ${resourceType} was answered without a Bundle of search results`);
  }
  return value as Bundle;
}

function resourcesOf({ entry = [] }: Bundle, resourceType: string): Stored[] {
  return entry.flatMap(({ resource }) => {
    if (!resource) {
      return [];
    }
    // A search over several types has none in its path.
    const isExpected = resourceType === '' || resource.resourceType === resourceType;
    if (!isExpected || typeof resource.id !== 'string') {
      throw new UserError(
        `GET ${resourceType} was answered with ` +
          `${resource.resourceType ?? 'something'} among its results`,
      );
    }
    return [expectResource(resource, resource.resourceType, `GET ${resourceType}`)];
  });
}

/**
 * The path of the next page below `fhir/R4/`. Only the path of its address counts: the request, and
 * the credentials with it, go to the server that was asked.
 *
 * @throws UserError if there is a next page that cannot be asked for
 */
function nextPath({ link = [] }: Bundle, resourceType: string): string | undefined {
  const next = link.find(({ relation }) => relation === 'next');
  if (!next) {
    return undefined;
  }
  const path = next.url?.split('/fhir/R4/')[1];
  if (!path) {
    throw new UserError(
      `GET ${resourceType} has a next page that is not below /fhir/R4/, ` +
        'so not all results can be read.',
    );
  }
  return path;
}
