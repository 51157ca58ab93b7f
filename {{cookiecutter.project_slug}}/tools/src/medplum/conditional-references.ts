// Conditional references, such as `Organization?identifier=system|value`, are resolved when a
// resource is written.
import * as core from '@medplum/core';
import type { FhirRepository } from '@medplum/fhir-router';
import type { Reference, Resource } from '@medplum/fhirtypes';

/**
 * @returns the resource with each conditional reference replaced by one to the resource that it
 *   finds
 * @throws OperationOutcomeError where one finds no resource, or more than one
 */
export async function resolveConditionalReferences<T extends Resource>(
  resource: T,
  repo: FhirRepository,
): Promise<T> {
  return (await resolveIn(resource, resource.resourceType, repo)) as T;
}

async function resolveIn(value: unknown, path: string, repo: FhirRepository): Promise<unknown> {
  if (Array.isArray(value)) {
    const items = [];
    for (const [index, item] of value.entries()) {
      items.push(await resolveIn(item, `${path}[${index}]`, repo));
    }
    return items;
  }
  if (typeof value !== 'object' || value === null) {
    return value;
  }
  const { reference } = value as { reference?: unknown };
  if (typeof reference === 'string' && /^[A-Z][A-Za-z]+\?/.test(reference)) {
    return resolveReference(reference, path, repo);
  }
  const result: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(value)) {
    result[name] = await resolveIn(member, `${path}.${name}`, repo);
  }
  return result;
}

async function resolveReference(
  query: string,
  path: string,
  repo: FhirRepository,
): Promise<Reference> {
  const request = { ...core.parseSearchRequest(query), count: 2 };
  delete request.sortRules;
  const matches = await repo.searchResources(request);
  if (matches.length !== 1) {
    const found = matches.length > 1 ? 'matched multiple' : 'did not match any';
    throw new core.OperationOutcomeError(
      core.badRequest(`Conditional reference '${query}' ${found} resources`, path),
    );
  }
  return core.createReference(matches[0]!);
}
