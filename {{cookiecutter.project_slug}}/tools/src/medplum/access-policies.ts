// Access policies: what a membership's policies allow, for one resource and for a search.
import * as core from '@medplum/core';
import type { AccessPolicyInteraction } from '@medplum/core';
import type {
  AccessPolicy,
  AccessPolicyResource,
  ProjectMembership,
  ProjectMembershipAccess,
  Resource,
} from '@medplum/fhirtypes';
import { LOCAL } from './local-project.ts';
import { allOf, anyOf } from './search/conditions.ts';
import type { Condition } from './search/conditions.ts';
import type { FilterContext } from './search/context.ts';
import type { Store } from './store.ts';
import { evaluateWithLimit } from './fhirpath.ts';

/** Only the server itself reads and writes these. */
const PROTECTED_TYPES = ['DomainConfiguration', 'JsonWebKey', 'Login'];

/** Only project admins see these; a policy's `*` does not include them. */
const ADMIN_TYPES = [
  'Package',
  'PackageRelease',
  'PackageInstallation',
  'Project',
  'ProjectMembership',
  'User',
  'UserSecurityRequest',
];

/**
 * What an admin may do with the project's own resources, in place of what a policy says of them.
 */
const ADMIN_ENTRIES: AccessPolicyResource[] = [
  {
    resourceType: 'Project',
    criteria: `Project?_id=${LOCAL.projectId}`,
    readonlyFields: ['features', 'link', 'systemSetting'],
    hiddenFields: ['superAdmin', 'systemSecret', 'strictMode'],
    interaction: ['read', 'vread', 'update', 'history', 'create', 'search'],
  },
  {
    resourceType: 'ProjectMembership',
    criteria: `ProjectMembership?_project=${LOCAL.projectId}`,
    readonlyFields: ['project', 'user'],
  },
  {
    resourceType: 'User',
    criteria: `User?_project=${LOCAL.projectId}`,
    hiddenFields: ['passwordHash', 'mfaSecret'],
    readonlyFields: ['email', 'emailVerified', 'mfaEnrolled', 'project'],
  },
];

/**
 * @returns one policy of all that a membership names, with its parameters filled in
 * @throws OperationOutcomeError where a policy cannot be read: a broken policy lets no one in
 */
export function effectivePolicy(store: Store, membership: ProjectMembership): AccessPolicy {
  const { accessPolicy, access = [], admin = false } = membership;
  const given: ProjectMembershipAccess[] = accessPolicy
    ? [{ policy: accessPolicy }, ...access]
    : access;
  const entries = given.flatMap((item) => filledEntries(store, item, membership));
  if (given.length === 0) {
    entries.push({ resourceType: '*' });
  }
  for (const resourceType of ['SearchParameter', 'StructureDefinition']) {
    if (!entries.some((entry) => entry.resourceType === resourceType)) {
      entries.push({ resourceType, readonly: true });
    }
  }
  const resource = entries.filter((entry) => !ADMIN_TYPES.includes(entry.resourceType));
  if (admin) {
    resource.push(...ADMIN_ENTRIES);
  }
  const basedOn = given.map(({ policy }) => policy);
  return { resourceType: 'AccessPolicy', basedOn, resource };
}

/** Replaces `%name` by a parameter's text or reference, `%name.id` by the reference's id. */
function filledEntries(
  store: Store,
  { policy, parameter = [] }: ProjectMembershipAccess,
  { profile }: ProjectMembership,
): AccessPolicyResource[] {
  const latest = store.latest('AccessPolicy', core.resolveId(policy) ?? '');
  if (!latest || latest.deleted) {
    throw new core.OperationOutcomeError(
      core.badRequest(
        'Cannot authenticate: Invalid access policy configuration. ' +
          'Please contact your administrator to update your project membership.',
      ),
    );
  }
  const parameters = [...parameter, { name: 'profile', valueReference: profile }];
  if (!parameters.some(({ name }) => name === 'patient')) {
    parameters.push({ name: 'patient', valueReference: profile });
  }
  let text = JSON.stringify((latest.resource as AccessPolicy).resource ?? []);
  for (const { name, valueString, valueReference } of parameters) {
    if (valueString) {
      text = text.replaceAll(`%${name}`, valueString);
    } else if (valueReference) {
      text = text.replaceAll(`%${name}.id`, core.resolveId(valueReference) ?? '');
      text = text.replaceAll(`%${name}`, valueReference.reference ?? '');
    }
  }
  const entries = JSON.parse(text) as AccessPolicyResource[];
  for (const entry of entries) {
    if (!entry.interaction && entry.readonly) {
      entry.interaction = ['search', 'read', 'history', 'vread'];
    }
  }
  return entries;
}

/**
 * @throws OperationOutcomeError (403) where the policy allows this with no resource of the type at
 *   all
 */
export function assertTypeAccess(
  policy: AccessPolicy | undefined,
  interaction: AccessPolicyInteraction,
  type: string,
): void {
  if (!policy) {
    return;
  }
  const allowed =
    !PROTECTED_TYPES.includes(type) &&
    policy.resource?.some((entry) => appliesTo(entry, interaction, type));
  if (!allowed) {
    throw new core.OperationOutcomeError(core.forbidden);
  }
}

export function canAccess(
  policy: AccessPolicy | undefined,
  interaction: AccessPolicyInteraction,
  resource: Resource,
): boolean {
  return entryFor(policy, interaction, resource) !== undefined;
}

