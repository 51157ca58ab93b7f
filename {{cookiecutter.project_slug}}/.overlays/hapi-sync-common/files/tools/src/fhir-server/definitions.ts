// What FHIR R4 defines: resource types, their elements and their search parameters, without what
// Medplum adds.
import * as core from '@medplum/core';
import type { SearchParameter } from '@medplum/fhirtypes';
import requiredCodes from './required-codes.json' with { type: 'json' };

export { loadDefinitions } from '../medplum/definitions.ts';

/**
 * One element as it stands in JSON: a choice such as `deceased[x]` is one element for each of its
 * types.
 */
export interface ElementDefinition {
  /** In JSON, for example `deceasedBoolean`. */
  name: string;
  /** The element it belongs to, for example `deceased[x]`: only one of a choice may be there. */
  base: string;
  /** `string`, `HumanName`, `Resource`, or a type of its own such as `PatientContact`. */
  type: string;
  isArray: boolean;
  /** Starts with a lower-case letter in FHIR: `boolean`, `date`, `xhtml`, … */
  isPrimitive: boolean;
  /** The only codes that HAPI accepts, where the element has a required binding. */
  codes?: ReadonlySet<string> | undefined;
  /** For a Reference: the resource types it may point to; absent if any. */
  targetTypes?: ReadonlySet<string> | undefined;
}

const STRUCTURE_DEFINITION = 'http://hl7.org/fhir/StructureDefinition/';
const CORE_SEARCH_PARAMETER = 'http://hl7.org/fhir/SearchParameter/';

/** Elements that Medplum adds to FHIR's Meta. */
const MEDPLUM_META = new Set([
  'project',
  'author',
  'onBehalfOf',
  'account',
  'accounts',
  'compartment',
  'deleted',
]);

/**
 * Parameters that every type has and whose definition has no address; Medplum's own are not among
 * them.
 */
const COMMON_PARAMETERS = new Set([
  '_id',
  '_lastUpdated',
  '_profile',
  '_security',
  '_source',
  '_tag',
]);

/**
 * @returns whether FHIR R4 has this resource type (Medplum's own, such as Bot, are not part of it)
 */
export function isResourceType(type: string): boolean {
  const { kind, url = '' } = core.tryGetDataType(type) ?? {};
  return (
    kind === 'resource' &&
    url.startsWith('http://hl7.org/') &&
    type !== 'Resource' &&
    type !== 'DomainResource'
  );
}

const elementsOfTypes = new Map<string, ReadonlyMap<string, ElementDefinition>>();

/** @returns the elements of a type by their name in JSON, in the order of the specification */
export function elementsOf(type: string): ReadonlyMap<string, ElementDefinition> {
  let elements = elementsOfTypes.get(type);
  if (!elements) {
    elements = new Map(listElements(type).map((element) => [element.name, element]));
    elementsOfTypes.set(type, elements);
  }
  return elements;
}

function listElements(type: string): ElementDefinition[] {
  const definition = core.tryGetDataType(type);
  return Object.entries(definition?.elements ?? {}).flatMap(([base, element]) => {
    if (type === 'Meta' && MEDPLUM_META.has(base)) {
      return [];
    }
    return element.type.map((elementType) => {
      const code = elementType.code;
      const name = base.endsWith('[x]') ? base.slice(0, -3) + capitalize(code) : base;
      return {
        name,
        base,
        type: code,
        isArray: Boolean(element.isArray),
        isPrimitive: /^[a-z]/.test(code),
        codes:
          code === 'code' && element.binding?.strength === 'required'
            ? codesOf(element.binding.valueSet)
            : undefined,
        targetTypes: code === 'Reference' ? targetTypesOf(elementType.targetProfile) : undefined,
      };
    });
  });
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const codeSets = new Map(
  Object.entries(requiredCodes).map(([valueSet, codes]) => [valueSet, new Set(codes)]),
);

function codesOf(valueSet = ''): ReadonlySet<string> | undefined {
  return codeSets.get(valueSet.split('|')[0] ?? '');
}

function targetTypesOf(profiles: string[] = []): ReadonlySet<string> | undefined {
  const types = profiles.map((profile) => profile.replace(STRUCTURE_DEFINITION, ''));
  return types.length === 0 || types.includes('Resource') ? undefined : new Set(types);
}

const parametersOfTypes = new Map<string, ReadonlyMap<string, SearchParameter>>();

/** @returns the search parameters that HAPI has for a type, by name */
export function searchParametersOf(type: string): ReadonlyMap<string, SearchParameter> {
  let parameters = parametersOfTypes.get(type);
  if (!parameters) {
    const all = Object.values(core.getSearchParameters(type) ?? {});
    const known = all.filter(
      ({ code, url }) => url?.startsWith(CORE_SEARCH_PARAMETER) ?? COMMON_PARAMETERS.has(code),
    );
    parameters = new Map(known.map((parameter) => [parameter.code, parameter]));
    parametersOfTypes.set(type, parameters);
  }
  return parameters;
}
