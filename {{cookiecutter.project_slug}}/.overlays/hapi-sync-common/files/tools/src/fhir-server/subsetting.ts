// `_elements` and `_summary`: parts of resources, marked with the tag SUBSETTED so that they are
// not written back.
import * as core from '@medplum/core';
import type { WithId } from '@medplum/core';
import type { Coding, Resource } from '@medplum/fhirtypes';
import { elementsOf } from './definitions.ts';
import { FhirError } from './errors.ts';
import type { JsonObject } from './resource-parser.ts';

const SUBSETTED: Coding = {
  system: 'http://terminology.hl7.org/CodeSystem/v3-ObservationValue',
  code: 'SUBSETTED',
  display: 'Resource encoded in summary mode',
};

export type Summary = 'true' | 'text' | 'data' | 'count' | 'false';

/** What a request wants to see of each resource. */
export interface Subset {
  summary: Summary;
  /** Paths such as `name` or `Patient.name.family`; absent: everything. */
  elements?: string[];
}

/**
 * @param headers - of the response; HAPI sends them with the error, too
 * @throws FhirError 400 HAPI-0304 where both are asked for
 */
export function readSubset(query: URLSearchParams, headers: Record<string, string> = {}): Subset {
  const text = query.get('_summary') ?? 'false';
  const summary = ['true', 'text', 'data', 'count'].includes(text) ? (text as Summary) : 'false';
  const elements = (query.get('_elements') ?? '')
    .split(',')
    .map((path) => path.trim())
    .filter(Boolean);
  if (elements.length === 0) {
    return { summary };
  }
  if (summary !== 'false') {
    const text = 'HAPI-0304: Cannot combine the _summary and _elements parameters';
    throw new FhirError(400, text, { headers });
  }
  return { summary, elements };
}

/** @returns the part of a resource that was asked for; the resource itself if that is all of it */
export function applySubset(
  resource: WithId<Resource>,
  { summary, elements }: Subset,
): WithId<Resource> {
  if (elements) {
    return subsetted(pickElements(resource, elements));
  }
  switch (summary) {
    case 'true':
      return subsetted(pick(resource, summaryElements(resource.resourceType)));
    case 'text':
      return subsetted(pick(resource, ['text', ...mandatoryElements(resource.resourceType)]));
    case 'data':
      return subsetted(without(resource, 'text'));
    default:
      return resource;
  }
}

const ALWAYS = ['resourceType', 'id', 'meta'];

function pick(resource: WithId<Resource>, names: Iterable<string>): WithId<Resource> {
  const kept = new Set([...ALWAYS, ...names]);
  const entries = Object.entries(resource).filter(([name]) => kept.has(name.replace(/^_/, '')));
  return Object.fromEntries(entries) as unknown as WithId<Resource>;
}

function without(resource: WithId<Resource>, name: string): WithId<Resource> {
  const entries = Object.entries(resource).filter(([key]) => key !== name);
  return Object.fromEntries(entries) as unknown as WithId<Resource>;
}

function subsetted(resource: WithId<Resource>): WithId<Resource> {
  return {
    ...resource,
    meta: { ...resource.meta, tag: [...(resource.meta?.tag ?? []), SUBSETTED] },
  };
}

/** The names in JSON of the elements that FHIR marks as summary. */
function summaryElements(type: string): string[] {
  return namesInJson(type, core.getDataType(type).summaryProperties);
}

function mandatoryElements(type: string): string[] {
  return namesInJson(type, core.getDataType(type).mandatoryProperties);
}

function namesInJson(type: string, bases: Set<string> | undefined): string[] {
  const elements = [...elementsOf(type).values()];
  return elements.filter(({ base }) => bases?.has(base.replace('[x]', ''))).map(({ name }) => name);
}

function pickElements(resource: WithId<Resource>, elements: string[]): WithId<Resource> {
  const prefix = `${resource.resourceType}.`;
  const paths = elements.flatMap((element) => {
    if (element.startsWith(prefix)) {
      return element.slice(prefix.length);
    }
    return /^[A-Z]/.test(element) ? [] : element;
  });
  return pickPaths({ ...resource } as unknown as JsonObject, [
    ...ALWAYS,
    ...paths,
  ]) as unknown as WithId<Resource>;
}

function pickPaths(value: JsonObject, paths: string[]): JsonObject {
  const result: JsonObject = {};
  for (const [key, member] of Object.entries(value)) {
    const name = key.replace(/^_/, '');
    const nested = paths.flatMap((path) =>
      path.startsWith(`${name}.`) ? path.slice(name.length + 1) : [],
    );
    if (paths.some((path) => path === name || `${path}[x]` === name)) {
      result[key] = member;
    } else if (nested.length > 0 && typeof member === 'object' && member !== null) {
      const items = [member].flat() as JsonObject[];
      const picked = items.map((item) => pickPaths(item, nested));
      result[key] = Array.isArray(member) ? picked : picked[0]!;
    }
  }
  return result;
}

/** What marks a Bundle whose resources are only parts. */
export function subsettedBundleMeta(lastUpdated: string): { lastUpdated: string; tag: Coding[] } {
  return { lastUpdated, tag: [SUBSETTED] };
}
