// The time of a test: what this process and its bots take for the present.
import type { BotRunner } from '../runtime/worker-pool.ts';
import { shiftDate } from '../runtime/clock.ts';

/** The real clock, even if a test replaces `Date` later. */
const RealDate = globalThis.Date;
const realNow = RealDate.now.bind(RealDate);

/**
 * Sets the clock of this process. It goes on from there; timers are not affected.
 *
 * @param time - undefined: the real time
 */
export function setClock(time: Date | undefined): void {
  globalThis.Date = time === undefined ? RealDate : shiftDate(RealDate, time.getTime() - realNow());
}

/**
 * @returns the same, with bots that have this process's time, also where a test has replaced `Date`
 *   itself
 */
export function withTestClock(workers: BotRunner): BotRunner {
  return {
    run: (job, observer) => {
      const difference = Date.now() - realNow();
      const clockOffset = Math.abs(difference) < MEASURING_ERROR ? 0 : difference;
      return workers.run({ ...job, clockOffset }, observer);
    },
  };
}

/** Two readings of one clock differ by less, in milliseconds. */
const MEASURING_ERROR = 100;
