// What a reconcile run looks at: searches on both sides, page by page.
import type { Bundle, ResourceType } from '@medplum/fhirtypes';
import { isTypeAndId } from './fhir-events.ts';
import { onMedplum, readMany } from './fhir-source.ts';
import { identifiersOf, NO_CACHE } from './fhir-target.ts';
import type { SyncContext } from './fhir-target.ts';
import { HTTP_VERBS, isRequestFailure } from './http-request.ts';

/** From 20 on, Medplum's next links carry a cursor, which neither skips nor repeats what changes meanwhile. */
const PAGE = 400;

/** One search of a run. */
export interface Step {
  type: ResourceType;
  /** The query of the first page. */
  query: string;
  /** Reads a page: the ids to look at, and the query of the next one, which may be kept for the next run. */
  list: (query: string) => Promise<{ ids: string[]; next: string | undefined }>;
}

/**
 * The searches of a run, in their order: what others refer to is written first and deleted last.
 *
 * @param context - What the sync works with.
 * @param mode - `changes`: what changed and what was deleted on Medplum. `full`: what changed, and all that is on the
 *   external server; what was deleted, and is there nevertheless, is among that.
 * @param since - Only what changed since then (ISO time); undefined: ever.
 * @returns The steps.
 */
export function stepsOf(context: SyncContext, mode: 'changes' | 'full', since: string | undefined): Step[] {
  const { types } = context.config;
  const changed = types.map((type) => listed(context, type, since, ''));
  const gone = types
    .toReversed()
    .map((type) =>
      mode === 'full' ? onExternalServer(context, type) : listed(context, type, since, '&_deleted=true'),
    );
  return [...changed, ...gone];
}

function listed(context: SyncContext, type: ResourceType, since: string | undefined, more: string): Step {
  const when = since ? `&_lastUpdated=ge${since}` : '';
  return {
    type,
    query: `_sort=_lastUpdated&_elements=id&_count=${PAGE}${when}${more}`,
    list: async (query) => {
      const { entry = [], link } = await onMedplum(context, `GET ${type} from Medplum`, (signal) =>
        context.medplum.search(type, query, { cache: 'reload', signal }),
      );
      return { ids: entry.flatMap(({ resource }) => resource?.id ?? []), next: nextLink({ link })?.split('?')[1] };
    },
  };
}

/** Everything there that carries a source identifier and is not on Medplum, or cannot be read there any more. */
function onExternalServer(context: SyncContext, type: ResourceType): Step {
  const system = context.config.sourceSystem(type);
  const first = `${type}?identifier=${encodeURIComponent(`${system}|`)}&_elements=identifier&_count=${PAGE}`;
  const list: Step['list'] = async (query) => {
    try {
      const { body } = await context.server.send<Bundle>(HTTP_VERBS.GET, query, undefined, NO_CACHE);
      const ids = (body?.entry ?? [])
        .flatMap(({ resource }) => (resource ? identifiersOf(resource) : []))
        .flatMap((identifier) => (identifier.system === system ? [identifier.value ?? ''] : []))
        .filter((id) => isTypeAndId(type, id));
      // Below our address, whatever the server calls itself: HAPI pages at `?…`, others at `Type?…`.
      const next = nextLink(body)?.replace(new RegExp(`^[^?]*?(${type})?\\?`), '$1?');
      return { ids: await missingOnMedplum(context, type, [...new Set(ids)]), next };
    } catch (error) {
      if (query !== first && isRequestFailure(error) && [400, 404, 410].includes(error.status)) {
        return list(first); // the server has forgotten this search
      }
      throw error;
    }
  };
  return { type, query: first, list };
}

async function missingOnMedplum(context: SyncContext, type: ResourceType, ids: string[]): Promise<string[]> {
  const missing: string[] = [];
  for (let n = 0; n < ids.length; n += 50) {
    const some = ids.slice(n, n + 50);
    const found = await readMany(context, type, some, '&_elements=id');
    missing.push(...some.filter((id) => !found.has(id)));
  }
  return missing;
}

function nextLink(bundle: Pick<Bundle, 'link'> | undefined): string | undefined {
  return bundle?.link?.find(({ relation }) => relation === 'next')?.url;
}
