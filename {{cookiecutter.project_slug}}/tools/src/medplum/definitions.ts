// What FHIR and Medplum define: structure definitions and search parameters for @medplum/core's
// global schema, and profiles.
import * as core from '@medplum/core';
import type { InternalTypeSchema } from '@medplum/core';
import type { Bundle, SearchParameter, StructureDefinition } from '@medplum/fhirtypes';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

/**
 * Reads the definitions, once a process and before any search. A structure definition is indexed
 * when its type is first asked for: a program uses some twenty of the 700 types, and indexing all
 * of them takes 0.25 s.
 */
export function loadDefinitions(): void {
  if (core.isDataTypeLoaded('Patient')) {
    return;
  }
  const definitions = readCompressed<{
    StructureDefinition: Bundle<StructureDefinition>;
    SearchParameter: Bundle<SearchParameter>;
  }>('fhir');
  core.indexDefaultSearchParameters(definitions.StructureDefinition);
  core.indexSearchParameterBundle(definitions.SearchParameter);
  for (const { resource } of definitions.StructureDefinition.entry ?? []) {
    if (resource?.url.endsWith(`/StructureDefinition/${resource.type}`)) {
      indexOnDemand(resource);
    } else if (resource) {
      core.loadDataType(resource);
    }
  }
}

/**
 * Makes the schema's entries of a type and of its inner types, such as Patient and PatientContact,
 * index the definition when one of them is first read.
 */
function indexOnDemand(definition: StructureDefinition): void {
  const schema = core.getAllDataTypes();
  const names = [definition.type, ...innerTypesOf(definition)];
  // What @medplum/core knows without definitions: it reads ElementDefinition to index a definition,
  // also that of ElementDefinition.
  const known = names.map((name) => schema[name]);
  const setEntry = (name: string, value: InternalTypeSchema | undefined): void => {
    const settings = { configurable: true, enumerable: true, writable: true };
    Object.defineProperty(schema, name, { ...settings, value });
  };
  const index = (): void => {
    names.forEach((name, position) => setEntry(name, known[position]));
    core.loadDataType(definition);
  };
  for (const name of names) {
    Object.defineProperty(schema, name, {
      configurable: true,
      enumerable: true,
      get() {
        index();
        return schema[name];
      },
      set(value: InternalTypeSchema) {
        setEntry(name, value);
      },
    });
  }
}

/** @returns the types that @medplum/core makes of elements that have elements of their own */
function innerTypesOf(definition: StructureDefinition): string[] {
  const elements = definition.snapshot?.element.slice(1) ?? [];
  return elements
    .filter((element, position) => {
      const hasType = ['BackboneElement', 'Element'].includes(element.type?.[0]?.code ?? '');
      return hasType && elements[position + 1]?.path.startsWith(`${element.path}.`);
    })
    .map(core.getElementDefinitionTypeName);
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
