// One run of the reconciler: list after list, page after page, as far as the time goes; the next
// run goes on from there.
import type { MedplumClient } from '@medplum/core';
import { logExternalRequest } from '../http-helpers.ts';
import { clock } from '../retry.ts';
import { endsRun, isGivenUp, NO_TIME, syncBatch } from './batch.ts';
import type { Found, Knowledge } from './batch.ts';
import { batchesOf, listsOf } from './listing.ts';
import type { List } from './listing.ts';
import { loadProgress, progressKey, saveProgress } from './progress.ts';
import type { Failure, Progress, RunState } from './progress.ts';
import type { SyncContext } from './target.ts';
import { inOrder, isSupported } from './types.ts';
import type { SyncedType } from './types.ts';

/**
 * A run looks back further than the last one began: for clocks that differ, and for writes that
 * arrived late.
 */
const HOUR_MS = 60 * 60 * 1000;
const LOOK_BACK_MS = HOUR_MS;

/** No page is begun with less time than this, in milliseconds. */
const PAGE_MS = 10_000;

/**
 * What a page costs of Medplum's quota at most, in points: a search costs 20, a page some 25 of
 * them.
 */
const PAGE_POINTS = 600;

/**
 * More failures than this are not kept one by one: the run fails, and begins at the same place
 * again.
 */
const MOST_FAILURES = 1_000;

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

/** How many resources were looked at, and how many of them were not the same on both sides. */
type Counts = Record<'checked' | Exclude<Found, 'same'>, number>;

/** What a run found and did. */
export interface RunResult {
  mode: 'changes' | 'full';
  dryRun: boolean;
  /**
   * False: the time was up, Medplum's quota is spent, or the target takes no writes. The next run
   * goes on from there.
   */
  complete: boolean;
  /**
   * `unreadable`: on the target, but 404 on Medplum, so perhaps this bot may not read them.
   * `postponed`: there was no time for them, the next run looks at them. `failed`: they could not
   * be synced.
   */
  counts: Counts & { unreadable: number; postponed: number; failed: number };
  /**
   * How many resources could not be synced, by the code of the error; `list`: lists that a server
   * refused.
   */
  failures: Record<string, number>;
  /**
   * How long Medplum's quota allows no further page, in milliseconds, if the run is not complete: a
   * run that begins earlier would end at once.
   */
  quotaMs?: number;
}

/**
 * Looks at everything that may differ, and syncs what does. A full run that ran out of time is
 * continued before anything else; a full run that is due by the configuration takes the place of
 * one of changes.
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
  const { config, medplum, target, deadline } = context;
  const key = progressKey(bot, target.baseUrl, config.authority);
  const { store, progress } = await loadProgress(medplum, key, inOrder(config.types));
  const isContinued = !dryRun && (mode === 'changes' || progress.run?.mode === 'full');
  const state = (isContinued ? progress.run : undefined) ?? beginRun(context, mode, progress);
  const run = new Run(context, state, dryRun, dryRun ? {} : progress.failed);
  const fullRunBegan = state.mode === 'full' ? state.started : progress.fullRunBegan;
  const save = async (changes: Partial<Progress>): Promise<void> => {
    run.assertFewFailures();
    if (!dryRun) {
      await saveProgress(store, { ...progress, fullRunBegan, ...changes, failed: run.failures() });
    }
  };

  const lists = listsOf(context, state.mode, state.since);
  for (let list = lists[state.step]; list; list = lists[state.step]) {
    const quotaMs = quotaWaitMs(medplum);
    if (run.isLate() || clock.now() + quotaMs >= deadline) {
      return { ...run.result(false), quotaMs };
    }
    await clock.sleep(quotaMs);
    state.page = await run.syncPage(list, state.page ?? list.first);
    state.step += state.page ? 0 : 1;
    await save({ run: state });
    if (isGivenUp(run.knowledge)) {
      return run.result(false);
    }
  }
  await run.retryOldFailures();
  const result = run.result(true);
  const ended = new Date(clock.now()).toISOString();
  const lastRuns = { ...progress.lastRuns, [state.mode]: { ended, counts: result.counts } };
  // After a list that was refused, the next run must look at the same changes again.
  const seen = run.refusedLists === 0 ? { watermark: state.started, lastRuns } : {};
  await save({ run: undefined, ...seen });
  return result;
}

function beginRun(
  { config: { fullRunEveryHours = Infinity } }: SyncContext,
  mode: RunOptions['mode'],
  { watermark, fullRunBegan }: Progress,
): RunState {
  const fullRunDue = Date.parse(fullRunBegan ?? '1970') + fullRunEveryHours * HOUR_MS;
  const started = new Date(clock.now()).toISOString();
  if (mode === 'full' || fullRunDue <= clock.now()) {
    return { mode: 'full', started, step: 0 };
  }
  const since = watermark && new Date(Date.parse(watermark) - LOOK_BACK_MS).toISOString();
  return { mode, started, step: 0, since };
}

/**
 * How long Medplum's quota allows no further page, by the RateLimit header of its last answer.
 * Older servers send no such header.
 */
