// The links of a page of results: by cursor for lists by _lastUpdated, by offset for the rest.
import * as core from '@medplum/core';
import type { SearchRequest } from '@medplum/core';
import type { BundleEntry, BundleLink, Resource } from '@medplum/fhirtypes';

/** Smaller pages get offset links, because a cursor could stand still on them. */
const MIN_CURSOR_COUNT = 20;

export interface Page extends SearchRequest {
  count: number;
  offset: number;
}

/**
 * @param next - the first resource of the page that follows, if there is one
 * @param url - of the resource type, without the query
 */
export function pageLinks(
  page: Page,
  entries: BundleEntry[],
  next: Resource | undefined,
  url: string,
): BundleLink[] {
  const link = (relation: BundleLink['relation'], change: Partial<SearchRequest>): BundleLink => ({
    relation,
    url: url + core.formatSearchQuery({ ...page, ...change }),
  });
  const result = [link('self', {})];
  if (entries.length === 0) {
    return result;
  }
  if (canUseCursor(page)) {
    const cursor = nextCursor(entries, next);
    result.push(link('first', { cursor: undefined, offset: undefined }));
    if (cursor) {
      result.push(link('next', { cursor, offset: undefined }));
    }
    return result;
  }
  const { count, offset } = page;
  result.push(link('first', { offset: 0 }));
  if (next) {
    result.push(link('next', { offset: offset + count }));
  }
  if (offset > 0) {
    result.push(link('previous', { offset: offset - count }));
  }
  return result;
}

function canUseCursor({ count, offset, sortRules = [] }: Page): boolean {
  const [rule] = sortRules;
  const byLastUpdated =
    sortRules.length === 1 && rule!.code === '_lastUpdated' && !rule!.descending;
  return offset === 0 && count >= MIN_CURSOR_COUNT && byLastUpdated;
}

/** A cursor names the instant to go on from, and what was already shown of that instant. */
function nextCursor(entries: BundleEntry[], next: Resource | undefined): string | undefined {
  const instant = next?.meta?.lastUpdated;
  if (!instant) {
    return undefined;
  }
  if (entries[0]!.resource?.meta?.lastUpdated === instant) {
    throw new core.OperationOutcomeError(
      core.serverError(new Error('Cursor fails to make progress')),
    );
  }
  const shown = entries.flatMap(({ resource }) =>
    resource?.meta?.lastUpdated === instant ? resource.id! : [],
  );
  const parts = ['2', String(Date.parse(instant))];
  return (shown.length > 0 ? [...parts, shown.join(',')] : parts).join('-');
}

export interface Cursor {
  instant: string;
  excludedIds: string[];
}

/** @returns undefined where the text is not a cursor, which is ignored */
export function parseCursor(text: string | undefined): Cursor | undefined {
  const [, version, time, rest] = /^([12])-(\d+)(?:-(.*))?$/.exec(text ?? '') ?? [];
  if (!version || (version === '1' && !rest)) {
    return undefined;
  }
  return {
    instant: new Date(Number(time)).toISOString(),
    excludedIds: version === '2' ? (rest?.split(',') ?? []) : [],
  };
}
