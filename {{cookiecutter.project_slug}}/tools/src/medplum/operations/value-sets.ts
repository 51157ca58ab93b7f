// ValueSet/$expand and $validate-code for value sets of the project: lists of codes and whole code
// systems.
import * as core from '@medplum/core';
import type { FhirRequest, FhirResponse } from '@medplum/fhir-router';
import type {
  CodeSystem,
  CodeSystemConcept,
  Parameters,
  ValueSet,
  ValueSetComposeInclude,
  ValueSetExpansionContains,
} from '@medplum/fhirtypes';
import { NotAvailableError } from '../not-available.ts';
import type { LocalRepository } from '../repository.ts';

const MAX_EXPANSION = 1000;
/** With a filter, Medplum assumes that someone is typing. */
const FILTERED_COUNT = 10;

/** A real server has these value sets and code systems from the start. */
const STANDARD =
  /^https?:\/\/(hl7\.org|terminology\.hl7\.org|loinc\.org|snomed\.info|unitsofmeasure\.org)\//;

export async function expandValueSet(
  request: FhirRequest,
  repo: LocalRepository,
): Promise<FhirResponse> {
  const input = inputOf(request, ['url', 'filter', 'count']);
  const url = input['url']?.split('|')[0];
  if (!url) {
    return [core.badRequest('Missing url')];
  }
  const valueSet = findByUrl<ValueSet>(repo, 'ValueSet', url);
  const filter = input['filter']?.trim().toLowerCase();
  const found = expand(repo, valueSet).filter((concept) => matchesText(concept, filter));
  const count = Number(input['count'] ?? (filter ? FILTERED_COUNT : MAX_EXPANSION));
  const isTooLarge = found.length >= MAX_EXPANSION;
  const expansion = {
    total: isTooLarge ? MAX_EXPANSION + 1 : found.length,
    timestamp: new Date().toISOString(),
    contains: found.slice(0, isTooLarge ? MAX_EXPANSION : count),
  };
  return [core.allOk, { ...valueSet, expansion }];
}

/** Each word of the filter must begin a word of the display. */
function matchesText({ display = '' }: ValueSetExpansionContains, filter?: string): boolean {
  const words = display.toLowerCase().split(/[^\p{L}\p{N}]+/u);
  return (filter ?? '').split(/\s+/).every((part) => words.some((word) => word.startsWith(part)));
}

function expand(repo: LocalRepository, valueSet: ValueSet): ValueSetExpansionContains[] {
  const { expansion, compose } = valueSet;
  if (expansion?.contains?.length && !expansion.parameter) {
    return expansion.contains;
  }
  if (!compose?.include.length) {
    const text = 'Missing ValueSet definition';
    throw new core.OperationOutcomeError(core.badRequest(text, 'ValueSet.compose.include'));
  }
  return compose.include.flatMap((include) => expandInclude(repo, include));
}

function expandInclude(
  repo: LocalRepository,
  { system, concept, filter, valueSet }: ValueSetComposeInclude,
): ValueSetExpansionContains[] {
  if (valueSet) {
    return valueSet.flatMap((url) => expand(repo, findByUrl<ValueSet>(repo, 'ValueSet', url)));
  }
  if (!system) {
    const text = 'Missing system URL for ValueSet include';
    throw new core.OperationOutcomeError(core.badRequest(text, 'ValueSet.compose.include.system'));
  }
  if (filter) {
    throw new NotAvailableError('$expand of a ValueSet with compose.include.filter');
  }
  const known = flatten(findByUrl<CodeSystem>(repo, 'CodeSystem', system).concept ?? []);
  const displays = new Map(known.map(({ code, display }) => [code, display]));
  const listed = concept?.filter(({ code }) => displays.has(code)) ?? known;
  return listed.map(({ code, display }) => ({
    system,
    code: code!,
    display: display ?? displays.get(code!),
  })) as ValueSetExpansionContains[];
}

function flatten(concepts: CodeSystemConcept[]): CodeSystemConcept[] {
  return concepts.flatMap((concept) => [concept, ...flatten(concept.concept ?? [])]);
}

function findByUrl<T extends ValueSet | CodeSystem>(
  repo: LocalRepository,
  type: T['resourceType'],
  url: string,
): T {
  for (const resource of repo.state.store.living<T>(type)) {
    if (resource.url === url) {
      return resource;
    }
  }
  if (STANDARD.test(url)) {
    throw new NotAvailableError(`${type} ${url}`);
  }
  throw new core.OperationOutcomeError(core.badRequest(`${type} ${url} not found`));
}

/** Does not need the CodeSystem of a listed code, unlike `$expand`. */
export async function validateCode(
  request: FhirRequest,
  repo: LocalRepository,
): Promise<FhirResponse> {
  const input = inputOf(request, ['url', 'system', 'code', 'display']);
  const { id } = request.params;
  const { url, system, code, display } = input;
  if (!id && !url) {
    return [core.badRequest('No ValueSet specified')];
  }
  if (!system || !code) {
    return [core.badRequest('No coding specified')];
  }
  const valueSet = id
    ? await repo.readResource<ValueSet>('ValueSet', id)
    : findByUrl<ValueSet>(repo, 'ValueSet', url!);
  const found = includedCode(repo, valueSet, system, code);
  const result = found !== undefined && (!display || found.display === display);
  const parameter: Parameters['parameter'] = [{ name: 'result', valueBoolean: result }];
  if (found?.display) {
    parameter.push({ name: 'display', valueString: found.display });
  }
  return [core.allOk, { resourceType: 'Parameters', parameter }];
}

interface FoundCode {
  display?: string | undefined;
}

function includedCode(
  repo: LocalRepository,
  valueSet: ValueSet,
  system: string,
  code: string,
): FoundCode | undefined {
  const includes = (valueSet.compose?.include ?? []).filter((item) => item.system === system);
  if (includes.some(({ filter }) => filter)) {
    throw new NotAvailableError('$validate-code of a ValueSet with compose.include.filter');
  }
  const isIncluded = includes.some(
    ({ concept }) => !concept || concept.some((item) => item.code === code),
  );
  if (!isIncluded) {
    return undefined;
  }
  for (const codeSystem of repo.state.store.living<CodeSystem>('CodeSystem')) {
    if (codeSystem.url === system && codeSystem.content !== 'example') {
      const known = flatten(codeSystem.concept ?? []).find((concept) => concept.code === code);
      return known && { display: known.display };
    }
  }
  return {};
}

/** @returns the parameters of a GET's query, or of a POST's Parameters or plain object */
function inputOf({ method, query, body }: FhirRequest, known: string[]): Record<string, string> {
  const given: Record<string, unknown> = method === 'POST' ? bodyParameters(body) : query;
  const unknown = Object.keys(given).filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new NotAvailableError(`The parameter ${unknown[0]} of this operation`);
  }
  return Object.fromEntries(Object.entries(given).map(([name, value]) => [name, String(value)]));
}

function bodyParameters(body: unknown): Record<string, unknown> {
  if (!core.isResource<Parameters>(body, 'Parameters')) {
    return body as Record<string, unknown>;
  }
  const entries = (body.parameter ?? []).map(({ name, ...value }) => [
    name,
    Object.values(value)[0],
  ]);
  return Object.fromEntries(entries) as Record<string, unknown>;
}
