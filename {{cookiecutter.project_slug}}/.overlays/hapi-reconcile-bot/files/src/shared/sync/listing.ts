// Lists what a run of the reconciler compares: searches on both servers, page by page.
import type { Resource } from '@medplum/fhirtypes';
import { isTypeAndId } from '../fhir-events.ts';
import { SyncError } from './errors.ts';
import { isOurs, isTagged, sourceSystem, syncTag } from './marks.ts';
import { readMany, requestMedplum } from './source.ts';
import { searchTarget } from './target.ts';
import type { SyncContext } from './target.ts';
import { inOrder, rulesOf } from './types.ts';
import type { SyncedType } from './types.ts';

/**
 * From 20 on, Medplum's next links carry a cursor, which neither skips nor repeats what changes in
 * the meantime.
 */
const PAGE_SIZE = 400;
/** How many ids go into one search, and into one transaction. */
const BATCH_SIZE = 50;

/**
 * One page of a list: the ids to look at, and the query of the next page, which may be kept for the
 * next run.
 */
export interface ListPage {
  ids: string[];
  next: string | undefined;
}

/** One list of a run. */
export interface List {
  type: SyncedType;
  /** The query of the first page. */
  first: string;
  read: (query: string) => Promise<ListPage>;
}

/**
 * The lists of a run, in their order: what others refer to is written first, and deleted last.
 *
 * @param context - What the sync works with.
 * @param mode - `changes`: what changed and what was deleted on Medplum. `full`: everything on
 *   Medplum, and everything that this sync wrote to the target, among which is what should not be
 *   there any more.
 * @param since - Only what changed since then (ISO time); everything, if undefined.
 * @returns The lists.
 */
export function listsOf(
  context: SyncContext,
  mode: 'changes' | 'full',
  since: string | undefined,
): List[] {
  const types = inOrder(context.config.types);
  const changed = types.map((type) => listSource(context, type, since, ''));
  const gone = types.toReversed().flatMap((type) => {
    return mode === 'full'
      ? listTarget(context, type)
      : [listSource(context, type, since, '&_deleted=true')];
  });
  return [...changed, ...gone];
}

function listSource(
  context: SyncContext,
  type: SyncedType,
  since: string | undefined,
  query: string,
): List {
  const when = since ? `&_lastUpdated=ge${since}` : '';
  const first = `_sort=_lastUpdated&_elements=id&_count=${PAGE_SIZE}${when}${query}`;
  async function read(page: string): Promise<ListPage> {
    const what = `GET ${type} from Medplum`;
    const { entry = [], link } = await requestMedplum(context, what, (options) =>
      context.medplum.search(type, page, { ...options, cache: 'reload' }),
    );
    const next = link?.find(({ relation }) => relation === 'next')?.url.split('?')[1];
    return { ids: entry.flatMap(({ resource }) => resource?.id ?? []), next };
  }
  return { type, first, read };
}

/**
 * What this sync wrote: by its tag, and by the source identifier, in case that the tag was removed
 * there.
 */
function listTarget(context: SyncContext, type: SyncedType): List[] {
  const { config } = context;
  const { system, code } = syncTag(config);
  const tag = encodeURIComponent(`${system}|${code}`);
  const token = encodeURIComponent(`${sourceSystem(config, type)}|`);
  const byTag = `${type}?_tag=${tag}&_elements=meta&_count=${PAGE_SIZE}`;
  const byIdentifier = `${type}?identifier=${token}&_elements=identifier,meta&_count=${PAGE_SIZE}`;
  const hasTag = (resource: Resource): boolean => isTagged(config, resource);
  const isOnlyIdentified = (resource: Resource): boolean =>
    !hasTag(resource) && isOurs(config, resource);
  const lists = [listMissing(context, type, byTag, hasTag)];
  if (rulesOf(type).identifier === 'list') {
    lists.push(listMissing(context, type, byIdentifier, isOnlyIdentified));
  }
  return lists;
}

/**
 * Of the resources that a search on the target finds, those that Medplum does not have, or does not
 * let us read.
 */
function listMissing(
  context: SyncContext,
  type: SyncedType,
  first: string,
  isListed: (resource: Resource) => boolean,
): List {
  async function read(query: string): Promise<ListPage> {
    try {
      const { resources, next } = await searchTarget(context.target, query);
      if (resources.some(({ resourceType }) => resourceType !== type)) {
        throw new SyncError('untrusted', `Search for ${type}: other types were answered`);
      }
      const ids = resources.filter(isListed).map(({ id = '' }) => id);
      const valid = new Set(ids.filter((id) => isTypeAndId(type, id)));
      return { ids: await missingOnMedplum(context, type, [...valid]), next };
    } catch (error) {
      const status = error instanceof SyncError ? error.cause?.status : undefined;
      if ([400, 404, 410].includes(status ?? 0) && query !== first) {
        return read(first); // the target has forgotten this search: begin it again
      }
      throw error;
    }
  }
  return { type, first, read };
}

async function missingOnMedplum(
  context: SyncContext,
  type: SyncedType,
  ids: string[],
): Promise<string[]> {
  const missing: string[] = [];
  for (const batch of batchesOf(ids)) {
    const found = await readMany(context, type, batch, '&_elements=id');
    missing.push(...batch.filter((id) => !found.has(id)));
  }
  return missing;
}

/**
 * Splits ids into batches; a page makes at most eight.
 *
 * @param ids - Ids of one type.
 * @returns The same ids, 50 at a time.
 */
export function batchesOf(ids: string[]): string[][] {
  const count = Math.ceil(ids.length / BATCH_SIZE);
  return Array.from({ length: count }, (_, index) =>
    ids.slice(index * BATCH_SIZE, (index + 1) * BATCH_SIZE),
  );
}
