// Writes the target: a PUT behind its fence, or a transaction of them. A write counts when its
// answer proves it.
import type { Bundle, BundleEntry, BundleEntryResponse, Resource } from '@medplum/fhirtypes';
import { HTTP_VERBS } from '../http-request.ts';
import type { ExternalResponse } from '../http-request.ts';
import { codeOfError, SyncError, targetError } from './errors.ts';
import { copyOf, referencesOf } from './rules.ts';
import type { Copy } from './rules.ts';
import { readSource } from './source.ts';
import { readTarget, untrusted, versionInEtag, versionInLocation } from './target.ts';
import type { SyncContext, TargetState } from './target.ts';
import type { SyncedType } from './types.ts';

/** What a write did. */
export interface Written {
  action: 'created' | 'updated' | 'unchanged';
  /** The version on the target now. */
  version: string;
}

/** What writing a resource did, with what it refers to. */
export interface WriteResult extends Written {
  /** How many references were left out; see copyOf. */
  leftOut: number;
}

/** What one run of `sync` knows and collects while it writes. */
export interface WriteScope {
  /** `Type/id` of what is being deleted, so that nothing may refer to it. */
  deleted: ReadonlySet<string>;
  /**
   * Collects `Type/id` of every other resource that the run sent to the target, in whichever
   * attempt: the request may still be under way, so each of them must be synced afterwards.
   */
  alsoSent: Set<string>;
}

/**
 * HAPI keeps tags, labels and profiles that a PUT does not name, unless it is told that these are
 * all.
 */
const WHOLE_META = { 'x-meta-snapshot-mode': 'TAG, SECURITY_LABEL, PROFILE' };

/**
 * Writes the copy of a resource.
 *
 * If the target refuses it, perhaps because it refers to something that is not there yet (HAPI 8.8:
 * 400), it is written together with what it refers to; and if that is refused, alone, without those
 * references.
 *
 * @param context - What the sync works with.
 * @param state - What the target has; read before the source.
 * @param source - The resource, as Medplum has it.
 * @param scope - What may not be referred to; collects what else is sent.
 * @returns What was done.
 * @throws SyncError; `conflict` if another write came first.
 */
export async function writeCopy(
  context: SyncContext,
  state: TargetState,
  source: Resource,
  scope: WriteScope,
): Promise<WriteResult> {
  const copy = copyFor(context, state, source, (reference) => !scope.deleted.has(reference));
  try {
    return { ...(await put(context, state, copy.body)), leftOut: copy.leftOut };
  } catch (error) {
    const hasReferences = referencesOf(source, context.config, sourceUrl(context)).length > 0;
    if (codeOfError(error) !== 'refused' || !hasReferences) {
      throw error;
    }
  }
  return writeWithDependencies(context, state, source, scope);
}

/** A resource that is to be written, and what the target has of it. */
interface Member {
  state: TargetState;
  source: Resource;
}

async function writeWithDependencies(
  context: SyncContext,
  state: TargetState,
  source: Resource,
  { deleted, alsoSent }: WriteScope,
): Promise<WriteResult> {
  const { members, existing } = await collectDependencies(context, { state, source }, deleted);
  const itself = pathOf(state);
  const [, ...dependencies] = [...members.keys()];
  if (dependencies.length > 0) {
    dependencies.forEach((reference) => alsoSent.add(reference));
    try {
      const canReferTo = (reference: string): boolean =>
        members.has(reference) || existing.has(reference);
      const copies = [...members.values()].map((member) => ({
        state: member.state,
        copy: copyFor(context, member.state, member.source, canReferTo),
      }));
      const [own] = await postTransaction(context, copies);
      const leftOut = copies[0]?.copy.leftOut ?? 0;
      return { ...provenEntry(own, state), leftOut };
    } catch (error) {
      if (codeOfError(error) !== 'refused') {
        throw error;
      }
    }
  }
  // The resource alone, without what is not there: if one of the others is refused, that must not
  // keep this one out.
  const copy = copyFor(
    context,
    state,
    source,
    (reference) => reference === itself || existing.has(reference),
  );
  try {
    return { ...(await put(context, state, copy.body)), leftOut: copy.leftOut };
  } catch (error) {
    if (codeOfError(error) === 'refused') {
      await assertStillThere(context, existing);
    }
    throw error;
  }
}

