// medplum.config.json: its shape, its mistakes, and the JSON Schema that editors complete it with.
// After a change here: npx medplum-bots schema
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Cron } from 'croner';
import { z } from 'zod';
import { RESOURCE_TYPES } from './resource-types.ts';
import { suggest } from '../terminal/suggest.ts';
import { UserError } from '../terminal/user-error.ts';

export const CONFIG_FILE = 'medplum.config.json';
const INTERACTIONS = ['create', 'update', 'delete'] as const;

const name = z
  .string()
  .regex(
    /^[a-z0-9]+(-[a-z0-9]+)*$/,
    'has to be lower-case letters, digits and single dashes, like "hapi-sync-bot"',
  );

/** What Medplum itself takes: five numeric fields. It ignores every other schedule without a word. */
const cron = z
  .string()
  .meta({ description: 'When to run, as five numeric fields. Needs the project feature "cron".' })
  .refine(
    isSchedule,
    'has to be five numeric fields like "*/5 * * * *" (Sunday is 0); Medplum ignores all else',
  );

const criteria = z
  .string()
  .meta({
    description:
      'A resource type, or a type with a search, such as "Patient" or "Task?status=ready".',
  })
  .superRefine((value, context) => {
    const type = value.split('?')[0]!;
    if (RESOURCE_TYPES.includes(type)) return;
    const message = `"${type}" is no resource type, so this would never run.${suggest(type, RESOURCE_TYPES)}`;
    context.addIssue({ code: 'custom', message });
  });

const subscription = z.strictObject({
  criteria,
  interactions: z
    .array(z.enum(INTERACTIONS))
    .min(1, 'is empty: leave it out for create, update and delete')
    .refine((list) => new Set(list).size === list.length, 'names an interaction twice')
    .default([...INTERACTIONS])
    .meta({
      description: 'What has to happen to the resource. All three, where this is left out.',
    }),
  expression: z
    .string()
    .min(1)
    .optional()
    .meta({ description: 'FHIRPath that has to be true for the bot to run.' }),
  headers: z
    .array(z.string().regex(/^[A-Za-z0-9-]+: .+/, 'has to be a header like "X-Reason: arrival"'))
    .min(1, 'is empty: leave it out')
    .optional()
    .meta({ description: 'Headers that the bot finds in event.headers.' }),
});

const policyEntry = z.strictObject({
  resourceType: z.enum(['*', ...RESOURCE_TYPES]).meta({ id: 'ResourceType' }),
  readonly: z.boolean().optional(),
  criteria: criteria.optional(),
});

const secret = z
  .union(
    [
      z.string().min(1),
      z.strictObject({ name: z.string().min(1), optional: z.boolean().default(false) }),
    ],
    'has to be a name, or an object like { "name": "HAPI_BEARER_TOKEN", "optional": true }',
  )
  .transform((value) => (typeof value === 'string' ? { name: value, optional: false } : value));

const maxBytes = z
  .int()
  .positive()
  .meta({ description: 'The build fails when a bundle is larger than this.' });

const bot = z.strictObject({
  name,
  previousNames: z
    .array(name)
    .default([])
    .meta({ description: 'Names under which it was deployed before.' }),
  description: z.string().min(1, 'is empty: leave it out').optional(),
  id: z
    .uuid('has to be a UUID')
    .optional()
    .meta({ description: 'Only for a bot that was made outside of this repository.' }),
  source: z
    .string()
    .regex(
      /^src\/bots\/[^/\\]+\.ts$/,
      'has to be a file directly in src/bots, like "src/bots/my-bot.ts"',
    ),
  dist: z.string().meta({ description: 'What the build writes: dist/bots/<name>.js' }),
  runtimeVersion: z
    .enum(['awslambda', 'vmcontext'])
    .optional()
    .meta({ description: 'awslambda if left out.' }),
  timeout: z
    .int()
    .min(1)
    .max(900)
    .optional()
    .meta({ description: 'Seconds, 900 at most; 10 if left out.' }),
  cron: cron.optional(),
  auditEventTrigger: z.enum(['always', 'never', 'on-error', 'on-output']).optional(),
  auditEventDestination: z
    .array(z.enum(['resource', 'log']))
    .min(1)
    .optional(),
  runAsUser: z
    .boolean()
    .optional()
    .meta({ description: 'Run with the rights of whoever caused the event.' }),
  subscriptions: z.array(subscription).default([]),
  accessPolicy: z
    .array(policyEntry)
    .min(1)
    .optional()
    .meta({ description: 'What the bot may touch. Else: everything.' }),
  secrets: z
    .array(secret)
    .default([])
    .meta({ description: 'Names of the project secrets it reads, never values.' }),
  maxBytes: maxBytes.optional(),
});

const repository = z.strictObject({
  $schema: z.string().optional(),
  identifierSystem: z
    .string()
    .regex(/^[a-z][a-z0-9+.-]*:[^\s|]+$/i, 'has to be a URI like "urn:medplum-bots:my-bots"')
    .meta({
      description:
        'Tells the bots of this repository from all others. Never change it after a deployment.',
    }),
  maxBytes: maxBytes.default(1_000_000),
  bots: z.array(bot),
});

