// Named values: parameters of an access policy, and of a schedule.
import { z } from 'zod';

const REFERENCE_HINT = 'has to be a reference like "Organization/<id>"';

const reference = z.strictObject({
  reference: z.string().regex(/^[A-Z][A-Za-z]+\/[^/\s]+$/, REFERENCE_HINT),
});

/** `{ "clinic": { "reference": "Organization/123" }, "shift": "night" }` */
export const parameters = z
  .record(
    z.string().min(1),
    z.union(
      [z.string(), z.number(), z.boolean(), reference],
      'has to be text, a number, true, false, or an object like ' +
        '{ "reference": "Organization/123" }',
    ),
  )
  .default({});

export type Parameters = z.output<typeof parameters>;
