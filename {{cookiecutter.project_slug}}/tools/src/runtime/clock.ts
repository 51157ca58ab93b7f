// A clock that differs from this machine's, for bots in tests.

/**
 * Makes a Date whose "now" is shifted. It must not use anything outside of itself: its source text also runs in the
 * contexts of bots.
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