/** Finds what a resource refers to, directly or not, and what of that must be written with it. */
async function collectDependencies(
  context: SyncContext,
  first: Member,
  deleted: ReadonlySet<string>,
): Promise<{ members: Map<string, Member>; existing: Set<string> }> {
  const members = new Map([[pathOf(first.state), first]]);
  const seen = new Set([...members.keys(), ...deleted]);
  const existing = new Set<string>();
  for (const member of members.values()) {
    for (const reference of referencesOf(member.source, context.config, sourceUrl(context))) {
      if (seen.has(reference)) {
        continue;
      }
      seen.add(reference);
      const [type, id] = reference.split('/') as [SyncedType, string];
      const state = await readTarget(context, type, id);
      if (state.resource) {
        existing.add(reference);
        continue;
      }
      const source = await readSource(context, type, id, {
        isDeletionKnown: true,
        askDatabase: true,
      });
      if (source && isInScope(context, source)) {
        members.set(reference, { state, source });
      }
    }
  }
  return { members, existing };
}

/** If something that was there is gone, it was that which the target missed: start over. */
async function assertStillThere(context: SyncContext, references: Set<string>): Promise<void> {
  for (const reference of references) {
    const [type, id] = reference.split('/') as [SyncedType, string];
    if (!(await readTarget(context, type, id)).resource) {
      throw new SyncError('conflict', `${reference} was deleted on the target in the meantime`);
    }
  }
}

/**
 * Writes one body behind the fence of the version that was read.
 *
 * @param context - What the sync works with.
 * @param state - What the target has; its version is the fence.
 * @param body - What to write.
 * @returns What was done.
 * @throws SyncError; `conflict` if the version is another by now, `untrusted` if the answer does
 *   not prove the write.
 */
export async function put(
  { target }: SyncContext,
  state: TargetState,
  body: Resource,
): Promise<Written> {
  const headers = { ...WHOLE_META, prefer: 'return=minimal', 'if-match': `W/"${fenceOf(state)}"` };
  try {
    const answer = await target.send<Resource>(HTTP_VERBS.PUT, pathOf(state), body, headers);
    return provenWrite(answer, state);
  } catch (error) {
    throw targetError(error);
  }
}

/** A copy, and what the target has of it. */
export interface PlannedWrite {
  state: TargetState;
  copy: Copy;
}

/**
 * Writes many copies in one transaction, each behind its fence: all or nothing, and in any order of
 * references.
 *
 * @param context - What the sync works with.
 * @param writes - What to write.
 * @returns The answers, in the same order; see provenEntry.
 * @throws SyncError, if the whole transaction failed.
 */
export async function postTransaction(
  context: SyncContext,
  writes: PlannedWrite[],
): Promise<(BundleEntryResponse | undefined)[]> {
  return postBundle(context, 'transaction', writes);
}

/**
 * Writes many copies in one batch, each behind its fence and for itself.
 *
 * @param context - What the sync works with.
 * @param writes - What to write.
 * @returns The answers, in the same order; see provenEntry.
 * @throws SyncError, if the whole batch failed.
 */
export async function postBatch(
  context: SyncContext,
  writes: PlannedWrite[],
): Promise<(BundleEntryResponse | undefined)[]> {
  return postBundle(context, 'batch', writes);
}

async function postBundle(
  { target }: SyncContext,
  type: 'transaction' | 'batch',
  writes: PlannedWrite[],
): Promise<(BundleEntryResponse | undefined)[]> {
  const entry = writes.map(({ state, copy }): BundleEntry => ({
    fullUrl: `${target.baseUrl}/${pathOf(state)}`,
    resource: copy.body,
    request: { method: 'PUT', url: pathOf(state), ifMatch: `W/"${fenceOf(state)}"` },
  }));
  const headers = { ...WHOLE_META, prefer: 'return=minimal' };
  try {
    const answer = await target.send<Bundle>(
      HTTP_VERBS.POST,
      '',
      { resourceType: 'Bundle', type, entry },
      headers,
    );
    const { body, status } = answer;
    if (status !== 200 || body?.resourceType !== 'Bundle' || body.type !== `${type}-response`) {
      throw untrusted(`POST of a ${type}: HTTP ${status} without its result`);
    }
    if (body.entry?.length !== writes.length) {
      throw untrusted(`POST of a ${type}: not every entry was answered`);
    }
    return body.entry.map(({ response }) => response);
  } catch (error) {
    throw targetError(error);
  }
}

