// Reads the resources that belong to the files of resources/: by url, by identifier, and by the
// mark of a file that is gone.
import type { DesiredResource } from './desired-resources.ts';
import { resourceTag } from './identity.ts';
import { search } from './search.ts';
import { RequestError } from './server.ts';
import type { Server } from './server.ts';
import type { Stored } from './stored.ts';

/** Values in one query, so that its address does not become too long. */
const VALUES_PER_QUERY = 25;

/**
 * Types that are kept as code. A file of another type is deployed, too; but after the last file of
 * such a type is deleted, its resource is no longer found.
 */
const USUAL_TYPES = [
  'ActivityDefinition',
  'ChargeItemDefinition',
  'CodeSystem',
  'ConceptMap',
  'EventDefinition',
  'HealthcareService',
  'Library',
  'Location',
  'Measure',
  'MessageDefinition',
  'NamingSystem',
  'ObservationDefinition',
  'OperationDefinition',
  'Organization',
  'PlanDefinition',
  'Questionnaire',
  'SearchParameter',
  'SpecimenDefinition',
  'StructureDefinition',
  'StructureMap',
  'ValueSet',
];

/**
 * @param resources - of the files
 * @param system - identifierSystem
 * @returns what the server has of them, each once
 */
export async function readResources(
  server: Server,
  resources: readonly DesiredResource[],
  system: string,
): Promise<Stored[]> {
  const queries = queriesOf(resources);
  const found = new Map<string, Stored>();
  for (const query of queries) {
    for (const resource of await search(server, query)) {
      found.set(`${resource.resourceType}/${resource.id}`, resource);
    }
  }
  for (const resource of await readMarked(server, resources, system)) {
    found.set(`${resource.resourceType}/${resource.id}`, resource);
  }
  return [...found.values()];
}

/** `Questionnaire?url=a,b,c&_count=1000` */
function queriesOf(resources: readonly DesiredResource[]): string[] {
  const values = new Map<string, string[]>();
  for (const { resourceType, query } of resources) {
    const separator = query.indexOf('=');
    const prefix = `${resourceType}?${query.slice(0, separator)}`;
    values.set(prefix, [...(values.get(prefix) ?? []), query.slice(separator + 1)]);
  }
  return [...values].flatMap(([prefix, all]) => {
    const chunks = Array.from({ length: Math.ceil(all.length / VALUES_PER_QUERY) }, (_, index) =>
      all.slice(index * VALUES_PER_QUERY, (index + 1) * VALUES_PER_QUERY),
    );
    return chunks.map((chunk) => `${prefix}=${chunk.join(',')}&_count=1000`);
  });
}

/**
 * Everything that carries the mark of a file: one search for all types, if the server can do that.
 */
async function readMarked(
  server: Server,
  resources: readonly DesiredResource[],
  system: string,
): Promise<Stored[]> {
  const tag = `_tag=${encodeURIComponent(resourceTag(system))}|&_count=1000`;
  const types = [
    ...new Set([...USUAL_TYPES, ...resources.map(({ resourceType }) => resourceType)]),
  ];
  try {
    return await search(server, `?_type=${types.join(',')}&${tag}`);
  } catch (error) {
    const isUnsupported =
      error instanceof RequestError && [400, 403, 404, 501].includes(error.status);
    if (!isUnsupported) {
      throw error;
    }
  }
  const used = new Set(resources.map(({ resourceType }) => resourceType));
  const found: Stored[] = [];
  for (const type of used) {
    found.push(...(await search(server, `${type}?${tag}`)));
  }
  return found;
}
