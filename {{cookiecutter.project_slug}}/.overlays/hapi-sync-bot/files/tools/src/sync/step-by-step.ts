// A full comparison in short steps, because a gateway often ends a request after a minute.

/** What hapi-reconcile-bot returns; see its RunResult. */
export interface StepResult {
  complete: boolean;
  counts: Record<string, number>;
  failures: Record<string, number>;
  /** How long Medplum's quota allows no further step, in milliseconds. */
  quotaMs?: number;
}

/** What all steps so far found. */
export interface Totals {
  isComplete: boolean;
  counts: Record<string, number>;
  failures: Record<string, number>;
}

/**
 * Runs step after step until one says that everything was looked at.
 *
 * @param runStep - Runs one step.
 * @param pause - Waits so many milliseconds, if Medplum's quota asks for it.
 * @returns What was found so far, after each step.
 * @throws What a step throws.
 */
export async function* stepByStep(
  runStep: () => Promise<StepResult>,
  pause: (ms: number) => Promise<unknown>,
): AsyncGenerator<Totals, void, void> {
  let totals: Totals = { isComplete: false, counts: {}, failures: {} };
  for (;;) {
    const step = await runStep();
    totals = addStep(totals, step);
    yield totals;
    if (totals.isComplete) {
      return;
    }
    if (step.quotaMs) {
      await pause(step.quotaMs);
    }
  }
}

function addStep(totals: Totals, { complete, counts, failures }: StepResult): Totals {
  if (!complete) {
    const sums = { counts: sum(totals.counts, counts), failures: sum(totals.failures, failures) };
    return { isComplete: false, ...sums };
  }
  // The last step knows of all that failed, also in the steps before.
  const { failed: _failed, postponed: _postponed, ...found } = totals.counts;
  return { isComplete: true, counts: sum(found, counts), failures };
}

function sum(a: Record<string, number>, b: Record<string, number>): Record<string, number> {
  const sums = { ...a };
  for (const [name, count] of Object.entries(b)) {
    sums[name] = (sums[name] ?? 0) + count;
  }
  return sums;
}
