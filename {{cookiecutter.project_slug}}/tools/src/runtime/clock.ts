// Two clocks: one for measuring, and one for bots in tests that differs from this machine's.

// Kept, so that fake timers of a test do not stop it.
const { bigint: readTimer } = process.hrtime;

/**
 * @returns nanoseconds since some moment, the same in all threads of this process, whatever is made
 *   of `Date`
 */
export function monotonicNanoseconds(): bigint {
  return readTimer();
}

/** @returns the same in milliseconds */
export function monotonicMilliseconds(): number {
  return Number(readTimer() / 1_000_000n);
}

/**
 * Makes a Date whose "now" is shifted. It must not use anything outside of itself: its source text
 * also runs in the contexts of bots.
 *
 * @param Original - the Date to derive from
 * @param offset - milliseconds to add to the present time
 */
export function shiftDate(Original: DateConstructor, offset: number): DateConstructor {
  class ShiftedDate extends Original {
    constructor(...values: []) {
      if (values.length === 0) {
        super(Original.now() + offset);
      } else {
        super(...values);
      }
    }
    static override now(): number {
      return Original.now() + offset;
    }
  }
  Object.defineProperty(ShiftedDate, 'name', { value: 'Date' });
  return new Proxy(ShiftedDate as unknown as DateConstructor, {
    // Date() without `new` returns a text.
    apply: () => new ShiftedDate().toString(),
  });
}
