// What starts a bot: an entry of "subscriptions", which becomes one Subscription resource for each
// interaction.
import { z } from 'zod';
import { suggest } from '../terminal/suggest.ts';
import { RESOURCE_TYPES } from './resource-types.ts';

export const INTERACTIONS = ['create', 'update', 'delete'] as const;

/**
 * A resource type, with or without a search. Medplum accepts any text, and never runs what names no
 * type.
 */
export const criteria = z
  .string()
  .meta({
    description:
      'A resource type, or a type with a search, such as "Patient" or "Task?status=ready".',
  })
  .superRefine((value, context) => {
    const type = value.split('?')[0]!;
    if (RESOURCE_TYPES.includes(type)) {
      return;
    }
    const hint = suggest(type, RESOURCE_TYPES);
    const message = `"${type}" is not a resource type, so this would never run.${hint}`;
    context.addIssue({ code: 'custom', message });
  });

export const subscription = z
  .strictObject({
    criteria,
    interactions: z
      .array(z.enum(INTERACTIONS))
      .min(1, 'is empty: leave it out for create, update and delete')
      .refine((list) => new Set(list).size === list.length, 'names an interaction twice')
      .default([...INTERACTIONS])
      .meta({ description: 'What has to happen to the resource. All three, if left out.' }),
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
    payload: z
      .string()
      .regex(/^[a-z]+\/[a-z0-9.+-]+$/, 'has to be a content type like "application/fhir+json"')
      .optional()
      .meta({ description: 'Subscription.channel.payload, a content type.' }),
    secret: z
      .string()
      .min(1)
      .optional()
      .meta({
        description:
          'Name of the project secret whose value signs the request (X-Signature). ' +
          'Never the value itself.',
      }),
    end: z.iso
      .datetime({ offset: true, error: 'has to be a date and time like "2027-01-31T00:00:00Z"' })
      .optional()
      .meta({ description: 'Subscription.end. Medplum 5.1 keeps running after it.' }),
    preCommit: z
      .boolean()
      .default(false)
      .meta({
        description:
          'Run before the resource is stored: a bot that throws refuses the change. ' +
          'Needs preCommitSubscriptionsEnabled in server and project.',
      }),
    maxAttempts: z
      .int()
      .min(1)
      .max(18)
      .optional()
      .meta({ description: 'How often Medplum tries, for errors of the infrastructure only.' }),
  })
  .meta({ id: 'Subscription' });

export type SubscriptionConfig = z.output<typeof subscription>;