/** @returns the first entry of the policy that allows this; without a policy one that allows all */
function entryFor(
  policy: AccessPolicy | undefined,
  interaction: AccessPolicyInteraction,
  resource: Resource,
): AccessPolicyResource | undefined {
  if (!policy) {
    return { resourceType: '*' };
  }
  return policy.resource?.find(
    (entry) => appliesTo(entry, interaction, resource.resourceType) && matches(entry, resource),
  );
}

function appliesTo(
  entry: AccessPolicyResource,
  interaction: AccessPolicyInteraction,
  type: string,
): boolean {
  const typeMatches =
    entry.resourceType === type || (entry.resourceType === '*' && !ADMIN_TYPES.includes(type));
  return (
    typeMatches && (entry.interaction?.includes(interaction) ?? isReadable(entry, interaction))
  );
}

function isReadable({ readonly }: AccessPolicyResource, interaction: string): boolean {
  return !readonly || ['search', 'read', 'history', 'vread'].includes(interaction);
}

function matches({ compartment, criteria }: AccessPolicyResource, resource: Resource): boolean {
  if (resource.resourceType === 'Binary') {
    return true; // has no search parameters
  }
  const compartments = resource.meta?.compartment ?? [];
  if (compartment && !compartments.some(({ reference }) => reference === compartment.reference)) {
    return false;
  }
  return !criteria || core.matchesSearchRequest(resource, core.parseSearchRequest(criteria));
}

/** @returns what a search by this policy may find of a type; undefined where all of it */
export function visibilityCondition(
  context: FilterContext,
  policy: AccessPolicy | undefined,
  type: string,
): Condition | undefined {
  const conditions: Condition[] = [];
  for (const entry of policy?.resource ?? []) {
    const applies =
      (entry.resourceType === type ||
        (entry.resourceType === '*' && !ADMIN_TYPES.includes(type))) &&
      (entry.interaction?.includes('search') ?? true);
    if (!applies) {
      continue;
    }
    const condition = entryCondition(context, entry, type);
    if (!condition) {
      return undefined;
    }
    conditions.push(condition);
  }
  return conditions.length > 0 ? anyOf(conditions) : undefined;
}

function entryCondition(
  context: FilterContext,
  { compartment, criteria, resourceType }: AccessPolicyResource,
  type: string,
): Condition | undefined {
  if (compartment) {
    return ({ meta }) =>
      (meta?.compartment ?? []).some(({ reference }) => reference === compartment.reference);
  }
  // Criteria of another type are ignored on the real server, and with them the restriction.
  if (!criteria?.startsWith(`${resourceType}?`)) {
    return undefined;
  }
  const query = criteria.slice(criteria.indexOf('?') + 1);
  const { filters = [] } = core.parseSearchRequest(`${type}?${query}`);
  return filters.length > 0
    ? allOf(filters.map((filter) => context.condition(type, filter)))
    : () => true;
}

/** A resource without the members that the policy hides. */
export function withoutHidden<T extends Resource>(
  policy: AccessPolicy | undefined,
  resource: T,
): T {
  const hidden = entryFor(policy, 'read', resource)?.hiddenFields ?? [];
  if (hidden.length === 0) {
    return resource;
  }
  const copy = structuredClone(resource);
  for (const field of hidden) {
    removeField(copy as unknown as Record<string, unknown>, field);
  }
  return copy;
}

/**
 * What is to be written, with the members put back that the policy does not let the actor change.
 */
export function withProtected<T extends Resource>(
  policy: AccessPolicy | undefined,
  wanted: T,
  existing: Resource | undefined,
): T {
  const entry = entryFor(policy, existing ? 'update' : 'create', existing ?? wanted);
  const fields = [...(entry?.readonlyFields ?? []), ...(entry?.hiddenFields ?? [])];
  if (fields.length === 0) {
    return wanted;
  }
  const copy = structuredClone(wanted) as unknown as Record<string, unknown>;
  const before = (existing ?? {}) as Record<string, unknown>;
  for (const field of fields) {
    removeField(copy, field);
    if (!field.includes('.') && before[field]) {
      copy[field] = before[field];
    }
  }
  return copy as unknown as T;
}

/** Removes `name`, `contact.name` (in each contact) or `value[x]` (of any type). */
function removeField(target: Record<string, unknown>, path: string): void {
  const [first = '', ...rest] = path.split('.');
  const keys = first.endsWith('[x]')
    ? Object.keys(target).filter((name) => name.startsWith(first.slice(0, -'[x]'.length)))
    : [first];
  for (const name of keys) {
    if (rest.length === 0) {
      delete target[name];
      continue;
    }
    for (const child of [target[name]].flat()) {
      if (typeof child === 'object' && child !== null) {
        removeField(child as Record<string, unknown>, rest.join('.'));
      }
    }
  }
}

/**
 * Whether a resource may be written as it is: the policy allows it, and all its `writeConstraint`
 * expressions, which may speak of `%before` and `%after`, are true.
 */
export function canWrite(
  policy: AccessPolicy | undefined,
  interaction: 'create' | 'update',
  before: Resource | undefined,
  after: Resource,
): boolean {
  const entry = entryFor(policy, interaction, after);
  const constraints = entry?.writeConstraint ?? [];
  const variables = {
    '%before': { type: before?.resourceType ?? 'undefined', value: before },
    '%after': { type: after.resourceType, value: after },
  };
  return (
    entry !== undefined &&
    constraints.every(({ expression }) => {
      const result = evaluateWithLimit(expression!, core.toTypedValue(after), variables);
      return result.length === 1 && result[0]!.value === true;
    })
  );
}