const config = repository.transform(({ bots, maxBytes: budget, ...rest }) => ({
  ...rest,
  bots: bots.map((entry) => ({ ...entry, maxBytes: entry.maxBytes ?? budget })),
}));

/** Subscriptions, secrets and previousNames are always lists; secrets are `{ name, optional }`; maxBytes is each bot's. */
export type Config = z.output<typeof config>;
export type BotConfig = Config['bots'][number];
export type SubscriptionConfig = BotConfig['subscriptions'][number];

/**
 * Reads and checks medplum.config.json.
 *
 * @param root - the folder it lies in
 * @returns the configuration, defaults filled in
 * @throws UserError with one line for each mistake
 */
export function loadConfig(root: string = process.cwd()): Config {
  let text: string;
  try {
    text = readFileSync(join(root, CONFIG_FILE), 'utf8');
  } catch {
    throw new UserError(
      `${CONFIG_FILE} cannot be read here: run this in the repository's own folder.`,
    );
  }
  return parseConfig(text);
}

/**
 * @param text - what medplum.config.json holds
 * @returns the configuration, defaults filled in
 * @throws UserError with one line for each mistake
 */
export function parseConfig(text: string): Config {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (error) {
    throw new UserError(
      `${CONFIG_FILE} is no valid JSON: ${(error as Error).message.replaceAll(/\s+/g, ' ')}`,
    );
  }
  const result = config.safeParse(raw);
  const mistakes = result.success
    ? contradictions(result.data)
    : result.error.issues.flatMap((i) => explain(i, raw));
  if (mistakes.length > 0)
    throw new UserError(mistakes.map((line) => `${CONFIG_FILE}: ${line}`).join('\n'));
  return result.data!;
}

/** Mistakes that concern several entries, or two members of one. */
function contradictions({ bots }: Config): string[] {
  const mistakes: string[] = [];
  const names = new Map<string, string>();
  bots.forEach((entry, index) => {
    const dist = `dist/bots/${entry.name}.js`;
    const events = entry.subscriptions.flatMap(
      ({ interactions, criteria: what, expression = '' }) =>
        interactions.map((interaction) => `${[interaction, what, expression].join(' ').trim()}`),
    );
    const twice = events.find((event, at) => events.indexOf(event) < at);
    if (twice)
      mistakes.push(
        `bots[${index}].subscriptions (${entry.name}): "${twice}" is in two of them: it would run twice`,
      );
    if (entry.dist !== dist)
      mistakes.push(`bots[${index}].dist (${entry.name}): has to be "${dist}"`);
    for (const [place, taken] of [
      ['name', entry.name],
      ...entry.previousNames.map((n) => ['previousNames', n]),
    ]) {
      const first = names.get(taken!);
      if (first)
        mistakes.push(
          `bots[${index}].${place}: "${taken}" stands in ${first} too; each name is used once`,
        );
      names.set(taken!, `bots[${index}].${place}`);
    }
  });
  return mistakes;
}

/** One line for each mistake zod found: where, what, what to do. */
function explain(issue: z.core.$ZodIssue, raw: unknown): string[] {
  const path = issue.path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('');
  const botName = (raw as { bots?: { name?: unknown }[] })?.bots?.[Number(issue.path[1])]?.name;
  const place =
    path.slice(1) +
    (issue.path[0] === 'bots' && typeof botName === 'string' ? ` (${botName})` : '');
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(issue.path);
    return issue.keys.map((key) => {
      return `${place && `${place}: `}"${key}" is not known.${suggest(key, known) || ` Known: ${known.join(', ')}.`}`;
    });
  }
  const value = issue.path.reduce<unknown>(
    (at, part) => (at as Record<PropertyKey, unknown>)?.[part],
    raw,
  );
  if (value === undefined) return [`${place} is missing`];
  if (issue.code === 'invalid_value') {
    const options = issue.values.map(String);
    const hint =
      suggest(String(value), options) ||
      (options.length < 10 ? ` Possible: ${options.join(', ')}.` : '');
    return [`${place}: ${JSON.stringify(value)} is not possible.${hint}`];
  }
  return [
    `${place && `${place}: `}${issue.message}${issue.code === 'custom' ? '' : `, not ${JSON.stringify(value)}`}`,
  ];
}

function knownKeys(path: PropertyKey[]): string[] {
  const shapes: Record<string, z.ZodObject> = {
    bots: bot,
    subscriptions: subscription,
    accessPolicy: policyEntry,
  };
  return Object.keys((shapes[String(path.at(-2))] ?? repository).shape);
}

function isSchedule(pattern: string): boolean {
  if (!/^([\d*,/-]+ ){4}[\d*,/-]+$/.test(pattern) || /7[^ ]*$/.test(pattern)) return false;
  try {
    return new Cron(pattern, { paused: true }).nextRun() !== null;
  } catch {
    return false;
  }
}

/** @returns medplum.config.schema.json's text */
export function schemaText(): string {
  const schema = z.toJSONSchema(config, { io: 'input', target: 'draft-7' });
  return `${JSON.stringify({ title: 'Medplum bots of this repository', ...schema }, null, 2)}\n`;
}
