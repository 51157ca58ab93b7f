// The sync of one resource: read both servers, and make the target equal to Medplum. See
// docs/syncing.md.
import type { Resource } from '@medplum/fhirtypes';
import { isTypeAndId } from '../fhir-events.ts';
import { clock, retry, retryDelay } from '../retry.ts';
import { remove } from './delete.ts';
import { codeOfError, SyncError } from './errors.ts';
import { copyOf } from './rules.ts';
import { isWanted, readMany, readSource } from './source.ts';
import { pathOf, readTarget, typeAndId } from './target.ts';
import type { Done, RunContext, SyncContext, TargetState } from './target.ts';
import { isSupported } from './types.ts';
import type { SyncedType } from './types.ts';
import { put, writeCopy } from './write.ts';

/** What a sync did. */
export interface SyncResult extends Done {
  /** How many references were left out, because what they refer to is not on the target. */
  leftOut: number;
  /** How many attempts it took. */
  attempts: number;
}

/** What the caller knows already. */
export interface SyncOptions {
  /**
   * Whether an event said that the resource was deleted; only then Medplum's 404 counts as a
   * deletion.
   */
  isDeletionKnown?: boolean;
  /** How many attempts were made before, whose writes may still be under way. */
  priorAttempts?: number;
}

/**
 * Makes one resource of the target equal to what Medplum holds now, for any kind of event.
 *
 * 1. Read the target. Its version becomes the fence: the `If-Match` of the write.
 * 2. Read the source, after the target.
 * 3. Write with the fence: the target refuses a write that is late, or that comes after another
 *    client's.
 * 4. Read the source's version from the database. If it changed, or if the write met a conflict:
 *    start over.
 *
 * So events may come late, twice, in any order, and at the same time: the run that ends last leaves
 * Medplum's state.
 *
 * @param context - Medplum, the target, the configuration, the deadline.
 * @param type - One of the configured types.
 * @param id - The id, the same on both sides.
 * @param options - What the caller knows already.
 * @returns What was done.
 * @throws SyncError; its code says what went wrong. After a conflict it is tried again until the
 *   deadline; while a server is down, for `retryForMs` only.
 * @example
 * await sync(context, 'Patient', id);
 * // { action: 'updated', version: '3', leftOut: 0, attempts: 1 }
 */
export async function sync(
  context: SyncContext,
  type: string,
  id: string,
  options: SyncOptions = {},
): Promise<SyncResult> {
  if (!isSupported(type) || !context.config.types.includes(type)) {
    throw new SyncError(
      'invalid',
      'Refused: the type is not among the types of src/shared/sync/config.ts',
    );
  }
  if (!isTypeAndId(type, id)) {
    throw new SyncError('invalid', 'Refused: not a FHIR id');
  }
  const run: Run = {
    ...context,
    type,
    id,
    isDeletionKnown: options.isDeletionKnown ?? false,
    alsoSent: new Set(),
    refusedCreates: 0,
  };
  let attempts = 0;
  const done = await retry(
    (attempt) => {
      attempts = attempt;
      return attemptSync(run, (options.priorAttempts ?? 0) + attempt);
    },
    context.deadline,
    retryPolicy(context),
  );
  // What was sent in the same transaction may have changed since, and its own run may be over: sync
  // each.
  for (const path of run.alsoSent) {
    await sync(context, ...typeAndId(path), { priorAttempts: attempts });
  }
  return { leftOut: 0, ...done, attempts };
}

/** A run, and what stays the same in all its attempts. */
interface Run extends RunContext {
  type: SyncedType;
  id: string;
  isDeletionKnown: boolean;
  /** How often in a row the target refused to create what does not exist. */
  refusedCreates: number;
}

async function attemptSync(run: Run, attempt: number): Promise<Done> {
  const { type, id, isDeletionKnown } = run;
  const state = await readTarget(run, type, id);
  const wasDeleted = !state.resource && state.version !== '0';
  const askDatabase = isDeletionKnown || wasDeleted || attempt > 1;
  const source = await readSource(run, type, id, { isDeletionKnown, askDatabase });
  let done: Done;
  if (isWanted(run, source)) {
    done = await write(run, state, source);
  } else if (state.resource) {
    done = await remove(run, state, state.resource);
  } else if (attempt > 1 && state.version === '0') {
    // A create of ours may still be under way, from an attempt that got no answer. Its fence says
    // "never existed", and would let it in after the deletion. So create the resource, empty: from
    // now on it existed. Then remove it.
    await put(run, state, emptyResource(run));
    return attemptSync(run, attempt);
  } else {
    return { action: 'absent' };
  }
  await assertSourceUnchanged(run, source);
  return done;
}

async function write(run: Run, state: TargetState, source: Resource): Promise<Done> {
  try {
    return await writeCopy(run, state, source);
  } catch (error) {
    const isRefusedCreate = codeOfError(error) === 'conflict' && state.version === '0';
    run.refusedCreates = isRefusedCreate ? run.refusedCreates + 1 : 0;
    if (run.refusedCreates === 3) {
      throw new SyncError(
        'unsupported',
        `The target refuses to create ${pathOf(state)} with If-Match: W/"0", ` +
          'so no create can be fenced',
      );
    }
    throw error;
  }
}

/**
 * The last look at the source: if Medplum's database has another version than the one that was
 * written, start over.
 */
async function assertSourceUnchanged(run: Run, source: Resource | undefined): Promise<void> {
  const { type, id } = run;
  const stored = (await readMany(run, type, [id], '&_elements=id')).get(id);
  if (stored?.meta?.versionId !== source?.meta?.versionId) {
    throw new SyncError('conflict', `${type}/${id} changed on Medplum in the meantime`);
  }
}

/**
 * With the marks of the sync: if this bot dies before it has removed it, the reconciler finds it.
 */
function emptyResource(run: Run): Resource {
  const active = run.config.onDelete === 'deactivate' ? { active: false } : {};
  const empty = { resourceType: run.type, id: run.id, ...active } as Resource;
  return copyOf(run, empty, undefined, () => false).body;
}

/**
 * While a server is down, each wait is up to twice as long as the one before; 1.2 s allow three
 * tries.
 */
const FIRST_OUTAGE_DELAY_MS = 400;

/**
 * Decides after each error whether to try again, and when. Counts what was waited for, so a new one
 * for each run.
 */
function retryPolicy({
  config,
  deadline,
}: SyncContext): (error: unknown, attempt: number) => number | undefined {
  let outages = 0;
  let waitedMs = 0;
  let timeouts = 0;
  return (error, attempt) => {
    if (!(error instanceof SyncError)) {
      return undefined;
    }
    switch (error.code) {
      case 'conflict':
        return retryDelay(attempt);
      case 'unavailable': {
        const limitMs = FIRST_OUTAGE_DELAY_MS * 2 ** outages;
        const asked = error.cause?.retryAfter ? retryDelay(attempt, error.cause.retryAfter) : 0;
        const delayMs = Math.max(asked, limitMs / 2 + (Math.random() * limitMs) / 2);
        outages++;
        waitedMs += delayMs;
        return waitedMs <= config.retryForMs ? delayMs : undefined;
      }
      case 'timeout':
        timeouts++;
        return timeouts === 1 ? 0 : undefined;
      case 'throttled': {
        const delayMs = (error.waitMs ?? Infinity) + Math.random() * 1000;
        return clock.now() + delayMs < deadline ? delayMs : undefined;
      }
      default:
        return undefined;
    }
  };
}
