// One run of the reconciler: list after list, page after page, as far as the time goes; the next
// run goes on from there.
import { logExternalRequest } from '../http-helpers.ts';
import { clock } from '../retry.ts';
import { isGivenUp, isUnauthorized, syncBatch } from './batch.ts';
import type { Counts, Knowledge } from './batch.ts';
import { codeOfError } from './errors.ts';
import { listsOf } from './listing.ts';
import type { List } from './listing.ts';
import { loadProgress, progressKey, saveProgress } from './progress.ts';
import type { Failure, Progress, RunState } from './progress.ts';
import { waitForQuota } from './quota.ts';
import type { SyncContext } from './target.ts';
import { inOrder, isSupported } from './types.ts';
import type { SyncedType } from './types.ts';

/** A page of ids is worked on in batches of this size, so many at a time. */
const BATCH_SIZE = 50;
const BATCHES_AT_ONCE = 8;

/**
 * A run looks back further than the last one began: for clocks that differ, and for writes that
 * arrived late.
 */
const LOOK_BACK_MS = 60 * 60 * 1000;

/** No page is begun with less time than this, in milliseconds. */
const PAGE_MS = 10_000;

/**
 * More failures than this are not kept one by one: the run fails, and begins at the same place
 * again.
 */
const MOST_FAILURES = 1_000;

/** The code of what there was no time for: it is kept like a failure, and counts as none. */
const POSTPONED = 'no-time';

/** How a run is asked for. */
export interface RunOptions {
  /** `event.bot.reference`: each deployed bot has its own progress. */
  bot: string | undefined;
  /**
   * `changes`: what changed or was deleted on Medplum since the last complete run began. `full`:
   * everything on Medplum, and everything that this sync wrote to the target.
   */
  mode: 'changes' | 'full';
  /** Whether to count only: nothing is written on either side. */
  dryRun: boolean;
}

/** What a run found and did. */
export interface RunResult {
  mode: 'changes' | 'full';
  dryRun: boolean;
  /** False: the time was up; the next run goes on from there. */
  complete: boolean;
  counts: Counts;
  /**
   * How many resources could not be synced, by the code of the error; `list`: lists that a server
   * refused.
   */
  failures: Record<string, number>;
}

/**
 * Looks at everything that may differ, and syncs what does. A full run that ran out of time is
 * continued before anything else.
 *
 * @param context - What the sync works with; its deadline ends the run.
 * @param options - What to look at.
 * @returns What was found and done.
 * @throws SyncError when one of the servers is down. What was done so far is kept.
 */
export async function reconcile(
  context: SyncContext,
  { bot, mode, dryRun }: RunOptions,
): Promise<RunResult> {
  const { config, target } = context;
  const key = progressKey(bot, target.baseUrl, config.authority);
  const { store, progress } = await loadProgress(context.medplum, key, inOrder(config.types));
  const isContinued = !dryRun && (mode === 'changes' || progress.run?.mode === 'full');
  const state = (isContinued ? progress.run : undefined) ?? beginRun(mode, progress.watermark);
  const run = new Run(context, state, dryRun, dryRun ? {} : progress.failed);
  const save = async (changed: Progress): Promise<void> => {
    run.assertFewFailures();
    if (!dryRun) {
      await saveProgress(store, { ...changed, failed: run.failures() });
    }
  };

  const lists = listsOf(context, state.mode, state.since);
  for (let list = lists[state.step]; list; list = lists[state.step]) {
    if (run.isLate() || !(await waitForQuota(context))) {
      return run.result(false);
    }
    const next = await run.lookAtPage(list, state.page ?? list.first);
    if (next) {
      state.page = next;
    } else {
      delete state.page;
      state.step++;
    }
    await save({ ...progress, run: state });
    if (run.isGivenUp()) {
      return run.result(false);
    }
  }
  await run.retryOldFailures();
  const result = run.result(true);
  const { run: _ended, ...rest } = progress;
  const ended = new Date(clock.now()).toISOString();
  const lastRuns = { ...progress.lastRuns, [state.mode]: { ended, counts: result.counts } };
  // After a list that was refused, the next run must look at the same changes again.
  await save(run.hasSeenAll() ? { ...rest, watermark: state.started, lastRuns } : rest);
  return result;
}

function beginRun(mode: 'changes' | 'full', watermark: string | undefined): RunState {
  const started = new Date(clock.now()).toISOString();
  if (mode === 'full' || !watermark) {
    return { mode, started, step: 0 };
  }
  return {
    mode,
    started,
    step: 0,
    since: new Date(Date.parse(watermark) - LOOK_BACK_MS).toISOString(),
  };
}

