// The shape of medplum.config.json, and the JSON Schema that editors complete and check it with.
import { z } from 'zod';
import { bot, maxBytes, RUNTIMES } from './bot.ts';

const external = z
  .union(
    [
      z.string().min(1),
      z.strictObject({ package: z.string().min(1), runtimes: z.array(z.enum(RUNTIMES)).min(1) }),
    ],
    'has to be a package, or an object like { "package": "@aws-sdk/*", "runtimes": ["awslambda"] }',
  )
  .transform((value) =>
    typeof value === 'string' ? { package: value, runtimes: [...RUNTIMES] } : value,
  );

export const repository = z.strictObject({
  $schema: z.string().optional(),
  identifierSystem: z
    .string()
    .regex(/^[a-z][a-z0-9+.-]*:[^\s|]+$/i, 'has to be a URI like "urn:medplum-bots:my-bots"')
    .meta({
      description:
        'Tells the bots of this repository from all others. Never change it after a deployment.',
    }),
  strictness: z.enum(['recommended', 'strict']).default('recommended').meta({
    description: '"strict" turns every warning of the build into an error.',
  }),
  maxBytes: maxBytes.default(1_000_000),
  external: z
    .array(external)
    .default([])
    .meta({
      description:
        'Packages that the runtime has, beside the bot layer: not bundled. ' +
        '"*" stands for any characters.',
    }),
  resources: z
    .string()
    .regex(/^[^/\\]+(\/[^/\\]+)*$/, 'has to be a folder like "resources"')
    .default('resources')
    .meta({ description: 'The folder of other FHIR resources to deploy, as JSON files.' }),
  bots: z.array(bot),
});

/** What is in the file, before defaults. */
export type RawConfig = z.input<typeof repository>;

/** @returns the JSON Schema of medplum.config.json, as an object */
export function configJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(repository, { io: 'input', target: 'draft-7' });
  return { title: 'Medplum bots of this repository', ...schema };
}

/** @returns the text of medplum.config.schema.json */
export function schemaText(): string {
  return `${JSON.stringify(configJsonSchema(), null, 2)}\n`;
}
