// When a bot runs by the clock: its `cronTiming` or its `cronString`, as Medplum reads them.
import type { Bot, Timing } from '@medplum/fhirtypes';
import { Cron } from 'croner';

const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const HOURS = 24;
const MINUTES = 60;

/** @returns five numeric fields; undefined if the bot has no schedule that Medplum would follow */
export function scheduleOf({ cronString, cronTiming }: Bot): string | undefined {
  const pattern = (cronTiming && patternOf(cronTiming)) ?? cronString;
  return isSchedule(pattern) ? pattern : undefined;
}

/**
 * Medplum reads two members of a Timing [packages/server/src/workers/cron.ts]: `period` up to 24 is
 * how often a day, above 24 how often in a day that is counted in minutes, and `dayOfWeek`.
 */
function patternOf({ repeat }: Timing): string | undefined {
  if (!repeat) {
    return undefined;
  }
  const period = repeat.period || 1;
  const inMinutes = period > HOURS && period < MINUTES;
  const step = Math.ceil((inMinutes ? HOURS * MINUTES : HOURS) / period);
  const time = inMinutes ? `*/${step} *` : `0 */${step}`;
  const days = repeat.dayOfWeek?.map((day) => WEEKDAYS.indexOf(day)).join(',') ?? '*';
  return `${time} * * ${days}`;
}

/** Five numeric fields; the server ignores any other string without a word. */
function isSchedule(text: string | undefined): text is string {
  if (!text || !/^([\d*,/-]+ ){4}[\d*,/-]+$/.test(text)) {
    return false;
  }
  return nextRunOf(text) !== undefined;
}

/** @returns when a pattern is met next; undefined if it never is */
export function nextRunOf(pattern: string): Date | undefined {
  try {
    return new Cron(pattern, { paused: true }).nextRun() ?? undefined;
  } catch {
    return undefined;
  }
}
