// One run of the reconcile bot: page after page of what to look at, as far as its time goes, then where it left off.
import type { ResourceType } from '@medplum/fhirtypes';
import { reconcile } from './fhir-reconcile.ts';
import type { Counts } from './fhir-reconcile.ts';
import type { SyncContext } from './fhir-target.ts';
import { loadProgress, saveProgress } from './reconcile-progress.ts';
import type { Progress } from './reconcile-progress.ts';
import { stepsOf } from './reconcile-steps.ts';
import { clock } from './retry.ts';

/** A page of ids is worked on in batches of this size, this many at a time. */
const BATCH = 50;
const AT_ONCE = 8;

/** A run looks back further than the last one began: for clocks that differ, and for writes that landed late. */
const LOOK_BACK_MS = 60 * 60 * 1000;

/** One page takes less than this; a run that has less time left stops before it. */
const PAGE_MS = 30_000;

/** More failures than this are no list to keep: the run fails instead, and begins here again. */
const MOST_FAILED = 1_000;

export interface RunResult {
  mode: 'changes' | 'full';
  dryRun: boolean;
  /** False: the time was up; the next run goes on from there. */
  complete: boolean;
  counts: Counts;
}

/**
 * Looks at everything that may differ, and repairs it.
 *
 * `changes` looks at what changed or was deleted on Medplum since the last complete run began; `full` at everything on
 * Medplum, and everything on the external server that carries a source identifier. A full run that did not get to its
 * end is continued before anything else.
 *
 * @param context - What the sync works with; its deadline ends the run.
 * @param mode - What to look at.
 * @param dryRun - Whether to count only: nothing is written, neither there nor here.
 * @returns What was found and done.
 * @throws When one of the servers is out of order. What was done so far is kept.
 */
export async function runReconcile(
  context: SyncContext,
  mode: 'changes' | 'full',
  dryRun: boolean,
): Promise<RunResult> {
  const { types } = context.config;
  const loaded = await loadProgress(context.medplum, types);
  const { progress } = loaded;
  const goOn = !dryRun && (mode === 'changes' || progress.run?.mode === 'full');
  const run = (goOn ? progress.run : undefined) ?? begin(mode, progress.watermark);
  const steps = stepsOf(context, run.mode, run.since);
  const counts: Counts = { checked: 0, differing: 0, leftover: 0, duplicates: 0, unreadable: 0, failed: 0 };
  const failed = new Set<string>();
  const waiting = new Set(dryRun ? [] : progress.failed); // from earlier runs, not tried yet in this one
  const look = async (type: ResourceType, ids: string[]): Promise<void> => {
    const batches = Array.from({ length: Math.ceil(ids.length / BATCH) }, (_, n) =>
      ids.slice(n * BATCH, (n + 1) * BATCH),
    );
    const worker = async (): Promise<void> => {
      for (let batch = batches.pop(); batch; batch = batches.pop()) {
        const result = await reconcile(context, type, batch, dryRun);
        batch.forEach((id) => waiting.delete(`${type}/${id}`));
        result.failed.forEach((reference) => failed.add(reference));
        Object.entries(result.counts).forEach(([name, count]) => (counts[name as keyof Counts] += count));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  };
  for (let step = steps[run.step]; step; step = steps[++run.step]) {
    do {
      if (isLate()) {
        return { mode: run.mode, dryRun, complete: false, counts: { ...counts, failed: failed.size } };
      }
      const { ids, next } = await step.list(run.page ?? step.query);
      await look(step.type, ids);
      run.page = next;
      await save({ ...progress, run: next ? run : { ...run, step: run.step + 1 }, failed: [...waiting, ...failed] });
    } while (run.page);
  }
  for (const reference of waiting) {
    if (isLate()) {
      break; // the next run tries what is left
    }
    const [type, id] = reference.split('/') as [ResourceType, string];
    await look(type, [id]);
  }
  await save({ types, watermark: run.started, failed: [...waiting, ...failed] });
  return { mode: run.mode, dryRun, complete: true, counts: { ...counts, failed: waiting.size + failed.size } };

  function isLate(): boolean {
    return clock.now() + PAGE_MS > context.deadline;
  }

  async function save(state: Progress): Promise<void> {
    if (failed.size > MOST_FAILED) {
      throw new Error(`More than ${MOST_FAILED} resources cannot be synced: see the log`);
    }
    if (!dryRun) {
      loaded.basic = await saveProgress(context.medplum, loaded.basic, state);
    }
  }
}

function begin(mode: 'changes' | 'full', watermark: string | undefined): NonNullable<Progress['run']> {
  const started = new Date(clock.now()).toISOString();
  const since =
    mode === 'changes' && watermark ? new Date(Date.parse(watermark) - LOOK_BACK_MS).toISOString() : undefined;
  return { mode, started, since, step: 0 };
}
