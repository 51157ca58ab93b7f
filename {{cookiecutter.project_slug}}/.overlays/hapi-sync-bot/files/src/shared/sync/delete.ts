// Takes a resource off the target: by its id, and only what this sync wrote.
import type { Bundle, OperationOutcome, Resource } from '@medplum/fhirtypes';
import { HTTP_VERBS, isRequestFailure } from '../http-request.ts';
import { SyncError, targetError } from './errors.ts';
import { isOurs, sourceIdsOf } from './marks.ts';
import { readMany, readSource } from './source.ts';
import { readReferrers, readTarget, refersTo, untrusted } from './target.ts';
import type { SyncContext, TargetState } from './target.ts';
import { rulesOf } from './types.ts';
import type { SyncedType } from './types.ts';
import { isInScope, pathOf, put } from './write.ts';

/**
 * What was done. `merged`: the record stays, because it also stands for another resource that lives
 * on Medplum.
 */
export interface RemoveResult {
  action: 'deleted' | 'deactivated' | 'absent' | 'merged';
  version?: string;
}

/** What one run of `sync` offers and collects while it deletes. */
export interface RemoveScope {
  /** Syncs a resource that links to what is being deleted; its links to `deleted` go. */
  syncReferrer: (type: SyncedType, id: string, deleted: ReadonlySet<string>) => Promise<unknown>;
  /**
   * Collects `Type/id` of every other resource that was deleted in the same transaction; see
   * WriteScope.
   */
  alsoSent: Set<string>;
}

/**
 * Removes a resource from the target, or deactivates it.
 *
 * HAPI ignores `If-Match` on DELETE, so a DELETE that arrives late cannot be fenced: the reconciler
 * repairs that.
 *
 * @param context - What the sync works with.
 * @param state - The resource as the target has it; read before the source.
 * @param resource - The resource of that state.
 * @param scope - Syncs what links to it; collects what else is deleted.
 * @returns What was done.
 * @throws SyncError; `blocked` if other resources on the target refer to it, `not-ours` if it lacks
 *   the mark of this sync.
 */
export async function removeFromTarget(
  context: SyncContext,
  state: TargetState,
  resource: Resource,
  scope: RemoveScope,
): Promise<RemoveResult> {
  const { config } = context;
  if (!isOurs(config, resource)) {
    throw new SyncError(
      'not-ours',
      `${pathOf(state)} on the target does not carry the mark of this sync: not deleted`,
    );
  }
  if (await standsForAnother(context, state, resource)) {
    return { action: 'merged' };
  }
  if (config.onDelete === 'deactivate') {
    return deactivate(context, state, resource);
  }
  try {
    await deleteOne(context, state);
    return { action: 'deleted' };
  } catch (error) {
    if (!(error instanceof SyncError) || error.code !== 'blocked') {
      throw error;
    }
    return deleteWithReferrers(context, state, scope, error);
  }
}

/**
 * Whether the record was merged on the target with that of another resource, which lives on
 * Medplum.
 */
async function standsForAnother(
  context: SyncContext,
  { type, id }: TargetState,
  resource: Resource,
): Promise<boolean> {
  const others = sourceIdsOf(context.config, resource).filter((other) => other !== id);
  return others.length > 0 && (await readMany(context, type, others, '&_elements=id')).size > 0;
}

async function deactivate(
  context: SyncContext,
  state: TargetState,
  resource: Resource,
): Promise<RemoveResult> {
  if (!rulesOf(state.type).hasActive) {
    throw new SyncError(
      'unsupported',
      `${pathOf(state)} cannot be deactivated: ${state.type} has no "active"`,
    );
  }
  if (isInactive(resource)) {
    return { action: 'absent' };
  }
  const { version } = await put(context, state, { ...resource, active: false } as Resource);
  return { action: 'deactivated', version };
}

/**
 * Tells whether a resource is deactivated.
 *
 * @param resource - A resource of the target.
 * @returns True if `active` is false.
 */
export function isInactive(resource: Resource): boolean {
  return 'active' in resource && resource.active === false;
}

/** Deletes one resource by its id, and makes sure that it is gone. */
async function deleteOne(context: SyncContext, state: TargetState): Promise<void> {
  const path = pathOf(state);
  try {
    const { status, body, isEmpty } = await context.target.send<OperationOutcome>(
      HTTP_VERBS.DELETE,
      path,
    );
    const isReport =
      body?.resourceType === 'OperationOutcome' &&
      !body.issue.some(({ severity }) => isFailure(severity));
    if ((status === 204 && isEmpty) || (status === 200 && isReport)) {
      return;
    }
  } catch (error) {
    const isGone = isRequestFailure(error) && (error.status === 404 || error.status === 410);
    if (!isGone) {
      throw targetError(error, 'blocked');
    }
  }
  // The answer proves nothing (an empty 200, a 202, a web page): look.
  if ((await readTarget(context, state.type, state.id)).resource) {
    throw untrusted(`DELETE ${path}: the resource is still there`);
  }
}

function isFailure(severity: string | undefined): boolean {
  return severity === 'error' || severity === 'fatal';
}

/** More than this are not deleted together: the reconciler deletes what refers to others first. */
const MOST_TOGETHER = 20;

/**
 * Deletes what others refer to, if these are our own: those that live on Medplum and do no more
 * than link to it are synced, so that their links go; those that were deleted on Medplum, too, are
 * deleted in the same transaction. Anything else that refers to it blocks the deletion.
 */
