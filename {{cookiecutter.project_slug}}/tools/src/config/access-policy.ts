// What a bot may read and write: "accessPolicy" of a bot, in any of its four forms.
import { z } from 'zod';
import { parameters } from './parameters.ts';
import { RESOURCE_TYPES } from './resource-types.ts';
import { criteria } from './subscription.ts';

const compartment = z
  .string()
  .regex(
    /^(%[A-Za-z_]\w*|[A-Z][A-Za-z]+\/[^/\s]+)$/,
    'has to be a reference or a parameter like "%patient"',
  );

/** One member of AccessPolicy.resource. */
const rule = z
  .strictObject({
    resourceType: z.enum(['*', ...RESOURCE_TYPES]).meta({ id: 'ResourceType' }),
    readonly: z.boolean().optional(),
    criteria: criteria
      .optional()
      .meta({ description: 'Only resources that match, such as "Task?owner=%who".' }),
    compartment: compartment.optional(),
    interaction: z
      .array(z.enum(['create', 'read', 'update', 'delete', 'search', 'history', 'vread']))
      .min(1, 'is empty: leave it out for all of them')
      .optional()
      .meta({ description: 'What may be done. Without "read", nothing can be updated either.' }),
    hiddenFields: z.array(z.string().min(1)).min(1).optional(),
    readonlyFields: z.array(z.string().min(1)).min(1).optional(),
    writeConstraint: z
      .array(z.string().min(1))
      .min(1)
      .optional()
      .meta({ description: 'FHIRPath that a write has to satisfy, with %before and %after.' }),
  })
  .refine(
    (entry) => entry.readonly === undefined || entry.interaction === undefined,
    'has both "readonly" and "interaction": keep one of them',
  )
  .meta({ id: 'AccessPolicyRule' });

const ipAccessRule = z.strictObject({
  name: z.string().min(1).optional(),
  value: z.string().min(1).meta({ description: 'An address or a range, or "*".' }),
  action: z.enum(['allow', 'block']),
});

const ownPolicy = z.strictObject({
  resources: z.array(rule).min(1, 'is empty: a policy without resources allows nothing'),
  compartment: compartment.optional(),
  ipAccessRules: z.array(ipAccessRule).min(1).optional(),
  parameters,
});

const existingPolicy = z.strictObject({
  policy: z
    .string()
    .min(1)
    .meta({ description: 'The name of an AccessPolicy that the project has.' }),
  parameters,
});

export type AccessPolicyRule = z.output<typeof rule>;

/** A policy that this repository keeps, or the name of one that the project already has. */
export type AccessPolicyConfig =
  | ({ kind: 'own' } & z.output<typeof ownPolicy>)
  | { kind: 'existing'; name: string; parameters: z.output<typeof parameters> };

/** The short forms (a list of rules, a name) become the long ones. */
export const accessPolicy = z
  .union(
    [z.array(rule).min(1), z.string().min(1), ownPolicy, existingPolicy],
    'has to be a list of resource types, the name of an existing policy, ' +
      '{ "resources": … } or { "policy": … }',
  )
  .meta({ description: 'What the bot may read and write. Everything in the project, if left out.' })
  .transform((value): AccessPolicyConfig => {
    if (Array.isArray(value)) {
      return { kind: 'own', resources: value, parameters: {} };
    }
    if (typeof value === 'string') {
      return { kind: 'existing', name: value, parameters: {} };
    }
    if ('policy' in value) {
      return { kind: 'existing', name: value.policy, parameters: value.parameters };
    }
    return { kind: 'own', ...value };
  });
