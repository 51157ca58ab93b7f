// The steps of npm run resync -- --full: when they end, when they wait, and what they add up to.
import { expect, test } from 'vitest';
import { stepByStep } from '../../tools/src/sync/step-by-step.ts';
import type { StepResult, Totals } from '../../tools/src/sync/step-by-step.ts';

const COMPLETE: StepResult = { complete: true, counts: { checked: 1, failed: 0 }, failures: {} };
const PART: StepResult = { complete: false, counts: { checked: 400, failed: 0 }, failures: {} };

async function runAll(steps: StepResult[]): Promise<{ pauses: number[]; totals: Totals[] }> {
  const left = [...steps];
  const pauses: number[] = [];
  const pause = (ms: number): Promise<number> => Promise.resolve(pauses.push(ms));
  const totals: Totals[] = [];
  const runStep = (): Promise<StepResult> => {
    const step = left.shift();
    return step ? Promise.resolve(step) : Promise.reject(new Error('one step too many'));
  };
  for await (const sums of stepByStep(runStep, pause)) {
    totals.push(sums);
  }
  return { pauses, totals };
}

test('one step after the other, until everything was looked at', async () => {
  const { totals } = await runAll([PART, PART, COMPLETE]);
  expect(totals.map(({ isComplete }) => isComplete)).toEqual([false, false, true]);
  expect(totals.at(-1)?.counts).toEqual({ checked: 801, failed: 0 });
});

test('a step that had nothing to look at is followed by the next at once', async () => {
  const nothing = { ...PART, counts: { checked: 0, failed: 0 } };
  expect((await runAll([nothing, nothing, COMPLETE])).pauses).toEqual([]);
});

test("after a step that Medplum's quota ended, it waits until the quota is renewed", async () => {
  const { pauses } = await runAll([
    { ...PART, quotaMs: 23_000 },
    { ...PART, quotaMs: 0 },
    COMPLETE,
  ]);
  expect(pauses).toEqual([23_000]);
});

test('what failed in several steps counts once: the last step knows of all', async () => {
  const refused = { counts: { checked: 400, failed: 2 }, failures: { refused: 2 } };
  const { totals } = await runAll([
    { ...PART, ...refused },
    { complete: true, counts: { checked: 5, failed: 2 }, failures: { refused: 2 } },
  ]);
  expect(totals.at(-1)).toEqual({
    isComplete: true,
    counts: { checked: 405, failed: 2 },
    failures: { refused: 2 },
  });
});
