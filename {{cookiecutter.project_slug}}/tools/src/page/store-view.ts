// Reads a server's store for the page: its living resources, and a short name for each.
import type { WithId } from '@medplum/core';
import { isPopulated } from '@medplum/core';
import type { CodeableConcept, HumanName, Resource } from '@medplum/fhirtypes';
import type { ExternalServer } from '../external-server.ts';

type ResourceStore = ExternalServer['store'];

/** @returns the resources of a type that are not deleted, oldest first */
export function living<T extends Resource>(
  store: ResourceStore,
  type: T['resourceType'],
): WithId<T>[] {
  return [...store.all(type)]
    .filter(({ deleted }) => !deleted)
    .map(({ resource }) => resource as WithId<T>);
}

/** @returns given and family names, such as `Ada Lovelace` */
export function nameOf(names: HumanName[] | undefined): string {
  const [name] = names ?? [];
  if (!name) {
    return 'no name';
  }
  return name.text ?? [...(name.given ?? []), name.family ?? ''].join(' ').trim();
}

/**
 * @returns what people call a resource: its name, its title, its code or its description; '' if it
 *   has none
 */
export function titleOf(resource: Resource): string {
  const { name, title, code, type, description, valueCode } = resource as unknown as Record<
    string,
    unknown
  >;
  if (Array.isArray(name) && isPopulated(name)) {
    return typeof name[0] === 'string' ? name[0] : nameOf(name as HumanName[]);
  }
  const candidates = [name, title, conceptText(code), conceptText(type), description, valueCode];
  const found = candidates.find((candidate) => typeof candidate === 'string' && candidate !== '');
  return (found as string | undefined) ?? '';
}

function conceptText(value: unknown): string | undefined {
  const concept = (Array.isArray(value) ? value[0] : value) as CodeableConcept | undefined;
  if (typeof concept !== 'object' || concept === null) {
    return undefined;
  }
  return concept.text ?? concept.coding?.[0]?.display ?? concept.coding?.[0]?.code;
}
