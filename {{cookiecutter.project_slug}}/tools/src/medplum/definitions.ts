// What FHIR and Medplum define: structure definitions and search parameters for @medplum/core's
// global schema, and profiles.
import * as core from '@medplum/core';
import type { Bundle, SearchParameter, StructureDefinition } from '@medplum/fhirtypes';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

/** Reads the definitions, once a process and before any search; it takes 0.2 s. */
export function loadDefinitions(): void {
  if (core.isDataTypeLoaded('Patient')) {
    return;
  }
  const definitions = readCompressed<{
    StructureDefinition: Bundle;
    SearchParameter: Bundle<SearchParameter>;
  }>('fhir');
  core.indexStructureDefinitionBundle(definitions.StructureDefinition);
  core.indexSearchParameterBundle(definitions.SearchParameter);
}

let profiles: Map<string, StructureDefinition> | undefined;

/** @returns a profile that every Medplum server knows from the start, such as FHIR's vital signs */
export function standardProfile(url: string): StructureDefinition | undefined {
  if (!url.startsWith('http://hl7.org/fhir/StructureDefinition/')) {
    return undefined;
  }
  profiles ??= new Map(
    readCompressed<StructureDefinition[]>('profiles').map((profile) => [profile.url, profile]),
  );
  return profiles.get(url);
}

function readCompressed<T>(name: string): T {
  const file = new URL(`../../definitions/${name}.json.gz`, import.meta.url);
  return JSON.parse(gunzipSync(readFileSync(file)).toString()) as T;
}
