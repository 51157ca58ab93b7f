// Resources are checked against FHIR's definitions, and against the profiles that the project
// knows.
import * as core from '@medplum/core';
import type { Resource, StructureDefinition } from '@medplum/fhirtypes';
import { standardProfile } from './definitions.ts';
import type { Store } from './store.ts';

/** Types of later Medplum versions, which 5.1.26 does not know. */
const LATER_TYPES = new Set(['Cron', 'Enterprise']);

/** Members of later versions, by type: Medplum 5.2 has them. */
const LATER_MEMBERS: Readonly<Record<string, readonly string[]>> = { Bot: ['rawBody'] };

/** @returns whether the server has such a resource type */
export function isKnownType(type: string): boolean {
  return core.isResourceType(type) && !LATER_TYPES.has(type);
}

/** @throws OperationOutcomeError (400) where the server has no such resource type */
export function assertKnownType(type: string): void {
  core.validateResourceType(LATER_TYPES.has(type) ? `${type}?` : type);
}

/**
 * @throws OperationOutcomeError (400) with an issue for each thing that is wrong
 */
export function validateResource(resource: Resource, store: Store): void {
  const checked = withExistingDays(resource);
  assertKnownMembers(resource);
  core.validateResource(checked);
  for (const url of resource.meta?.profile ?? []) {
    const profile = projectProfile(store, url) ?? standardProfile(url);
    if (profile) {
      core.validateResource(checked, { profile });
    }
  }
}

function assertKnownMembers(resource: Resource): void {
  const { resourceType } = resource;
  const later = LATER_MEMBERS[resourceType]?.find((member) => member in resource);
  if (later !== undefined) {
    const details = { text: `Invalid additional property "${later}"` };
    const expression = [`${resourceType}.${later}`];
    throw new core.OperationOutcomeError({
      resourceType: 'OperationOutcome',
      issue: [{ severity: 'error', code: 'structure', details, expression }],
    });
  }
}

function projectProfile(store: Store, url: string): StructureDefinition | undefined {
  for (const definition of store.living<StructureDefinition>('StructureDefinition')) {
    if (definition.url === url && definition.snapshot) {
      return definition;
    }
  }
  return undefined;
}

/** 5.1.26 accepts days that do not exist, such as 2021-02-30; @medplum/core of today does not. */
function withExistingDays<T>(resource: T): T {
  return JSON.parse(JSON.stringify(resource), (_name, value: unknown) =>
    typeof value === 'string' && /^\d{4}-\d\d-(29|30|31)($|T)/.test(value)
      ? value.replace(/^(\d{4}-\d\d)-\d\d/, '$1-28')
      : value,
  ) as T;
}
