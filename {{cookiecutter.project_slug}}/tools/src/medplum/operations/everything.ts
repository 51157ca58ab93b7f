// Patient/[id]/$everything: the patient, what is about it, and who and what that refers to.
import * as core from '@medplum/core';
import type { SearchRequest, WithId } from '@medplum/core';
import type { FhirRequest, FhirResponse } from '@medplum/fhir-router';
import type { BundleEntry, Patient, Resource, ResourceType } from '@medplum/fhirtypes';
import { assertTypeAccess } from '../access-policies.ts';
import { NotAvailableError } from '../not-available.ts';
import { PATIENT_COMPARTMENT } from '../patient-compartment.ts';
import type { LocalRepository } from '../repository.ts';

const DEFAULT_COUNT = 1000;
/** Resources of these types come along where one that was found refers to them. */
const RESOLVED = /^(Organization|Location|Practitioner|PractitionerRole|Medication|Device)\//;

export async function patientEverything(
  { params, query, method, body }: FhirRequest,
  repo: LocalRepository,
): Promise<FhirResponse> {
  const patient = await repo.readResource<WithId<Patient>>('Patient', params['id']!);
  const asked = Object.keys(query).filter(
    (name) => !['_count', '_offset', '_type', '_since'].includes(name),
  );
  if (asked.length > 0 || (method === 'POST' && core.isResource(body))) {
    throw new NotAvailableError(`$everything with ${asked.join(', ') || 'Parameters'}`);
  }
  const request: SearchRequest = {
    resourceType: 'Patient',
    types: wantedTypes(repo, query['_type']),
    filters: [
      { code: '_compartment', operator: core.Operator.EQUALS, value: `Patient/${patient.id}` },
    ],
    count: Number(query['_count'] ?? DEFAULT_COUNT),
    offset: Number(query['_offset'] ?? 0),
    sortRules: [{ code: '_lastUpdated' }],
  };
  if (query['_since']) {
    const operator = core.Operator.GREATER_THAN_OR_EQUALS;
    request.filters!.push({ code: '_lastUpdated', operator, value: String(query['_since']) });
  }
  const bundle = await repo.search(request);
  bundle.entry = [...(bundle.entry ?? []), ...(await referredTo(repo, bundle.entry ?? []))];
  bundle.link = bundle.link?.map(({ relation, url }) => ({
    relation,
    url: url.replace(/\/Patient\?/, `/Patient/${patient.id}/$everything?`),
  }));
  return [core.allOk, bundle];
}

function wantedTypes(repo: LocalRepository, asked: unknown): ResourceType[] {
  const all = Object.keys(PATIENT_COMPARTMENT).filter((type) => canSearch(repo, type));
  const types = typeof asked === 'string' ? asked.split(',') : all;
  return [...new Set(['Patient', ...types])].toSorted() as ResourceType[];
}

function canSearch({ actor }: LocalRepository, type: string): boolean {
  try {
    assertTypeAccess(actor.policy, 'search', type);
    return true;
  } catch {
    return false;
  }
}

async function referredTo(
  repo: LocalRepository,
  entries: BundleEntry[],
): Promise<BundleEntry<WithId<Resource>>[]> {
  const seen = new Set(entries.map(({ resource }) => core.getReferenceString(resource!)));
  const result: BundleEntry<WithId<Resource>>[] = [];
  let page: (Resource | undefined)[] = entries.map(({ resource }) => resource);
  while (page.length > 0) {
    const references = [...new Set(page.flatMap(referencesIn))].filter(
      (reference) => RESOLVED.test(reference) && !seen.has(reference),
    );
    references.forEach((reference) => seen.add(reference));
    const found = await repo.readReferences(references.map((reference) => ({ reference })));
    const resources = found.filter((item) => core.isResource(item)) as WithId<Resource>[];
    result.push(
      ...resources.map((resource) => ({ resource, search: { mode: 'include' as const } })),
    );
    page = resources;
  }
  return result;
}

function referencesIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) {
    return [];
  }
  const { reference } = value as { reference?: unknown };
  const own = typeof reference === 'string' ? [reference] : [];
  return [...own, ...Object.values(value).flatMap(referencesIn)];
}
