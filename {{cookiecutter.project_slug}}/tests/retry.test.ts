// When requests are tried again, and when no longer. The clock is a variable here, so no test
// waits.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { clock, retry, retryDelay, withTimeout } from '../src/shared/retry.ts';

let now = 0;
beforeEach(() => {
  now = Date.parse('2026-01-01T00:00:00Z');
  vi.spyOn(clock, 'now').mockImplementation(() => now);
  vi.spyOn(clock, 'sleep').mockImplementation(async (ms) => void (now += ms));
});
afterEach(() => {
  vi.restoreAllMocks();
});

test('waits are random, double each time, and are five seconds at most', () => {
  vi.spyOn(Math, 'random').mockReturnValue(1);
  expect([1, 2, 3, 4, 5, 6, 20].map((attempt) => retryDelay(attempt))).toEqual([
    200, 400, 800, 1600, 3200, 5000, 5000,
  ]);
  vi.spyOn(Math, 'random').mockReturnValue(0);
  expect(retryDelay(3)).toBe(0);
});

test('Retry-After comes first: seconds, or a date', () => {
  vi.spyOn(Math, 'random').mockReturnValue(0);
  expect(retryDelay(1, '3')).toBe(3000);
  expect(retryDelay(1, 'Thu, 01 Jan 2026 00:00:07 GMT')).toBe(7000);
  expect(retryDelay(1, 'Wed, 31 Dec 2025 23:00:00 GMT')).toBe(0);
  vi.spyOn(Math, 'random').mockReturnValue(1);
  expect(retryDelay(1, ' 3 '), 'and a little more, so that not all come back at once').toBe(3200);
});

test.each(['', ' ', 'soon', '3rd', 'in 3', null, undefined])(
  'a Retry-After of %j is ignored',
  (header) => {
    vi.spyOn(Math, 'random').mockReturnValue(0.5);
    expect(retryDelay(1, header)).toBe(100);
  },
);

test('tries again until it works', async () => {
  const attempts: number[] = [];
  const result = await retry(
    async (attempt) => {
      attempts.push(attempt);
      if (attempt < 3) {
        throw new Error('not yet');
      }
      return 'done';
    },
    now + 10_000,
    () => 1_000,
  );
  expect(result).toBe('done');
  expect(attempts).toEqual([1, 2, 3]);
});

test('gives up with the last error when the next try would begin after the deadline', async () => {
  const failing = vi.fn(async (attempt: number) => {
    throw new Error(`attempt ${attempt}`);
  });
  await expect(retry(failing, now + 2_500, () => 1_000)).rejects.toThrow('attempt 3');
  expect(failing).toHaveBeenCalledTimes(3);
});

test('a try that would begin at the deadline is not made', async () => {
  const failing = vi.fn(async () => {
    throw new Error('no');
  });
  await expect(retry(failing, now + 2_000, () => 1_000)).rejects.toThrow('no');
  expect(failing).toHaveBeenCalledTimes(2);
});

test('withTimeout ends work that takes too long, and leaves no timer behind', async () => {
  vi.mocked(clock.sleep).mockRestore();
  const endless = withTimeout(
    1,
    (signal) =>
      new Promise((_resolve, reject) => (signal.onabort = () => reject(new Error('ended')))),
  );
  await expect(endless).rejects.toThrow('ended');
  const sleep = vi.spyOn(clock, 'sleep');
  expect(await withTimeout(60_000, async () => 'done')).toBe('done');
  await expect(sleep.mock.results[0]?.value).rejects.toThrow('aborted');
});

test('an error that another try cannot help is thrown at once', async () => {
  const failing = vi.fn(async () => {
    throw new Error('for good');
  });
  await expect(retry(failing, now + 10_000, () => undefined)).rejects.toThrow('for good');
  expect(failing).toHaveBeenCalledTimes(1);
});
