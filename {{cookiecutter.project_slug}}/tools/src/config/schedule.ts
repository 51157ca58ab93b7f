// When a bot runs by the clock: Bot.cronString, Bot.cronTiming, and the Cron resources of Medplum
// 5.2.
import { z } from 'zod';
import { isCronPattern } from './cron-pattern.ts';
import { parameters } from './parameters.ts';

const SCHEDULE_HINT =
  'has to be five numeric fields like "*/5 * * * *" (Sunday is 0); Medplum ignores anything else';

/** What editors can check of a schedule, with medplum.config.schema.json. */
const FIVE_FIELDS = String.raw`^([\d*,/-]+ ){4}[\d*,/-]+$`;

/**
 * Bot.cronString and Cron.cronString: five numeric fields. Medplum silently ignores any other
 * schedule.
 */
export const cronString = z
  .string()
  .meta({
    description: 'When to run, as five numeric fields. Needs the project feature "cron".',
    pattern: FIVE_FIELDS,
  })
  .refine(isCronPattern, SCHEDULE_HINT);

/**
 * Bot.cronTiming. Medplum reads `period` (runs a day up to 24, more than that in minutes between
 * runs) and `dayOfWeek`, and nothing else of a FHIR Timing [packages/server/src/workers/cron.ts of
 * Medplum 5.1.26].
 */
export const cronTiming = z
  .strictObject({
    repeat: z
      .strictObject({
        period: z.number().positive().lt(60).optional(),
        dayOfWeek: z.array(z.enum(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'])).optional(),
      })
      .transform((repeat) =>
        // FHIR asks for a unit next to a period (constraint tim-2). Medplum does not look at it.
        repeat.period === undefined ? repeat : { ...repeat, periodUnit: 'd' as const },
      ),
  })
  .meta({
    description:
      'A FHIR Timing instead of "cron". Medplum reads repeat.period and repeat.dayOfWeek only; ' +
      '"cron" is clearer.',
  });

/** One Cron resource. A bot may have several, each with its own parameters. */
export const cronJob = z
  .strictObject({
    name: z
      .string()
      .regex(/^[A-Za-z0-9]+([-_.][A-Za-z0-9]+)*$/, 'has to be letters, digits and dashes')
      .meta({ description: 'Tells the schedules of one bot apart.' }),
    cron: cronString,
    parameters: parameters.meta({
      description: 'Values that the bot finds in its input, by name.',
    }),
    active: z.boolean().default(true),
    end: z.iso
      .datetime({ offset: true, error: 'has to be a date and time like "2027-01-31T00:00:00Z"' })
      .optional()
      .meta({ description: 'After this the schedule no longer runs.' }),
    onBehalfOf: z
      .string()
      .regex(/^ProjectMembership\/[^/]+$/, 'has to be a reference like "ProjectMembership/<id>"')
      .optional()
      .meta({ description: 'Whose rights the run has: the bot itself, if left out.' }),
  })
  .meta({ id: 'CronJob' });
