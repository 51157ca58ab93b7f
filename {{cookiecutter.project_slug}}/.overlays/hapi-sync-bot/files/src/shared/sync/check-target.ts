// Checks whether a server can be a target, with the sync's own reader and writer:
// `npm run doctor -- --target`.
import { randomUUID } from 'node:crypto';
import type { Basic } from '@medplum/fhirtypes';
import { deleteOne } from './delete.ts';
import { codeOfError, SyncError } from './errors.ts';
import { syncTag } from './marks.ts';
import { readTarget, searchTarget } from './target.ts';
import type { SyncContext, TargetState } from './target.ts';
import { put } from './write.ts';

/** Something that the sync needs of its target. */
export interface TargetCheck {
  what: string;
  isMet: boolean;
}

/**
 * Checks what the sync needs: ids that the client gives, versions, fences, tombstones, and searches
 * by tag. It creates and deletes one empty resource of the type Basic.
 *
 * @param context - The target and the configuration.
 * @returns Each need, and whether the target meets it. What depends on a need that is not met is
 *   not met either.
 * @throws SyncError if the target does not answer.
 */
export async function checkTarget(
  context: Pick<SyncContext, 'target' | 'config'>,
): Promise<TargetCheck[]> {
  const id = randomUUID();
  const tag = syncTag(context.config);
  const neverExisted: TargetState = { type: 'Basic', id, version: '0', resource: undefined };
  let stored: TargetState = { ...neverExisted, version: undefined };
  let deleted = stored;

  const write = async (state: TargetState, text: string): Promise<string> => {
    const body: Basic = { resourceType: 'Basic', id, meta: { tag: [tag] }, code: { text } };
    return (await put(context, state, body)).action;
  };
  const isRefused = (state: TargetState, text: string): Promise<boolean> =>
    write(state, text).then(
      () => false,
      (error: unknown) => codeOfError(error) === 'conflict',
    );

  const steps: Record<string, () => Promise<boolean>> = {
    'answers 404 with an OperationOutcome': async () =>
      (await readTarget(context, 'Basic', id)).version === '0',
    'creates a resource with our id and If-Match: W/"0"': async () =>
      (await write(neverExisted, 'created')) === 'created',
    'returns its version': async () => {
      stored = await readTarget(context, 'Basic', id);
      return stored.resource !== undefined && stored.version !== undefined;
    },
    'refuses a write that comes after another one (409 or 412)': () =>
      isRefused(neverExisted, 'stale'),
    'accepts a write with the current version': async () =>
      (await write(stored, 'updated')) === 'updated',
    'finds by tag': async () => {
      const token = encodeURIComponent(`${tag.system}|${tag.code}`);
      const { resources } = await searchTarget(context.target, `Basic?_tag=${token}&_id=${id}`);
      return resources[0]?.id === id;
    },
    'answers 410 with an OperationOutcome after a deletion': async () => {
      await deleteOne(context, stored);
      deleted = await readTarget(context, 'Basic', id);
      return deleted.resource === undefined && deleted.version !== '0';
    },
    'refuses a late write after a deletion': () => isRefused(stored, 'late'),
    'names the version of what was deleted, and restores it': async () =>
      (await write(deleted, 'restored')) !== 'unchanged',
  };
  const checks: TargetCheck[] = [];
  for (const [what, step] of Object.entries(steps)) {
    checks.push({ what, isMet: await step().catch(notMet) });
  }
  await deleteOne(context, stored).catch(notMet);
  return checks;
}

function notMet(error: unknown): false {
  if (error instanceof SyncError && error.cause?.status === 0) {
    throw error;
  }
  return false;
}