/**
 * What one entry of a transaction or batch proves.
 *
 * @param response - The answer to the entry.
 * @param state - What the target had before.
 * @returns What was done.
 * @throws SyncError; `untrusted` if it proves no write.
 */
export function provenEntry(
  response: BundleEntryResponse | undefined,
  state: TargetState,
): Written {
  const status = Number.parseInt(response?.status ?? '', 10);
  const path = pathOf(state);
  const isOfAnother =
    response?.location !== undefined && versionInLocation(response.location, path) === undefined;
  const version = versionInLocation(response?.location, path) ?? versionInEtag(response?.etag);
  if ((status !== 200 && status !== 201) || isOfAnother || version === undefined) {
    throw untrusted(
      `PUT ${path} in a Bundle: status ${Number.isNaN(status) ? 'missing' : status} proves no write`,
    );
  }
  return { action: actionOf(status, state, version), version };
}

/**
 * 200 or 201, and the version, the location or the resource itself: a login page, a 202 or a 207 is
 * no write.
 */
function provenWrite(answer: ExternalResponse<Resource>, state: TargetState): Written {
  const { status, body, isEmpty, location } = answer;
  const path = pathOf(state);
  if (status !== 200 && status !== 201) {
    throw untrusted(`PUT ${path}: HTTP ${status} proves no write`);
  }
  const isItself = body !== undefined && `${body?.resourceType}/${body?.id}` === path;
  const isReport = body?.resourceType === 'OperationOutcome' && !body.issue.some(isError);
  if (!isEmpty && !isItself && !isReport) {
    throw untrusted(`PUT ${path}: HTTP ${status} with something else than the resource`);
  }
  if (location !== undefined && !isLocationOf(location, path)) {
    throw untrusted(`PUT ${path}: the location is of another resource`);
  }
  const version =
    versionInLocation(location, path) ??
    answer.version ??
    (isItself ? body.meta?.versionId : undefined);
  if (version === undefined) {
    throw untrusted(`PUT ${path}: HTTP ${status} without a version proves no write`);
  }
  return { action: actionOf(status, state, version), version };
}

function isError({ severity }: { severity?: string }): boolean {
  return severity === 'error' || severity === 'fatal';
}

function isLocationOf(location: string, path: string): boolean {
  return versionInLocation(location, path) !== undefined || location.endsWith(`/${path}`);
}

function actionOf(status: number, state: TargetState, version: string): Written['action'] {
  if (status === 201) {
    return 'created';
  }
  return version === state.version ? 'unchanged' : 'updated';
}

function fenceOf(state: TargetState): string {
  if (state.version === undefined) {
    throw new SyncError(
      'unsupported',
      `${pathOf(state)}: the target returns no version, so no write can be fenced`,
    );
  }
  return state.version;
}

/**
 * The path of a resource on the target.
 *
 * @param state - What the target has of it.
 * @returns `Type/id`.
 */
export function pathOf({ type, id }: Pick<TargetState, 'type' | 'id'>): string {
  return `${type}/${id}`;
}

/**
 * The copy of a resource; see copyOf.
 *
 * @param context - What the sync works with.
 * @param state - What the target has of it.
 * @param source - The resource, as Medplum has it.
 * @param canReferTo - Whether a reference to `Type/id` holds on the target.
 * @returns The copy.
 */
export function copyFor(
  context: SyncContext,
  state: TargetState,
  source: Resource,
  canReferTo: (reference: string) => boolean,
): Copy {
  const { config } = context;
  return copyOf(source, {
    config,
    sourceUrl: sourceUrl(context),
    existing: state.resource,
    canReferTo,
  });
}

/**
 * The FHIR address of Medplum, as absolute references to it begin.
 *
 * @param context - What the sync works with.
 * @returns E.g. `https://api.medplum.com/fhir/R4/`.
 */
export function sourceUrl({ medplum }: SyncContext): string {
  return `${medplum.fhirUrl().toString().replace(/\/+$/, '')}/`;
}

/**
 * Whether a resource belongs on the target.
 *
 * @param context - What the sync works with.
 * @param source - The resource, as Medplum has it.
 * @returns The answer of the configuration.
 */
export function isInScope({ config }: SyncContext, source: Resource): boolean {
  return config.inScope?.(source) ?? true;
}