async function deleteWithReferrers(
  context: SyncContext,
  state: TargetState,
  { syncReferrer, alsoSent }: RemoveScope,
  blocked: SyncError,
): Promise<RemoveResult> {
  const { together, linking, isBlocked } = await collectReferrers(context, state);
  if (isBlocked || (together.size === 1 && linking.length === 0)) {
    await deleteUnlinked(context, state, blocked);
    return { action: 'deleted' };
  }
  const deleted = new Set(together.keys());
  for (const { type, id } of linking) {
    await syncReferrer(type, id, deleted);
  }
  const [, ...others] = together.keys();
  if (others.length === 0) {
    await deleteOrStartOver(context, state);
  } else {
    others.forEach((reference) => alsoSent.add(reference));
    await deleteTogether(context, [...together.values()]);
  }
  return { action: 'deleted' };
}

/** What refers to a resource, directly or over others that were deleted on Medplum, too. */
interface Referrers {
  /** The resource itself and those, by `Type/id`. */
  together: Map<string, TargetState>;
  /** What lives on Medplum, and links to one of them. */
  linking: TargetState[];
  /** Whether something else refers to one of them. */
  isBlocked: boolean;
}

async function collectReferrers(context: SyncContext, state: TargetState): Promise<Referrers> {
  const together = new Map([[pathOf(state), state]]);
  const linking = new Map<string, TargetState>();
  const blocked = { together, linking: [], isBlocked: true };
  for (const member of together.values()) {
    for (const resource of await readReferrers(context, member)) {
      const type = context.config.types.find((synced) => synced === resource.resourceType);
      const path = `${resource.resourceType}/${resource.id}`;
      if (together.has(path) || linking.has(path)) {
        continue;
      }
      if (!type || !isOurs(context.config, resource) || together.size > MOST_TOGETHER) {
        return blocked;
      }
      const referrer = { type, id: resource.id ?? '', version: resource.meta?.versionId, resource };
      if (!(await isWanted(context, referrer))) {
        if (await standsForAnother(context, referrer, resource)) {
          return blocked;
        }
        together.set(path, referrer);
      } else if (isMereLink(referrer, pathOf(member))) {
        linking.set(path, referrer);
      } else {
        return blocked;
      }
    }
  }
  return { together, linking: [...linking.values()], isBlocked: false };
}

async function isWanted(context: SyncContext, { type, id }: TargetState): Promise<boolean> {
  const source = await readSource(context, type, id, {
    isDeletionKnown: false,
    askDatabase: true,
  });
  return source !== undefined && isInScope(context, source);
}

/** Whether a resource refers to another one only in its links; see TypeRules. */
function isMereLink({ type, resource }: TargetState, path: string): boolean {
  const { link } = rulesOf(type);
  if (!link) {
    return false;
  }
  const { [link.element]: _links, ...others } = resource as unknown as Record<string, unknown>;
  return !refersTo(others, path);
}

/**
 * Nothing that could go refers to it. Perhaps the last link has just gone: then a second DELETE
 * succeeds. A 409 can also mean that another client is writing the resource: then its version is
 * another by now.
 */
async function deleteUnlinked(
  context: SyncContext,
  state: TargetState,
  blocked: SyncError,
): Promise<void> {
  try {
    if (!rulesOf(state.type).link) {
      throw blocked;
    }
    await deleteOne(context, state);
  } catch (error) {
    await assertBlocked(context, [state], error);
    throw error;
  }
}

/**
 * After a 409: if one of the resources has another version by now, another client was faster, and
 * we start over.
 */
async function assertBlocked(
  context: SyncContext,
  states: TargetState[],
  error: unknown,
): Promise<void> {
  if (!(error instanceof SyncError) || error.code !== 'blocked') {
    return;
  }
  for (const state of states) {
    const { version } = await readTarget(context, state.type, state.id);
    if (version !== state.version) {
      throw new SyncError('conflict', `${pathOf(state)} changed on the target in the meantime`);
    }
  }
}

/**
 * Deletes what nothing referred to a moment ago. If something does now, another run has just
 * written it: start over.
 *
 * @param context - What the sync works with.
 * @param state - The resource as the target has it.
 * @throws SyncError; `conflict` after a 409.
 */
export async function deleteOrStartOver(context: SyncContext, state: TargetState): Promise<void> {
  try {
    await deleteOne(context, state);
  } catch (error) {
    const isBlocked = error instanceof SyncError && error.code === 'blocked';
    throw isBlocked ? new SyncError('conflict', error.message) : error;
  }
}

async function deleteTogether(context: SyncContext, states: TargetState[]): Promise<void> {
  const entry = states.map((state) => ({
    request: { method: 'DELETE' as const, url: pathOf(state) },
  }));
  try {
    const transaction: Bundle = { resourceType: 'Bundle', type: 'transaction', entry };
    const { body } = await context.target.send<Bundle>(HTTP_VERBS.POST, '', transaction);
    const isDone = body?.type === 'transaction-response' && body.entry?.length === states.length;
    if (!isDone || !body.entry?.every(({ response }) => /^20[04]/.test(response?.status ?? ''))) {
      throw untrusted('POST of a transaction: the answer proves no deletion');
    }
  } catch (error) {
    const failure = targetError(error, 'blocked');
    await assertBlocked(context, states, failure);
    throw failure;
  }
}
