// Many resources at once: which of them differ, and bringing those up to date, in batches behind the same fence.
import type { Bundle, BundleEntry, Resource, ResourceType } from '@medplum/fhirtypes';
import { isSame, lookAtMany } from './fhir-compare.ts';
import { remove } from './fhir-remove.ts';
import { readMany } from './fhir-source.ts';
import { sync } from './fhir-sync.ts';
import { isDeactivated, referenceThere } from './fhir-target.ts';
import type { SyncContext, Target } from './fhir-target.ts';
import { copyFor, WHOLE_META } from './fhir-write.ts';
import { logExternalRequest } from './http-helpers.ts';
import { HTTP_VERBS, isRequestFailure, isTransient } from './http-request.ts';
import { clock } from './retry.ts';

/** How many resources were looked at, and what was found; with a dry run, nothing else happens. */
export interface Counts {
  checked: number;
  /** Not there, or different there. */
  differing: number;
  /** There, but deleted on Medplum, out of scope, or not readable. */
  leftover: number;
  /** More than one resource with the same source identifier. */
  duplicates: number;
  /** Of the leftover: Medplum says 404, not 410. Reported, never deleted: perhaps this bot lost the right to read. */
  unreadable: number;
  /** Could not be brought up to date. */
  failed: number;
}

/** One resource that needs more than its batch is tried for so long; where there is no time for it, by the next run. */
const SINGLE_MS = 3_000;

/**
 * Compares some resources of one type on both sides, and brings those that differ up to date.
 *
 * The order is that of `sync`: look at the targets, read the sources, write behind the fence, read the versions again.
 * Whatever needs more than a PUT, or whose PUT was refused, is left to `sync`.
 *
 * @param context - What the sync works with.
 * @param type - The FHIR type.
 * @param ids - Ids on Medplum; at most 50 make a good batch.
 * @param dryRun - Whether to count only.
 * @returns What was found, and `Type/id` of what could not be repaired.
 * @throws When one of the servers is out of order: going on would not help.
 */
export async function reconcile(
  context: SyncContext,
  type: ResourceType,
  ids: string[],
  dryRun: boolean,
): Promise<{ counts: Counts; failed: string[] }> {
  const targets = await lookAtMany(context, type, ids);
  const sources = await readMany(context, type, ids);
  const differing: { id: string; target: Target; source: Resource }[] = [];
  const leftover: string[] = [];
  const duplicates: { id: string; resource: Resource; instead: string | undefined }[] = [];
  for (const id of ids) {
    const target = targets.get(id) ?? { url: `${type}/${id}`, version: '0', duplicates: [] };
    const source = sources.get(id);
    const wanted = source && context.config.inScope(source);
    const instead = wanted ? target.url : undefined;
    target.duplicates.forEach((resource) => duplicates.push({ id, resource, instead }));
    if (wanted) {
      if (!target.resource || !isSame(context, source, target.resource)) {
        differing.push({ id, target, source });
      }
    } else if (target.duplicates.length > 0 || (target.resource && !isDeactivated(target.resource, context.config))) {
      leftover.push(id);
    }
  }
  const found = { differing: differing.length, leftover: leftover.length, duplicates: duplicates.length };
  const counts: Counts = { checked: ids.length, ...found, unreadable: 0, failed: 0 };
  if (dryRun) {
    return { counts, failed: [] };
  }
  const many = context.config.identity === 'medplum-id' && differing.length > 0;
  const unsettled = many ? await putMany(context, type, differing) : differing.map(({ id }) => id);
  const problems = new Map<string, string>();
  for (const id of [...unsettled, ...leftover]) {
    const until = clock.now() + SINGLE_MS;
    const single = (): Promise<unknown> => sync({ ...context, deadline: until }, type, id);
    const problem = until > context.deadline ? 'no time' : await attempt(`SYNC ${type}`, id, single);
    if (problem) {
      problems.set(id, problem);
    }
  }
  // A copy of what cannot be read stays, too: perhaps it is the only one. So does what a stranger refers to (409).
  for (const { resource, instead } of duplicates.filter(({ id }) => !problems.has(id))) {
    await attempt(`DELETE ${type}`, resource.id ?? '', () => remove(context, resource, instead));
  }
  const failed = [...problems].flatMap(([id, problem]) => (problem === 'not-found' ? [] : [`${type}/${id}`]));
  return { counts: { ...counts, unreadable: problems.size - failed.length, failed: failed.length }, failed };
}

/** Does one thing; what goes wrong with it alone is logged, and told by its code. */
async function attempt(operation: string, id: string, work: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    logExternalRequest(operation, id, false, error);
    if (isRequestFailure(error) && (isTransient(error.status) || [401, 403].includes(error.status))) {
      throw error; // not this resource's fault
    }
    return (error as { code?: string }).code ?? 'failed';
  }
}

/**
 * Writes what differs in one request, each PUT behind its own fence: as a transaction, which is three times as fast as
 * single PUTs (HAPI 8.8), or, where one of them makes that fail, as a batch, in which each stands for itself.
 *
 * @returns The ids that must be looked at again.
 */
async function putMany(
  context: SyncContext,
  type: ResourceType,
  differing: { id: string; target: Target; source: Resource }[],
): Promise<string[]> {
  const ids = differing.map(({ id }) => id);
  const entry = differing.map(({ target, source }): BundleEntry => ({
    resource: copyFor(context, target, source, (reference) => referenceThere(context.config, reference)).body,
    request: { method: 'PUT', url: target.url, ifMatch: `W/"${target.version}"` },
  }));
  const answer = (await postBundle(context, 'transaction', entry)) ?? (await postBundle(context, 'batch', entry));
  if (!answer) {
    return ids;
  }
  const written = differing.filter((_, index) => answer[index]?.response?.status?.startsWith('2'));
  const now = await readMany(context, type, ids, '&_elements=id');
  const settled = written.filter(({ id, source }) => now.get(id)?.meta?.versionId === source.meta?.versionId);
  return differing.filter((one) => !settled.includes(one)).map(({ id }) => id);
}

/** The entries of the answer; undefined where HAPI refused the whole Bundle, for one resource that it does not like. */
async function postBundle(
  { server }: SyncContext,
  type: 'transaction' | 'batch',
  entry: BundleEntry[],
): Promise<BundleEntry[] | undefined> {
  try {
    const headers = { ...WHOLE_META, prefer: 'return=minimal' };
    const { body } = await server.send<Bundle>(HTTP_VERBS.POST, '', { resourceType: 'Bundle', type, entry }, headers);
    return body?.entry ?? [];
  } catch (error) {
    if (isRequestFailure(error) && [400, 404, 409, 412, 413, 422].includes(error.status)) {
      return undefined;
    }
    throw error;
  }
}
