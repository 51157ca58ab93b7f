// What an answer must look like before its members are used: a server, or a proxy in front of it,
// can answer anything. Only members that a deployment reads are checked. All may be missing, unless
// they are required.
import type { Resource } from '@medplum/fhirtypes';

/** Whether a value has the wanted shape. */
type Shape = (value: unknown) => boolean;

const text: Shape = (value) => value === undefined || typeof value === 'string';

const required =
  (shape: Shape): Shape =>
  (value) =>
    value !== undefined && shape(value);

const list =
  (item: Shape): Shape =>
  (value) =>
    value === undefined || (Array.isArray(value) && value.every(required(item)));

const object =
  (members: Record<string, Shape>): Shape =>
  (value) =>
    value === undefined ||
    (isObject(value) && Object.entries(members).every(([name, shape]) => shape(value[name])));

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const reference = object({ reference: text });
const coding = object({ system: text, code: text, display: text });
const identifier = object({ system: text, value: text });
const attachment = object({ contentType: text, url: text, title: text });

/** Members of every resource. */
const COMMON = {
  resourceType: required(text),
  id: required(text),
  meta: object({
    versionId: text,
    lastUpdated: text,
    author: object({ reference: text, display: text }),
    profile: list(text),
    security: list(coding),
    tag: list(coding),
  }),
};

/** Members of the types whose members are used, beside those in COMMON. */
const MEMBERS: Partial<Record<Resource['resourceType'], Record<string, Shape>>> = {
  AccessPolicy: { name: text },
  AuditEvent: {
    entity: list(object({ what: reference })),
    outcome: text,
    outcomeDesc: text,
    recorded: text,
  },
  Bot: {
    cdsService: object({ prefetch: list(object({ key: text, query: text })) }),
    cronString: text,
    executableCode: attachment,
    identifier: list(identifier),
    name: text,
    runtimeVersion: text,
    sourceCode: attachment,
  },
  Project: {
    features: list(text),
    secret: list(object({ name: required(text), valueString: text })),
    systemSecret: list(object({ name: required(text) })),
  },
  ProjectMembership: {
    access: list(object({ policy: reference, parameter: list(object({ name: text })) })),
    accessPolicy: reference,
    profile: required(reference),
  },
  Subscription: {
    channel: object({ endpoint: text, header: list(text), payload: text }),
    criteria: required(text),
    error: text,
    extension: list(object({ url: required(text), valueCode: text })),
    status: text,
  },
};

/**
 * @returns the name of a member that is not as FHIR defines it, such as `identifier`; undefined if
 *   there is none
 */
export function wrongMember(resource: Record<string, unknown>): string | undefined {
  const own = MEMBERS[resource['resourceType'] as Resource['resourceType']];
  const shapes = Object.entries({ ...COMMON, ...own });
  return shapes.find(([name, shape]) => !shape(resource[name]))?.[0];
}

const issue = object({
  severity: text,
  code: text,
  details: object({ text }),
  diagnostics: text,
});

const outcome = required(object({ issue: required(list(issue)) }));

/** Whether a value has a list of issues, which may be empty. */
export const isOutcome = (value: unknown): boolean => outcome(value);

const entries = list(object({ resource: object({}), response: object({ status: text }) }));

const bundle = required(
  object({
    resourceType: (type) => type === 'Bundle',
    entry: entries,
    link: list(object({ relation: text, url: text })),
  }),
);

const batchResponse = required(object({ entry: entries }));

const tokenResponse = required(
  object({ access_token: required(text), project: required(reference) }),
);

/** Whether a value is a Bundle. The resources in it are not looked at. */
export const isBundle = (value: unknown): boolean => bundle(value);

/** Whether a value is the answer to a batch; null stands for an empty body. */
export const isBatchResponse = (value: unknown): boolean => value === null || batchResponse(value);

/** Whether a value is the answer to a sign-in. */
export const isTokenResponse = (value: unknown): boolean => tokenResponse(value);
