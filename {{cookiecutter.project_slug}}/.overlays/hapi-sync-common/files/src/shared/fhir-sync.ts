// The sync of one resource: read both sides, and make the external server's state Medplum's. See docs/syncing.md.
import type { ResourceType } from '@medplum/fhirtypes';
import { isTypeAndId } from './fhir-events.ts';
import { remove } from './fhir-remove.ts';
import { again, readMany, readSource } from './fhir-source.ts';
import { lookAt } from './fhir-target.ts';
import type { SyncContext } from './fhir-target.ts';
import { put } from './fhir-write.ts';
import { writeBack } from './fhir-write-back.ts';
import type { Done } from './fhir-write.ts';
import { HTTP_VERBS, isRequestFailure, isTransient } from './http-request.ts';
import { retry, retryDelay } from './retry.ts';

const FENCE_NEVER_THERE = { 'if-match': 'W/"0"' };

export interface SyncResult extends Done {
  attempts: number;
}

/**
 * Brings one resource of the external server to Medplum's current state, whatever event led here.
 *
 * 1. Look at the target: its version is the fence.
 * 2. Read the source, afterwards.
 * 3. Write behind the fence: a write that comes late, or after somebody else's, is refused.
 * 4. Ask the source's database for its version. If that is another: again from 1, as after a conflict, a busy server or
 *    a lost answer, and now past Medplum's cache.
 *
 * So events may come late, twice, in any order, and several at once: whichever runs last leaves Medplum's state.
 *
 * @param context - Medplum, the external server, the configuration, the deadline.
 * @param resourceType - One of the configured types.
 * @param id - The id on Medplum.
 * @param deleted - Whether somebody said that it was deleted; only then Medplum's 404 counts as a deletion.
 * @param before - How many attempts were made elsewhere, whose writes may still be under way.
 * @returns What was done.
 * @throws The last failure when the deadline came, or at once where trying again cannot help.
 * @example await sync(context, 'Patient', id); // { action: 'updated', version: '3', leftOut: 0, attempts: 1 }
 */
export async function sync(
  context: SyncContext,
  resourceType: string,
  id: string,
  deleted = false,
  before = 0,
): Promise<SyncResult> {
  const type = context.config.types.find((synced) => synced === resourceType);
  if (!type || !isTypeAndId(type, id)) {
    throw new Error(`Refused: ${type ? 'not a FHIR id' : 'not a type of src/shared/sync-config.ts'}`);
  }
  const along = new Set<string>();
  const result = await retry(
    async (attempts) => ({
      ...(await syncOnce({ ...context, along }, type, id, deleted, before + attempts)),
      attempts,
    }),
    context.deadline,
    delayAfter,
  );
  // What was written along may have changed meanwhile, and its own run may have been over before that.
  for (const [alongType = '', alongId = ''] of [...along].map((reference) => reference.split('/'))) {
    await sync(context, alongType, alongId, false, result.attempts);
  }
  return result;
}

function delayAfter(error: unknown, attempt: number): number | undefined {
  if (isRequestFailure(error)) {
    const conflict = error.status === 409 || error.status === 412;
    return conflict || isTransient(error.status) ? retryDelay(attempt, error.retryAfter) : undefined;
  }
  return (error as { again?: boolean }).again ? retryDelay(attempt) : undefined;
}

async function syncOnce(
  context: SyncContext,
  type: ResourceType,
  id: string,
  deleted: boolean,
  attempt: number,
): Promise<Done> {
  const target = await lookAt(context, type, id);
  const wasDeleted = !target.resource && target.version !== '0';
  const source = await readSource(context, type, id, deleted, deleted || wasDeleted || attempt > 1);
  const wanted = source && context.config.inScope(source) ? source : undefined;
  let done: Done = { action: 'absent', leftOut: 0 };
  if (wanted) {
    done = await put(context, target, wanted);
  } else if (target.resource) {
    done = await remove(context, target.resource);
  } else {
    if (attempt > 1 && target.version === '0') {
      await bury(context, type, id);
    }
    return done;
  }
  for (const duplicate of target.duplicates) {
    await remove(context, duplicate, wanted && target.url);
  }
  let version = source?.meta?.versionId;
  if (wanted && context.config.identity === 'identifier') {
    if (!target.resource?.id) {
      // The server has given it an id: look again, now behind the fence, and at what parallel creates have left.
      return { ...(await syncOnce(context, type, id, deleted, attempt)), action: 'created' };
    }
    version = await writeBack(context, wanted, target.resource.id);
  }
  const stored = (await readMany(context, type, [id], '&_elements=id')).get(id);
  if (stored?.meta?.versionId !== version) {
    throw again(`${type}/${id} changed on Medplum meanwhile`);
  }
  return done;
}

/**
 * Makes a tombstone where nothing ever was. A create of ours may still be under way, from an attempt that got no
 * answer; its fence says "never there", and would let it in after the deletion.
 */
async function bury({ server, config }: SyncContext, type: ResourceType, id: string): Promise<void> {
  // With its identifier: if this bot dies in between, hapi-reconcile-bot finds the empty resource and removes it.
  const empty = { resourceType: type, id, identifier: [{ system: config.sourceSystem(type), value: id }] };
  if (config.onDelete === 'deactivate') {
    await server.send(HTTP_VERBS.PUT, `${type}/${id}`, { ...empty, active: false }, FENCE_NEVER_THERE);
  } else {
    await server.send(HTTP_VERBS.PUT, `${type}/${id}`, empty, FENCE_NEVER_THERE);
    await server.send(HTTP_VERBS.DELETE, `${type}/${id}`);
  }
}
