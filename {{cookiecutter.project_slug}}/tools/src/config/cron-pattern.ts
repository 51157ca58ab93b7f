// Patterns such as `*/5 * * * *`: which ones Medplum runs a bot by, and when the next run is.
import { Cron } from 'croner';

/**
 * @param pattern - of `cron`, or of Bot.cronString
 * @returns whether Medplum runs a bot by it: five numeric fields (Sunday is 0) that name a time
 *   that exists. Medplum silently ignores every other one [cron-validator 1.4.0, which it uses].
 */
export function isCronPattern(pattern: string): boolean {
  const fields = pattern.split(' ');
  const areNumeric = fields.every((field) => /^[\d*,/-]+$/.test(field));
  const hasSunday7 = /7/.test(fields[4] ?? '');
  if (fields.length !== 5 || !areNumeric || hasSunday7) {
    return false;
  }
  return nextRunOf(pattern) !== undefined;
}

/** @returns when the pattern is met next; undefined if it never is */
export function nextRunOf(pattern: string): Date | undefined {
  try {
    return new Cron(pattern, { paused: true }).nextRun() ?? undefined;
  } catch {
    return undefined;
  }
}
