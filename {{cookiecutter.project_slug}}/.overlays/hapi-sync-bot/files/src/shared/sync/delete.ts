// Deletes a resource from the target: by its id, and only if this sync wrote it.
import type { Resource } from '@medplum/fhirtypes';
import { HTTP_VERBS } from '../http-request.ts';
import { inBundle } from './bundle.ts';
import { codeOfError, SyncError } from './errors.ts';
import { isOurs, sourceIdsOf } from './marks.ts';
import { copyOf, referencesOf } from './rules.ts';
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

/**
 * Removes a resource from the target, or deactivates it.
 *
 * HAPI ignores `If-Match` on DELETE, so a DELETE that arrives late cannot be fenced: the reconciler
 * repairs that.
 *
 * @param context - What the run works with.
 * @param state - What the target has; read before the source.
 * @param resource - The resource of that state.
 * @returns What was done.
 * @throws SyncError; `blocked` if other resources on the target refer to it, `not-ours` if it lacks
 *   the mark of this sync.
 */
export async function remove(
  context: RunContext,
  state: TargetState,
  resource: Resource,
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
    await deleteWithReferrers(context, state, error);
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

/** After so many 409 for which no reason can be found, a deletion is given up. */
const UNEXPLAINED_CONFLICTS = 3;

/** What is changed in one transaction: written if it lives on Medplum, else deleted. */
interface Member {
  state: TargetState;
  source: Resource | undefined;
}

/**
 * Deletes what others refer to, if these are our own, in one transaction: those that were deleted
 * on Medplum, too, are deleted, and those that do no more than link to it are written without their
 * links. Anything else that refers to it blocks the deletion.
 */
async function deleteWithReferrers(
  context: RunContext,
  state: TargetState,
  blocked: unknown,
): Promise<void> {
  const members = await readMembers(context, state, blocked);
  const states = [...members.values()].map((member) => member.state);
  states.slice(1).forEach((referrer) => context.alsoSent.add(pathOf(referrer)));
  const isAlone = states.length === 1; // perhaps the last reference has just gone
  const target = isAlone ? context.target : inBundle(context.target, { isAtomic: true });
  const transaction = { ...context, target };
  for (let attempt = 1; ; attempt++) {
    try {
      await Promise.all(
        [...members.values()].map((member) => change(transaction, member, members)),
      );
      return;
    } catch (error) {
      if (codeOfError(error) !== 'blocked') {
        throw error;
      }
      // A 409 can also mean that another client was faster, or that something now refers to them.
      await assertTargetUnchanged(context, states);
      await assertNoFurtherReferrers(context, members);
      if (attempt === UNEXPLAINED_CONFLICTS) {
        throw error;
      }
      // Or what referred to them was changed again before it was looked for: try once more.
    }
  }
}

async function assertNoFurtherReferrers(
  context: SyncContext,
  members: Map<string, Member>,
): Promise<void> {
  for (const path of [...members.keys()].filter((key) => isDeletion(members.get(key)))) {
    const referrers = await readReferrers(context, path);
    if (referrers.some((resource) => !members.has(pathOf(resource)))) {
      throw new SyncError(
        'conflict',
        `What refers to ${path} changed on the target in the meantime`,
      );
    }
  }
}

async function change(
  context: SyncContext,
  { state, source }: Member,
  members: Map<string, Member>,
): Promise<void> {
  if (!source) {
    return deleteOne(context, state);
  }
  // What else it refers to may be missing on the target; it is synced afterwards.
  const canReferTo = (reference: string): boolean =>
    refersTo(state.resource, reference) && !isDeletion(members.get(reference));
  await put(context, state, copyOf(context, source, state.resource, canReferTo).body);
}

function isDeletion(member: Member | undefined): boolean {
  return member !== undefined && member.source === undefined;
}

/**
 * A resource and what must be changed with it, by `Type/id`: what refers to it, directly or over
 * others that are deleted, too.
 */
async function readMembers(
  context: SyncContext,
  state: TargetState,
  blocked: unknown,
): Promise<Map<string, Member>> {
  const members = new Map<string, Member>([[pathOf(state), { state, source: undefined }]]);
  for (const [path, changed] of members) {
    const referrers = isDeletion(changed) ? await readReferrers(context, path) : [];
    for (const resource of referrers) {
      if (isDeletion(members.get(pathOf(resource)))) {
        continue;
      }
      const member = await memberFor(context, resource, path);
      if (!member || (isDeletion(member) && members.size > MAX_DELETED_TOGETHER)) {
        await assertTargetUnchanged(context, [state]);
        throw blocked;
      }
      members.set(pathOf(resource), member);
    }
  }
  return members;
}

/**
 * What has to be done so that a resource no longer refers to `path`: it is written again without
 * its link, or, without a source, deleted. Undefined if neither is allowed.
 */
async function memberFor(
  context: SyncContext,
  resource: Resource,
  path: string,
): Promise<Member | undefined> {
  const { resourceType: type, id = '' } = resource;
  const isConfigured = context.config.types.some((synced) => synced === type);
  if (!isConfigured || !isOurs(context.config, resource)) {
    return undefined;
  }
  const state = stateOf(resource);
  let source: Resource | undefined;
  try {
    const options = { isDeletionKnown: false, askDatabase: true };
    source = await readSource(context, type, id, options);
  } catch (error) {
    if (codeOfError(error) === 'not-found') {
      return undefined; // perhaps this bot may not read it
    }
    throw error;
  }
  if (isWanted(context, source)) {
    return isMereLink(context, source, path) ? { state, source } : undefined;
  }
  return (await standsForAnother(context, resource)) ? undefined : { state, source: undefined };
}

/** Whether a resource refers to another one only in its links, or not at all; see TypeRules. */
function isMereLink(context: SyncContext, source: Resource, path: string): boolean {
  const { link } = rulesOf(source.resourceType);
  const others = Object.entries(source).filter(([name]) => name !== link?.element);
  return !referencesOf(context, Object.fromEntries(others) as Resource).includes(path);
}
