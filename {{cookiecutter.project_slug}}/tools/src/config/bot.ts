// An entry of "bots" in medplum.config.json: the code, when it runs, and every setting of Medplum's
// Bot resource.
import { z } from 'zod';
import { accessPolicy } from './access-policy.ts';
import { cronJob, cronString, cronTiming } from './schedule.ts';
import { subscription } from './subscription.ts';

export const RUNTIMES = ['awslambda', 'vmcontext', 'fission'] as const;
export type RuntimeVersion = (typeof RUNTIMES)[number];

const NAME_HINT = 'has to be letters, digits, single dashes and underscores, like "hapi-sync-bot"';
const SOURCE_HINT = 'has to be a TypeScript file in src/bots, like "src/bots/my-bot.ts"';

const name = z.string().regex(/^[A-Za-z0-9]+([-_][A-Za-z0-9]+)*$/, NAME_HINT);

const source = z
  .string()
  .regex(/^src\/bots\/([^/\\]+\/)*[^/\\]+\.(ts|mts|cts)$/, SOURCE_HINT)
  .refine((path) => !path.split('/').includes('..'), SOURCE_HINT);

const secret = z
  .union(
    [
      z.string().min(1),
      z.strictObject({ name: z.string().min(1), optional: z.boolean().default(false) }),
    ],
    'has to be a name, or an object like { "name": "HAPI_BEARER_TOKEN", "optional": true }',
  )
  .transform((value) => (typeof value === 'string' ? { name: value, optional: false } : value));

const id = z.uuid('has to be a UUID').optional();

const coding = z.strictObject({
  system: z.string().optional(),
  code: z.string().optional(),
  display: z.string().optional(),
});

const category = z
  .union(
    [
      z.string().min(1),
      z.strictObject({ coding: z.array(coding).min(1).optional(), text: z.string().optional() }),
    ],
    'has to be text, or an object like { "coding": [{ "system": "…", "code": "…" }] }',
  )
  .transform((value) => (typeof value === 'string' ? { text: value } : value));

const cdsService = z.strictObject({
  hook: z.string().min(1).meta({ description: 'Such as "patient-view".' }),
  title: z.string().min(1),
  description: z.string().min(1),
  usageRequirements: z.string().min(1).optional(),
  prefetch: z
    .record(z.string().min(1), z.string().min(1))
    .optional()
    .meta({ description: 'Queries by key, as CDS Hooks defines them.' }),
});

export const maxBytes = z
  .int()
  .positive()
  .meta({ description: 'The build fails when a bundle is larger than this.' });

/** Settings that may differ between environments. */
const changeable = {
  description: z.string().min(1, 'is empty: leave it out').optional(),
  timeout: z
    .int()
    .min(1)
    .max(900)
    .optional()
    .meta({ description: 'Seconds, 900 at most; 10 if left out.' }),
  cron: cronString.optional(),
  cronTiming: cronTiming.optional(),
  cronJobs: z
    .array(cronJob)
    .default([])
    .meta({ description: 'Cron resources, for several schedules of one bot. Needs Medplum 5.2.' }),
  auditEventTrigger: z.enum(['always', 'never', 'on-error', 'on-output']).optional(),
  auditEventDestination: z
    .array(z.enum(['resource', 'log']))
    .min(1)
    .optional(),
  runAsUser: z
    .boolean()
    .optional()
    .meta({ description: 'Run with the rights of the user who caused the event.' }),
  publicWebhook: z.boolean().optional().meta({
    description:
      'Anyone who knows the address may call it, without a login. Needs an access policy.',
  }),
  subscriptions: z.array(subscription).default([]),
  accessPolicy: accessPolicy.optional(),
  secrets: z
    .array(secret)
    .default([])
    .meta({ description: 'Names of the project secrets it reads, never values.' }),
};

/** The same settings, each of which may be left out, or be null: not set in this environment. */
const override = z
  .strictObject({
    id: id.nullable(),
    description: changeable.description.nullable(),
    timeout: changeable.timeout.nullable(),
    cron: changeable.cron.nullable(),
    cronTiming: changeable.cronTiming.nullable(),
    cronJobs: changeable.cronJobs.unwrap().optional(),
    auditEventTrigger: changeable.auditEventTrigger.nullable(),
    auditEventDestination: changeable.auditEventDestination.nullable(),
    runAsUser: changeable.runAsUser.nullable(),
    publicWebhook: changeable.publicWebhook.nullable(),
    subscriptions: changeable.subscriptions.unwrap().optional(),
    accessPolicy: changeable.accessPolicy.nullable(),
    secrets: changeable.secrets.unwrap().optional(),
  })
  .meta({ description: 'Settings that are different in this environment; null removes one.' });

const environmentName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]*$/, 'has to be lower-case letters, digits and dashes');

/** What is in the file for one bot; defaults are filled in when it is read. */
export const bot = z.strictObject({
  name,
  previousNames: z
    .array(name)
    .default([])
    .meta({ description: 'Names under which it was deployed before.' }),
  id: id.meta({
    description:
      'Only for a bot that was made outside of this repository: the id of its Bot on the server.',
  }),
  source: source.meta({ description: 'The file that exports "handler", in src/bots.' }),
  dist: z.string().meta({ description: 'What the build writes: dist/bots/<name>.js' }),
  runtimeVersion: z.enum(RUNTIMES).optional().meta({ description: 'awslambda if left out.' }),
  portable: z.boolean().default(false).meta({
    description: 'Check the bundle for awslambda and vmcontext, not only for its own runtime.',
  }),
  acceptedPackages: z
    .array(z.string().min(1))
    .default([])
    .meta({
      description:
        'npm packages whose warnings about this bundle you have looked at: ' +
        'the build no longer shows them.',
    }),
  ...changeable,
  system: z.boolean().optional().meta({
    description: 'Gives it the system secrets of the project, which only a super admin can set.',
  }),
  rawBody: z
    .boolean()
    .optional()
    .meta({
      description:
        'event.input is the text of the request, to verify the signature of a webhook. ' +
        'Needs Medplum 5.2.',
    }),
  streamingEnabled: z
    .boolean()
    .optional()
    .meta({ description: 'Lets it stream its answer with event.responseStream.' }),
  category: z.array(category).min(1, 'is empty: leave it out').optional(),
  cdsService: cdsService.optional().meta({ description: 'Offers it as a CDS Hooks service.' }),
  environments: z
    .record(environmentName, override)
    .default({})
    .meta({ description: 'Other values for single environments, by name.' }),
  maxBytes: maxBytes.optional(),
});

export type BotEntry = z.output<typeof bot>;
export type EnvironmentOverride = z.output<typeof override>;
