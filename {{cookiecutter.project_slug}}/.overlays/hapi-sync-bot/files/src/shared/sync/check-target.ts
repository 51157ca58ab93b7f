// Checks with one empty resource of the type Basic whether a server can be a target:
// `npm run doctor -- --target`.
import { randomUUID } from 'node:crypto';
import type { Bundle, Resource } from '@medplum/fhirtypes';
import { HTTP_VERBS, isRequestFailure } from '../http-request.ts';
import type { ExternalResponse, RequestFailure } from '../http-request.ts';
import type { SyncConfig } from './config.ts';
import type { TargetConnection } from './connection.ts';
import { syncTag } from './marks.ts';
import { versionInEtag, versionInLocation } from './target.ts';

/** Something that the sync needs of its target. */
export interface TargetCheck {
  what: string;
  isMet: boolean;
}

/**
 * Checks what the sync needs: client ids, versions, fences, tombstones, and searches by tag.
 *
 * @param target - The connection.
 * @param config - The configuration, for the tag.
 * @returns Each need, and whether the target meets it. What depends on a need that is not met is
 *   not met either.
 * @throws RequestFailure if the target does not answer.
 */
export async function checkTarget(
  target: TargetConnection,
  config: SyncConfig,
): Promise<TargetCheck[]> {
  const id = randomUUID();
  const path = `Basic/${id}`;
  const { system, code } = syncTag(config);
  const body = {
    resourceType: 'Basic',
    id,
    meta: { tag: [{ system, code }] },
    code: { text: 'Check' },
  };

  async function put(version: string, text: string): Promise<number> {
    const changed = { ...body, code: { text } };
    return (await attempt(target, HTTP_VERBS.PUT, path, changed, { 'if-match': `W/"${version}"` }))
      .status;
  }
  const created = await put('0', 'created');
  const stored = await attempt(target, HTTP_VERBS.GET, path);
  const version = stored.answer?.version ?? stored.answer?.body?.meta?.versionId;
  const stale = await put('0', 'stale');
  const updated = version === undefined ? 0 : await put(version, 'updated');
  const search = `Basic?_tag=${encodeURIComponent(`${system}|${code}`)}&_id=${id}`;
  const found = await attempt<Bundle>(target, HTTP_VERBS.GET, search, undefined, {
    'cache-control': 'no-cache',
  });
  await attempt(target, HTTP_VERBS.DELETE, path);
  const gone = await attempt(target, HTTP_VERBS.GET, path);
  const tombstone = await tombstoneVersion(target, path, gone.failure);
  const late = version === undefined ? 0 : await put(version, 'late');
  const restored = tombstone === undefined ? 0 : await put(tombstone, 'restored');
  await attempt(target, HTTP_VERBS.DELETE, path);
  const unknown = await attempt(target, HTTP_VERBS.GET, `Basic/${randomUUID()}`);
  const isRefused = (status: number): boolean => status === 409 || status === 412;
  return [
    { what: 'creates a resource with our id and If-Match: W/"0"', isMet: created === 201 },
    { what: 'returns its version', isMet: version !== undefined },
    { what: 'refuses a write that comes after another one (409 or 412)', isMet: isRefused(stale) },
    { what: 'accepts a write with the current version', isMet: updated === 200 },
    { what: 'finds by tag', isMet: found.answer?.body?.entry?.[0]?.resource?.id === id },
    {
      what: 'answers 410 with an OperationOutcome after a deletion',
      isMet: gone.status === 410 && gone.failure?.isFhir === true,
    },
    { what: 'refuses a late write after a deletion', isMet: isRefused(late) },
    {
      what: 'names the version of what was deleted, and restores it',
      isMet: restored === 201 || restored === 200,
    },
    {
      what: 'answers 404 with an OperationOutcome',
      isMet: unknown.status === 404 && unknown.failure?.isFhir === true,
    },
  ];
}

interface Attempt<T> {
  status: number;
  answer?: ExternalResponse<T>;
  failure?: RequestFailure;
}

async function attempt<T extends Resource = Resource>(
  target: TargetConnection,
  method: HTTP_VERBS,
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
): Promise<Attempt<T>> {
  try {
    const answer = await target.send<T>(method, path, body, headers);
    return { status: answer.status, answer };
  } catch (error) {
    if (isRequestFailure(error) && error.status !== 0) {
      return { status: error.status, failure: error };
    }
    throw error;
  }
}

async function tombstoneVersion(
  target: TargetConnection,
  path: string,
  gone: RequestFailure | undefined,
): Promise<string | undefined> {
  const inLocation = versionInLocation(gone?.location, path);
  if (inLocation !== undefined) {
    return inLocation;
  }
  const history = await attempt<Bundle>(target, HTTP_VERBS.GET, `${path}/_history?_count=1`);
  return versionInEtag(history.answer?.body?.entry?.[0]?.response?.etag);
}
