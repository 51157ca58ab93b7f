// Writes to the target: a PUT with its fence (If-Match). A write counts only if its answer proves
// it.
import type { Resource } from '@medplum/fhirtypes';
import { HTTP_VERBS } from '../http-request.ts';
import { inBundle } from './bundle.ts';
import { codeOfError, SyncError } from './errors.ts';
import { copyOf, referencesOf } from './rules.ts';
import { isWanted, readSource } from './source.ts';
import {
  assertTargetUnchanged,
  isLocationOf,
  pathOf,
  readTarget,
  requestTarget,
  typeAndId,
  untrusted,
  versionInLocation,
} from './target.ts';
import type { Done, RunContext, SyncContext, TargetState } from './target.ts';

/**
 * HAPI keeps tags, labels and profiles that a PUT does not name, unless it is told that these are
 * all.
 */
const WRITE_HEADERS = {
  'x-meta-snapshot-mode': 'TAG, SECURITY_LABEL, PROFILE',
  prefer: 'return=minimal',
};

/**
 * Writes the copy of a resource.
 *
 * If the target refuses it, perhaps because it refers to something that is not there yet (HAPI 8.8:
 * 400), it is written together with what it refers to; and if that is refused, alone, without those
 * references.
 *
 * @param context - What the run works with.
 * @param state - What the target has; read before the source.
 * @param source - The resource, as Medplum has it.
 * @returns What was done.
 * @throws SyncError; `conflict` if another write came first.
 */
export async function writeCopy(
  context: RunContext,
  state: TargetState,
  source: Resource,
): Promise<Done> {
  const itself = { state, source };
  try {
    return await writeAlone(context, itself, () => true);
  } catch (error) {
    if (codeOfError(error) !== 'refused' || referencesOf(context, source).length === 0) {
      throw error;
    }
  }
  const { missing, existing } = await readDependencies(context, itself);
  if (missing.size > 0) {
    missing.forEach((_dependency, reference) => context.alsoSent.add(reference));
    try {
      return await writeTogether(context, itself, missing, existing);
    } catch (error) {
      if (codeOfError(error) !== 'refused') {
        throw error;
      }
    }
  }
  const path = pathOf(state);
  try {
    return await writeAlone(
      context,
      itself,
      (reference) => reference === path || existing.has(reference),
    );
  } catch (error) {
    if (codeOfError(error) === 'refused') {
      // If a resource that it refers to has been deleted since, that is the reason: start over.
      await assertTargetUnchanged(context, [...existing.values()]);
    }
    throw error;
  }
}

/** A resource that is to be written, and what the target has of it. */
interface Member {
  state: TargetState;
  source: Resource;
}

async function writeAlone(
  context: SyncContext,
  { state, source }: Member,
  canReferTo: (reference: string) => boolean,
): Promise<Done> {
  const { body, leftOut } = copyOf(context, source, state.resource, canReferTo);
  return { ...(await put(context, state, body)), leftOut };
}

async function writeTogether(
  context: SyncContext,
  itself: Member,
  dependencies: Map<string, Member>,
  existing: Map<string, TargetState>,
): Promise<Done> {
  const paths = new Set([pathOf(itself.state), ...dependencies.keys(), ...existing.keys()]);
  const transaction = { ...context, target: inBundle(context.target, { isAtomic: true }) };
  const write = (member: Member): Promise<Done> =>
    writeAlone(transaction, member, (reference) => paths.has(reference));
  const [written] = await Promise.all([write(itself), ...[...dependencies.values()].map(write)]);
  return written;
}

/**
 * What a resource refers to, directly or not: what must be written with it, and what the target has
 * already.
 */
async function readDependencies(
  context: SyncContext,
  itself: Member,
): Promise<{ missing: Map<string, Member>; existing: Map<string, TargetState> }> {
  const missing = new Map<string, Member>();
  const existing = new Map<string, TargetState>();
  const seen = new Set([pathOf(itself.state)]);
  const queue = [itself];
  for (const { source } of queue) {
    const references = referencesOf(context, source).filter((reference) => !seen.has(reference));
    for (const reference of references) {
      seen.add(reference);
      const [type, id] = typeAndId(reference);
      const state = await readTarget(context, type, id);
      if (state.resource) {
        existing.set(reference, state);
        continue;
      }
      const options = { isDeletionKnown: true, askDatabase: true };
      const found = await readSource(context, type, id, options);
      if (isWanted(context, found)) {
        missing.set(reference, { state, source: found });
        queue.push({ state, source: found });
      }
    }
  }
  return { missing, existing };
}

/**
 * Writes one body behind the fence of the version that was read.
 *
 * The answer must prove it: 200 or 201, with a version, and with nothing of another resource. A
 * login page, a 202 or a 207 does not prove that something was written.
 *
 * @param context - What the sync works with.
 * @param state - What the target has; its version is the fence.
 * @param body - What to write.
 * @returns What was done.
 * @throws SyncError; `conflict` if the version is another by now, `untrusted` if the answer does
 *   not prove the write.
 */
export async function put(
  { target }: Pick<SyncContext, 'target'>,
  state: TargetState,
  body: Resource,
): Promise<Done> {
  const path = pathOf(state);
  const headers = { ...WRITE_HEADERS, 'if-match': fenceOf(state) };
  const answer = await requestTarget<Resource>(target, HTTP_VERBS.PUT, path, body, headers);
  const { status, location } = answer;
  if (status !== 200 && status !== 201) {
    throw untrusted(`PUT ${path}: HTTP ${status} proves no write`);
  }
  const stored = pathOf(Object(answer.body) as Resource) === path ? answer.body : undefined;
  if (!answer.isEmpty && !stored && !isReport(answer.body)) {
    throw untrusted(`PUT ${path}: HTTP ${status} with something else than the resource`);
  }
  if (location !== undefined && !isLocationOf(location, path)) {
    throw untrusted(`PUT ${path}: the location is of another resource`);
  }
  const located = versionInLocation(location, path);
  const version = located ?? answer.version ?? stored?.meta?.versionId;
  if (version === undefined) {
    throw untrusted(`PUT ${path}: HTTP ${status} without a version proves no write`);
  }
  if (status === 201) {
    return { action: 'created', version };
  }
  return { action: version === state.version ? 'unchanged' : 'updated', version };
}

function fenceOf(state: TargetState): string {
  if (state.version === undefined) {
    const message = `${pathOf(state)}: the target returns no version, so no write can be fenced`;
    throw new SyncError('unsupported', message);
  }
  return `W/"${state.version}"`;
}

/**
 * Tells whether a body reports success; a server may answer so in the place of the resource.
 *
 * @param body - Of an answer.
 * @returns True for an OperationOutcome without an error.
 */
export function isReport(body: Resource | undefined): boolean {
  const issues = body?.resourceType === 'OperationOutcome' ? body.issue : undefined;
  return issues?.every((issue) => /^(information|warning|success)$/.test(issue?.severity)) ?? false;
}
