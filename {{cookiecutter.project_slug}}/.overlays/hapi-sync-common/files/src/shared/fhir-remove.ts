// What takes a resource off the external server: by its id, and only where it stands for one of ours alone.
import type { Bundle, Resource } from '@medplum/fhirtypes';
import { withReferences } from './fhir-sanitize.ts';
import { identifiersOf, isDeactivated, isMerged, NO_CACHE } from './fhir-target.ts';
import type { SyncContext } from './fhir-target.ts';
import type { Done } from './fhir-write.ts';
import { HTTP_VERBS, isRequestFailure } from './http-request.ts';

/**
 * Deletes a resource there, or deactivates it.
 *
 * HAPI ignores `If-Match` on DELETE: one that lands late is what hapi-reconcile-bot is for.
 *
 * @param context - What the sync works with.
 * @param resource - As it is there; looked at before the source was read.
 * @param instead - What takes its place, as `Type/id` there, where it is one copy too many.
 * @returns What was done.
 * @throws RequestFailure; 409 as long as something there that is not ours refers to it.
 */
export async function remove(context: SyncContext, resource: Resource, instead?: string): Promise<Done> {
  const { config, server } = context;
  const url = `${resource.resourceType}/${resource.id}`;
  if (isMerged(resource, config.sourceSystem(resource.resourceType))) {
    return { action: 'merged', leftOut: 0 };
  }
  if (config.onDelete === 'delete') {
    try {
      await server.send(HTTP_VERBS.DELETE, url);
    } catch (error) {
      if (!isRequestFailure(error) || error.status !== 409) {
        throw error;
      }
      await letGo(context, url, instead);
      await server.send(HTTP_VERBS.DELETE, url);
    }
    return { action: 'deleted', leftOut: 0 };
  }
  if (isDeactivated(resource, config)) {
    return { action: 'absent', leftOut: 0 };
  }
  const { version } = await server.send(HTTP_VERBS.PUT, url, { ...resource, active: false }, fenceOf(resource));
  return { action: 'deactivated', version, leftOut: 0 };
}

/**
 * Takes the references to a resource out of what is ours there: as long as there is one, the server keeps what it
 * refers to. Medplum does not, so there it may stay for ever.
 */
async function letGo({ config, server }: SyncContext, url: string, instead: string | undefined): Promise<void> {
  const query = `${url.replace('/', '?_id=')}&_revinclude=*`;
  const { body } = await server.send<Bundle>(HTTP_VERBS.GET, query, undefined, NO_CACHE);
  for (const { resource } of body?.entry ?? []) {
    const type = config.types.find((synced) => synced === resource?.resourceType);
    const isOurs =
      resource && type && identifiersOf(resource).some(({ system }) => system === config.sourceSystem(type));
    if (isOurs && url !== `${type}/${resource.id}`) {
      const without = withReferences(resource, (reference) => (reference === url ? instead : reference));
      await server.send(HTTP_VERBS.PUT, `${type}/${resource.id}`, without, fenceOf(resource));
    }
  }
}

function fenceOf({ meta }: Resource): Record<string, string> {
  return { 'if-match': `W/"${meta?.versionId}"` };
}