/** What one run found so far. */
class Run {
  readonly #context: SyncContext;
  readonly #state: RunState;
  readonly #dryRun: boolean;
  readonly #counts: Counts = {
    checked: 0,
    differing: 0,
    leftover: 0,
    unreadable: 0,
    postponed: 0,
    failed: 0,
  };
  readonly #knowledge: Knowledge = { existing: new Set(), outagesInARow: 0 };
  /** `Type/id` of what failed in earlier runs, and was not tried yet in this one. */
  readonly #waiting: Map<string, Failure>;
  readonly #failed = new Map<string, Failure>();
  readonly #failedBefore: Record<string, Failure>;
  #failedLists = 0;

  constructor(
    context: SyncContext,
    state: RunState,
    dryRun: boolean,
    failedBefore: Record<string, Failure>,
  ) {
    this.#context = context;
    this.#state = state;
    this.#dryRun = dryRun;
    this.#failedBefore = failedBefore;
    this.#waiting = new Map(Object.entries(failedBefore));
    for (const type of context.config.types.filter((configured) => !isSupported(configured))) {
      this.#failedLists++; // the build refuses such a type; it must not keep the others out
      console.log(`LIST ${type} failed: the type is not supported`);
    }
  }

  /** Whether no list was refused. */
  hasSeenAll(): boolean {
    return this.#failedLists === 0;
  }

  isGivenUp(): boolean {
    return isGivenUp(this.#knowledge);
  }

  isLate(): boolean {
    return clock.now() + PAGE_MS > this.#context.deadline;
  }

  /**
   * Looks at one page of a list; returns the query of the next one. A list that is refused must not
   * stop the others.
   */
  async lookAtPage(list: List, query: string): Promise<string | undefined> {
    try {
      const { ids, next } = await list.read(query);
      await this.#lookAt(list.type, ids);
      return next;
    } catch (error) {
      const isListRefused = ['refused', 'untrusted', 'denied'].includes(codeOfError(error) ?? '');
      if (!isListRefused || isUnauthorized(error)) {
        throw error;
      }
      logExternalRequest(`LIST ${list.type}`, '', false, error);
      this.#failedLists++;
      return undefined;
    }
  }

  /** Tries what failed in earlier runs, and was in none of the lists, as long as there is time. */
  async retryOldFailures(): Promise<void> {
    for (const type of inOrder(this.#context.config.types)) {
      const ids = [...this.#waiting.keys()].filter((reference) => reference.startsWith(`${type}/`));
      for (let start = 0; start < ids.length && !this.isLate(); start += BATCH_SIZE) {
        const batch = ids
          .slice(start, start + BATCH_SIZE)
          .map((reference) => reference.split('/')[1] ?? '');
        await this.#lookAtBatch(type, batch);
      }
    }
  }

  async #lookAt(type: SyncedType, ids: string[]): Promise<void> {
    const batches: string[][] = [];
    for (let start = 0; start < ids.length; start += BATCH_SIZE) {
      batches.push(ids.slice(start, start + BATCH_SIZE));
    }
    const worker = async (): Promise<void> => {
      for (let batch = batches.shift(); batch; batch = batches.shift()) {
        await this.#lookAtBatch(type, batch);
      }
    };
    await Promise.all(Array.from({ length: BATCHES_AT_ONCE }, worker));
  }

  async #lookAtBatch(type: SyncedType, ids: string[]): Promise<void> {
    const result = await syncBatch(this.#context, type, ids, this.#knowledge, this.#dryRun);
    for (const name of Object.keys(this.#counts) as (keyof Counts)[]) {
      this.#counts[name] += result.counts[name];
    }
    for (const id of ids) {
      this.#waiting.delete(`${type}/${id}`);
      this.#failed.delete(`${type}/${id}`);
    }
    for (const [id, code] of result.failed) {
      this.#addFailure(`${type}/${id}`, code);
    }
    for (const id of result.postponed) {
      this.#addFailure(`${type}/${id}`, POSTPONED);
    }
  }

  #addFailure(reference: string, code: string): void {
    const since = this.#failedBefore[reference]?.since ?? new Date(clock.now()).toISOString();
    this.#failed.set(reference, { code, since });
  }

  /** What the next run must try again. */
  failures(): Record<string, Failure> {
    return Object.fromEntries([...this.#waiting, ...this.#failed]);
  }

  assertFewFailures(): void {
    if (this.#failed.size > MOST_FAILURES) {
      throw new Error(`More than ${MOST_FAILURES} resources cannot be synced: see the log`);
    }
  }

  result(complete: boolean): RunResult {
    const all = Object.values(complete ? this.failures() : Object.fromEntries(this.#failed));
    const failures: Record<string, number> =
      this.#failedLists > 0 ? { list: this.#failedLists } : {};
    for (const { code } of all) {
      failures[code] = (failures[code] ?? 0) + 1;
    }
    const postponed = failures[POSTPONED] ?? 0;
    delete failures[POSTPONED];
    const counts = {
      ...this.#counts,
      postponed,
      failed: all.length + this.#failedLists - postponed,
    };
    return { mode: this.#state.mode, dryRun: this.#dryRun, complete, counts, failures };
  }
}
