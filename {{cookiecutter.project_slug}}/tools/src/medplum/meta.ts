// The members of meta that only the server writes: version, time, author, project, compartments.
import * as core from '@medplum/core';
import type { WithId } from '@medplum/core';
import type { Meta, Reference, Resource } from '@medplum/fhirtypes';
import { randomUUID } from 'node:crypto';
import { LOCAL } from './local-project.ts';
import { PATIENT_COMPARTMENT } from './patient-compartment.ts';
import { columnOf, typedValues } from './search/parameters.ts';

/** @returns the resource as it is stored next, as a new version */
export function stamped(
  resource: WithId<Resource>,
  existing: Resource | undefined,
  author: Reference,
): WithId<Resource> {
  const project = projectOf(resource) ?? existing?.meta?.project ?? LOCAL.projectId;
  const { deleted: _deleted, ...given } = resource.meta ?? {};
  const meta: Meta = {
    ...given,
    versionId: randomUUID(),
    lastUpdated: new Date().toISOString(),
    author: author as NonNullable<Meta['author']>,
    project,
    compartment: compartments(resource, project),
  };
  return { ...resource, meta };
}

function projectOf(resource: Resource): string | undefined {
  if (resource.resourceType === 'Project') {
    return resource.id;
  }
  return resource.resourceType === 'ProjectMembership'
    ? core.resolveId(resource.project)
    : undefined;
}

/** The project, and the patients that the resource is about. */
function compartments(resource: WithId<Resource>, project: string): Reference[] {
  const references = new Set([`Project/${project}`, ...patientsOf(resource)]);
  return [...references].map((reference) => ({ reference }));
}

/** @returns references to the patients that a resource is about; a Patient is about itself */
function patientsOf(resource: WithId<Resource>): string[] {
  const { resourceType, id } = resource;
  const own = resourceType === 'Patient' ? [`Patient/${id}`] : [];
  const others = (PATIENT_COMPARTMENT[resourceType] ?? []).flatMap((code) => {
    const param = core.getSearchParameter(resourceType, code);
    return param ? typedValues(columnOf(resourceType, param), resource) : [];
  });
  const references = others.map(({ value }) => (value as Reference | undefined)?.reference ?? '');
  return [...own, ...references.filter((text) => /^Patient\/[0-9a-f-]{36}$/.test(text))];
}
