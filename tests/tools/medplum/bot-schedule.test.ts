// When a bot runs by the clock, as Medplum reads `cronTiming` and `cronString`.
import type { Bot } from '@medplum/fhirtypes';
import { expect, test } from 'vitest';
import { scheduleOf } from '../../tools/src/medplum/triggers/bot-schedule.ts';

const scheduleWith = (settings: Partial<Bot>): string | undefined =>
  scheduleOf({ resourceType: 'Bot', ...settings } as Bot);

// What convertTimingToCron in packages/server/src/workers/cron.ts makes of these.
test.each([
  [{}, '0 */24 * * *'],
  [{ period: 3 }, '0 */8 * * *'],
  [{ period: 5, dayOfWeek: ['sun', 'fri'] }, '0 */5 * * 0,5'],
  [{ period: 48 }, '*/30 * * * *'],
  [{ period: 60 }, '0 */1 * * *'],
] as const)('cronTiming.repeat %j: %s', (repeat, pattern) => {
  expect(scheduleWith({ cronTiming: { repeat } as Bot['cronTiming'] })).toBe(pattern);
});

test('cronTiming comes before cronString, unless it says nothing', () => {
  expect(scheduleWith({ cronTiming: { repeat: {} }, cronString: '1 2 * * *' })).toBe(
    '0 */24 * * *',
  );
  expect(scheduleWith({ cronTiming: {}, cronString: '1 2 * * *' })).toBe('1 2 * * *');
});

test.each(['not a cron', '* * * * * *', '99 * * * *', '@daily', '0 0 * * 7'])(
  '%j is ignored',
  (text) => {
    expect(scheduleWith({ cronString: text })).toBeUndefined();
  },
);
