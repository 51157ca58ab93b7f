// Retries: how long to wait, and when to give up.
import { setTimeout as wait } from 'node:timers/promises';
import { transferableAbortController } from 'node:util';

/** The first wait is up to this long; each further one up to twice as long as the one before. */
const FIRST_DELAY_MS = 200;
const LONGEST_DELAY_MS = 5_000;

/** The clock that everything here waits by. An object, so that a test can replace its functions. */
export const clock = {
  now: (): number => Date.now(),
  sleep: (ms: number, signal?: AbortSignal): Promise<void> => wait(ms, undefined, { signal }),
};

/**
 * How long to wait before the next attempt.
 *
 * The server's Retry-After comes first. Otherwise a random time under a limit that doubles ("full
 * jitter"), so that bots that failed at the same time do not retry at the same time.
 *
 * @param attempt - The attempt that has just failed: 1, 2, 3 …
 * @param retryAfter - The answer's `Retry-After` header: seconds, or an HTTP date (RFC 9110,
 *   10.2.3).
 * @returns Milliseconds.
 * @example retryDelay(1, '2') // 2000 to 2200
 */
export function retryDelay(attempt: number, retryAfter?: string | null): number {
  const asked = parseRetryAfter(retryAfter);
  if (asked !== undefined) {
    return asked + Math.random() * FIRST_DELAY_MS;
  }
  return Math.random() * Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (attempt - 1));
}

function parseRetryAfter(value: string | null | undefined): number | undefined {
  if (!value?.trim()) {
    return undefined;
  }
  const ms = /^\d+$/.test(value.trim()) ? Number(value) * 1000 : Date.parse(value) - clock.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

/**
 * Runs `attempt` until it succeeds, fails for good, or the next try would begin after the deadline.
 *
 * @param attempt - The work; gets the number of the attempt, from 1.
 * @param deadline - When to give up: milliseconds since 1970, as `clock.now()` counts. Keep it well
 *   inside Bot.timeout.
 * @param delayFor - Milliseconds to wait after this error, or undefined when another try cannot
 *   help.
 * @returns What the first successful attempt returned.
 * @throws The last attempt's error.
 * @example
 * const deadline = clock.now() + 5_000;
 * await retry(() => readSomething(), deadline, (error, attempt) => retryDelay(attempt));
 */
export async function retry<T>(
  attempt: (attempt: number) => Promise<T>,
  deadline: number,
  delayFor: (error: unknown, attempt: number) => number | undefined,
): Promise<T> {
  for (let number = 1; ; number++) {
    try {
      return await attempt(number);
    } catch (error) {
      const delay = delayFor(error, number);
      if (delay === undefined || clock.now() + delay >= deadline) {
        throw error;
      }
      await clock.sleep(delay);
    }
  }
}

/**
 * Runs work with a time limit.
 *
 * @param ms - Until the signal is aborted, in milliseconds.
 * @param work - The work; it ends itself when the signal is aborted, as fetch does.
 * @returns What the work returned.
 * @throws What the work throws, also because it was aborted.
 * @example await withTimeout(4_000, (signal) => fetch(url, { signal }));
 */
export async function withTimeout<T>(
  ms: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const expired = transferableAbortController();
  const done = transferableAbortController();
  void clock.sleep(ms, done.signal).then(
    () => expired.abort(),
    () => undefined, // done in time
  );
  try {
    return await work(expired.signal);
  } finally {
    done.abort('done in time'); // without a reason, Node makes an error with a stack trace
  }
}
