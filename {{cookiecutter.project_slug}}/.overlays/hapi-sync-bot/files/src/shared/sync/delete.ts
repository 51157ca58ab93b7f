// Deletes a resource from the target: by its id, and only if this sync wrote it.
import type { Resource } from '@medplum/fhirtypes';
import { HTTP_VERBS } from '../http-request.ts';
import { inBundle } from './bundle.ts';
import { codeOfError, SyncError } from './errors.ts';
import { isOurs, sourceIdsOf } from './marks.ts';
import { isWanted, readMany, readSource } from './source.ts';
import {
  assertTargetUnchanged,
  isMissing,
  pathOf,
  readReferrers,
  readTarget,
  refersTo,
  requestTarget,
  stateOf,
  untrusted,
} from './target.ts';
import type { Done, RunContext, SyncContext, TargetState } from './target.ts';
import { rulesOf } from './types.ts';
import { isReport, put } from './write.ts';

/** Syncs a resource that links to what is being deleted; its links to `deleted` go. */
type SyncReferrer = (path: string, deleted: ReadonlySet<string>) => Promise<unknown>;

/**
 * Removes a resource from the target, or deactivates it.
 *
 * HAPI ignores `If-Match` on DELETE, so a DELETE that arrives late cannot be fenced: the reconciler
 * repairs that.
 *
 * @param context - What the run works with.
 * @param state - What the target has; read before the source.
 * @param resource - The resource of that state.
 * @param syncReferrer - Syncs what links to it.
 * @returns What was done.
 * @throws SyncError; `blocked` if other resources on the target refer to it, `not-ours` if it lacks
 *   the mark of this sync.
 */
export async function remove(
  context: RunContext,
  state: TargetState,
  resource: Resource,
  syncReferrer: SyncReferrer,
): Promise<Done> {
  const { config } = context;
  if (!isOurs(config, resource)) {
    throw new SyncError(
      'not-ours',
      `${pathOf(state)} on the target does not carry the mark of this sync: not deleted`,
    );
  }
  if (await standsForAnother(context, resource)) {
    return { action: 'merged' };
  }
  if (config.onDelete === 'deactivate') {
    return deactivate(context, state, resource);
  }
  try {
    await deleteOne(context, state);
  } catch (error) {
    if (codeOfError(error) !== 'blocked') {
      throw error;
    }
    await deleteWithReferrers(context, state, syncReferrer, error);
  }
  return { action: 'deleted' };
}

/**
 * Whether the record was merged on the target with that of another resource, which lives on
 * Medplum.
 */
async function standsForAnother(context: SyncContext, resource: Resource): Promise<boolean> {
  const others = sourceIdsOf(context.config, resource).filter((id) => id !== resource.id);
  return (await readMany(context, resource.resourceType, others, '&_elements=id')).size > 0;
}

async function deactivate(
  context: SyncContext,
  state: TargetState,
  resource: Resource,
): Promise<Done> {
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

/**
 * Deletes one resource by its id, and makes sure that it is gone.
 *
 * @param context - What the sync works with.
 * @param state - What the target has of it.
 * @throws SyncError; `blocked` after a 409.
 */
export async function deleteOne(
  context: Pick<SyncContext, 'target'>,
  state: TargetState,
): Promise<void> {
  const path = pathOf(state);
  try {
    const answer = await requestTarget<Resource>(context.target, HTTP_VERBS.DELETE, path);
    const { status, body, isEmpty } = answer;
    if ((status === 204 && isEmpty) || (status === 200 && isReport(body))) {
      return;
    }
  } catch (error) {
    if (!isMissing(error)) {
      throw error;
    }
  }
  // The answer proves nothing (an empty 200, a 202, a web page): look.
  if ((await readTarget(context, state.type, state.id)).resource) {
    throw untrusted(`DELETE ${path}: the resource is still there`);
  }
}

/** More than this are not deleted together: the reconciler deletes what refers to others first. */
const MAX_DELETED_TOGETHER = 20;

/**
 * Deletes what others refer to, if these are our own: those that live on Medplum and do no more
 * than link to it are synced, so that their links go; those that were deleted on Medplum, too, are
 * deleted in the same transaction. Anything else that refers to it blocks the deletion.
 */
async function deleteWithReferrers(
  context: RunContext,
  state: TargetState,
  syncReferrer: SyncReferrer,
  blocked: unknown,
): Promise<void> {
  const { together, linking } = await readAllReferrers(context, state, blocked);
  const deleted = new Set(together.keys());
  for (const referrer of linking) {
    await syncReferrer(pathOf(referrer), deleted);
  }
  const states = [...together.values()];
  states.slice(1).forEach((referrer) => context.alsoSent.add(pathOf(referrer)));
  const isAlone = states.length === 1; // perhaps the last reference has just gone
  const target = isAlone ? context.target : inBundle(context.target, { isAtomic: true });
  try {
    await Promise.all(states.map((referrer) => deleteOne({ target }, referrer)));
  } catch (error) {
    if (codeOfError(error) === 'blocked') {
      // A 409 can also mean that another client was faster.
      await assertTargetUnchanged(context, [...states, ...linking]);
    }
    throw error;
  }
}

/** What refers to a resource, directly or over others that were deleted on Medplum, too. */
interface Referrers {
  /** The resource itself and those, by `Type/id`. */
  together: Map<string, TargetState>;
  /** What lives on Medplum, and links to one of them. */
  linking: TargetState[];
}

async function readAllReferrers(
  context: SyncContext,
  state: TargetState,
  blocked: unknown,
): Promise<Referrers> {
  const together = new Map([[pathOf(state), state]]);
  const linking = new Map<string, TargetState>();
  for (const path of together.keys()) {
    for (const resource of await readReferrers(context, path)) {
      const referrer = pathOf(resource);
      if (together.has(referrer) || linking.has(referrer)) {
        continue;
      }
      const remedy = await remedyFor(context, resource, path);
      if (remedy === 'delete' && together.size <= MAX_DELETED_TOGETHER) {
        together.set(referrer, stateOf(resource));
      } else if (remedy === 'unlink') {
        linking.set(referrer, stateOf(resource));
      } else {
        await assertTargetUnchanged(context, [state]);
        throw blocked;
      }
    }
  }
  return { together, linking: [...linking.values()] };
}

/** What makes a resource let go of what it refers to; undefined if nothing may. */
async function remedyFor(
  context: SyncContext,
  resource: Resource,
  path: string,
): Promise<'delete' | 'unlink' | undefined> {
  const { resourceType: type, id = '' } = resource;
  const isConfigured = context.config.types.some((synced) => synced === type);
  if (!isConfigured || !isOurs(context.config, resource)) {
    return undefined;
  }
  const source = await readSource(context, type, id, { isDeletionKnown: false, askDatabase: true });
  if (!isWanted(context, source)) {
    return (await standsForAnother(context, resource)) ? undefined : 'delete';
  }
  return isMereLink(resource, path) ? 'unlink' : undefined;
}

/** Whether a resource refers to another one only in its links; see TypeRules. */
function isMereLink(resource: Resource, path: string): boolean {
  const { link } = rulesOf(resource.resourceType);
  const others = Object.entries(resource).filter(([name]) => name !== link?.element);
  return !refersTo(Object.fromEntries(others), path);
}
