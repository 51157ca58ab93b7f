// When a bot runs by the clock: its `cronTiming` or its `cronString`, as Medplum reads them.
import type { Bot, Timing } from '@medplum/fhirtypes';
import { isCronPattern } from '../../config/cron-pattern.ts';

const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const HOURS = 24;
const MINUTES = 60;

/** @returns five numeric fields; undefined if the bot has no schedule that Medplum would follow */
export function scheduleOf({ cronString, cronTiming }: Bot): string | undefined {
  const pattern = (cronTiming && patternOf(cronTiming)) ?? cronString;
  return pattern !== undefined && isCronPattern(pattern) ? pattern : undefined;
}

/**
 * Medplum reads `period` and `dayOfWeek` of a Timing [packages/server/src/workers/cron.ts]. A
 * `period` up to 24 is the number of runs a day. From 25 to 59 there is a run every 1440 / `period`
 * minutes; from 60 on, every hour.
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