function quotaWaitMs(medplum: MedplumClient): number {
  let limits: ReturnType<MedplumClient['rateLimitStatus']> = [];
  try {
    limits = medplum.rateLimitStatus();
  } catch {
    // an older client, or a header of another form
  }
  const spent = limits.filter(
    ({ name, remainingUnits }) => name === 'fhirInteractions' && remainingUnits < PAGE_POINTS,
  );
  return Math.max(0, ...spent.map(({ secondsUntilReset }) => secondsUntilReset * 1000));
}

/** What one run found so far. */
class Run {
  readonly knowledge: Knowledge = { existing: new Set(), outagesInARow: 0 };
  refusedLists = 0;
  readonly #context: SyncContext;
  readonly #state: RunState;
  readonly #dryRun: boolean;
  readonly #counts: Counts = { checked: 0, differing: 0, leftover: 0 };
  /** `Type/id`, so that a list that is begun again does not count them twice. */
  readonly #unreadable = new Set<string>();
  /** By `Type/id`: what could not be synced, in this run or before. */
  readonly #failed: Map<string, Failure>;
  /** `Type/id` of what failed in earlier runs, and was not tried yet in this one. */
  readonly #waiting: Set<string>;

  constructor(
    context: SyncContext,
    state: RunState,
    dryRun: boolean,
    failedBefore: Record<string, Failure>,
  ) {
    this.#context = context;
    this.#state = state;
    this.#dryRun = dryRun;
    this.#failed = new Map(Object.entries(failedBefore));
    this.#waiting = new Set(this.#failed.keys());
    for (const type of context.config.types.filter((configured) => !isSupported(configured))) {
      this.refusedLists++; // the build refuses such a type; it must not keep the others out
      console.log(`LIST ${type} failed: the type is not supported`);
    }
  }

  isLate(): boolean {
    return clock.now() + PAGE_MS > this.#context.deadline;
  }

  /**
   * Syncs one page of a list; returns the query of the next one. A list that a server refuses, or
   * cannot answer, must not stop the others.
   */
  async syncPage(list: List, query: string): Promise<string | undefined> {
    try {
      const { ids, next } = await list.read(query);
      await Promise.all(batchesOf(ids).map((batch) => this.#syncBatch(list.type, batch)));
      return next;
    } catch (error) {
      if (await endsRun(this.#context, error)) {
        throw error;
      }
      logExternalRequest(`LIST ${list.type}`, '', false, error);
      this.refusedLists++;
      return undefined;
    }
  }

  /** Tries what failed in earlier runs, and was in none of the lists, as long as there is time. */
  async retryOldFailures(): Promise<void> {
    for (const type of inOrder(this.#context.config.types)) {
      const paths = [...this.#waiting].filter((path) => path.startsWith(`${type}/`));
      for (const batch of batchesOf(paths.map((path) => path.slice(type.length + 1)))) {
        if (!this.isLate()) {
          await this.#syncBatch(type, batch);
        }
      }
    }
  }

  async #syncBatch(type: SyncedType, ids: string[]): Promise<void> {
    const outcomes = await syncBatch(this.#context, type, ids, this.knowledge, this.#dryRun);
    for (const [id, { found, code }] of outcomes) {
      const path = `${type}/${id}`;
      this.#counts.checked++;
      if (found !== 'same' && !this.#unreadable.has(path)) {
        this.#counts[found]++;
      }
      const since = this.#failed.get(path)?.since ?? new Date(clock.now()).toISOString();
      this.#waiting.delete(path);
      this.#failed.delete(path);
      if (code === 'not-found') {
        this.#unreadable.add(path);
      } else if (code) {
        this.#failed.set(path, { code, since });
      }
    }
  }

  /** What the next run must try again. */
  failures(): Record<string, Failure> {
    return Object.fromEntries(this.#failed);
  }

  assertFewFailures(): void {
    if (this.#failed.size - this.#waiting.size > MOST_FAILURES) {
      throw new Error(`More than ${MOST_FAILURES} resources cannot be synced: see the log`);
    }
  }

  result(complete: boolean): RunResult {
    const tried = [...this.#failed].filter(([path]) => complete || !this.#waiting.has(path));
    const known = tried.map(([, failure]) => failure);
    const failures: Record<string, number> = this.refusedLists ? { list: this.refusedLists } : {};
    for (const { code } of known.filter((failure) => failure.code !== NO_TIME)) {
      failures[code] = (failures[code] ?? 0) + 1;
    }
    const failed = Object.values(failures).reduce((sum, count) => sum + count, 0);
    const postponed = known.filter(({ code }) => code === NO_TIME).length;
    const counts = { ...this.#counts, unreadable: this.#unreadable.size, postponed, failed };
    return { mode: this.#state.mode, dryRun: this.#dryRun, complete, counts, failures };
  }
}
