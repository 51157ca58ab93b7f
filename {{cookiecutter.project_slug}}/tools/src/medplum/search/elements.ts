// `_elements`, `_fields` and `_summary`: the members of a resource that a search answers with.
import * as core from '@medplum/core';
import type { SearchRequest, WithId } from '@medplum/core';
import type { Resource } from '@medplum/fhirtypes';

/**
 * @returns the resource itself where the search asks for all of it, otherwise a copy, tagged
 *   SUBSETTED
 */
export function withElements<T extends Resource>(
  resource: WithId<T>,
  request: SearchRequest,
): WithId<T> {
  const kept = keptMembers(resource, request);
  return kept ? (core.subsetResource(structuredClone(resource), kept) as WithId<T>) : resource;
}

function keptMembers(resource: Resource, { fields, summary }: SearchRequest): string[] | undefined {
  const { mandatoryProperties = [], summaryProperties = [] } = core.getDataType(
    resource.resourceType,
  );
  if (fields) {
    return [...mandatoryProperties, ...fields];
  }
  switch (summary) {
    case 'true':
      return [...summaryProperties];
    case 'text':
      return ['text', ...mandatoryProperties];
    case 'data':
      return Object.keys(resource).filter((key) => key !== 'text');
    default:
      return undefined;
  }
}
