// References between resources: how HAPI reads them, and where they stand in a resource.
import * as core from '@medplum/core';
import type { Resource, SearchParameter } from '@medplum/fhirtypes';
import { elementsOf, isResourceType, searchParametersOf } from './definitions.ts';
import { FhirError } from './errors.ts';
import type { JsonObject } from './resource-parser.ts';
import { searchValuesOf } from './search-values.ts';

/**
 * The parts of `https://example.com/fhir/Patient/1/_history/2`; a relative reference has no base.
 */
export interface ReferenceParts {
  base?: string;
  type?: string;
  id?: string;
}

/** Splits a reference as HAPI's IdType does, without its version. */
export function parseReference(text: string): ReferenceParts {
  if (text.startsWith('urn:') || text.startsWith('#')) {
    return { id: text };
  }
  const [path = ''] = text.split('/_history/');
  const slash = path.lastIndexOf('/');
  const id = path.slice(slash + 1);
  if (slash <= 0) {
    return { id };
  }
  const typeSlash = path.lastIndexOf('/', slash - 1);
  if (typeSlash > 0 && path.charAt(typeSlash - 1) === '/') {
    return { type: id };
  }
  const type = path.slice(typeSlash + 1, slash);
  return typeSlash > 4 ? { base: path.slice(0, typeSlash), type, id } : { type, id };
}

/** A Reference somewhere in a resource; `reference` of the element can be changed in place. */
export interface ReferenceElement {
  element: JsonObject & { reference: string };
  /** Without the resource type, for example `link.other`. */
  path: string;
  targetTypes?: ReadonlySet<string> | undefined;
}

/** @returns every Reference with a `reference`, in extensions and contained resources as well */
export function referenceElementsOf(resource: JsonObject): ReferenceElement[] {
  const found: ReferenceElement[] = [];
  visitElements(resource, String(resource.resourceType), '', (value, type, path, targetTypes) => {
    if (type === 'Reference' && typeof value.reference === 'string') {
      found.push({ element: value as ReferenceElement['element'], path, targetTypes });
    }
  });
  return found;
}

type Visitor = (
  value: JsonObject,
  type: string,
  path: string,
  targetTypes?: ReadonlySet<string>,
) => void;

function visitElements(parent: JsonObject, type: string, path: string, visit: Visitor): void {
  const definitions = elementsOf(type);
  for (const [name, value] of Object.entries(parent)) {
    const definition = definitions.get(name.startsWith('_') ? name.slice(1) : name);
    if (!definition || typeof value !== 'object' || value === null) {
      continue;
    }
    const childPath = path === '' ? name : `${path}.${name}`;
    for (const item of [value].flat()) {
      if (typeof item !== 'object' || item === null) {
        continue;
      }
      const child = item as JsonObject;
      const childType = childTypeOf(child, name, definition.type);
      visit(child, childType, childPath, definition.targetTypes);
      visitElements(child, childType, childPath, visit);
    }
  }
}

/**
 * A contained resource names its type itself; beside a primitive (`_birthDate`) stand only
 * extensions.
 */
function childTypeOf(child: JsonObject, name: string, type: string): string {
  if (type === 'Resource') {
    return String(child.resourceType);
  }
  return name.startsWith('_') ? 'Element' : type;
}

/**
 * Replaces uri values that stand for another entry of the transaction (`urn:uuid:…`), for example
 * an Attachment's url.
 *
 * @param addresses - what each placeholder became
 */
export function replaceUris(resource: JsonObject, addresses: ReadonlyMap<string, string>): void {
  const replace = (value: JsonObject, type: string): void => {
    for (const definition of elementsOf(type).values()) {
      const text = value[definition.name];
      const address =
        typeof text === 'string' && URI_TYPES.has(definition.type)
          ? addresses.get(text)
          : undefined;
      if (address !== undefined) {
        value[definition.name] = address;
      }
    }
  };
  replace(resource, String(resource.resourceType));
  visitElements(resource, String(resource.resourceType), '', replace);
}

const URI_TYPES = new Set(['uri', 'url', 'canonical', 'oid', 'uuid']);

/** A reference that HAPI checks and follows: one that a search parameter covers. */
export interface Link {
  /** For example `Patient/1`. */
  target: string;
  /** The path of its search parameter, for example `Observation.subject`. */
  path: string;
}

/** @throws FhirError 422 HAPI-0931 for a reference to a type that the element does not allow */
export function assertTargetTypes(resource: JsonObject): void {
  for (const { element, path, targetTypes } of referenceElementsOf(resource)) {
    const { type } = parseReference(element.reference);
    const isConditional = element.reference.includes('?');
    if (type && targetTypes && !isConditional && !targetTypes.has(type)) {
      const where = `${String(resource.resourceType)}.${path}`;
      throw new FhirError(
        422,
        `HAPI-0931: Invalid reference found at path '${where}'. ` +
          `Resource type '${type}' is not valid for this path`,
      );
    }
  }
}

/**
 * Lists the links of a resource.
 *
 * @param mustBeValid - false while a transaction still has placeholders: unusable references are
 *   left out then
 * @throws FhirError 400 HAPI-0505 to 0508 for a reference that HAPI cannot follow
 */
export function linksOf(resource: JsonObject, mustBeValid = true): Link[] {
  const links: Link[] = [];
  const names = Object.keys(resource);
  for (const { parameter, path, elements } of linkParametersOf(String(resource.resourceType))) {
    // Evaluating an expression costs far more than seeing that nothing it could select is there.
    if (!elements.some((element) => names.some((name) => name.startsWith(element)))) {
      continue;
    }
    for (const { type, value } of searchValuesOf(resource as unknown as Resource, parameter)) {
      const target = linkTarget(type, value, path, parameter.target ?? [], mustBeValid);
      if (target) {
        links.push({ target, path });
      }
    }
  }
  return links;
}

interface LinkParameter {
  parameter: SearchParameter;
  /** See Link. */
  path: string;
  /** The beginnings of the names of the resource's own elements in which it looks. */
  elements: string[];
}

const linkParametersOfTypes = new Map<string, readonly LinkParameter[]>();

function linkParametersOf(type: string): readonly LinkParameter[] {
  let parameters = linkParametersOfTypes.get(type);
  if (!parameters) {
    parameters = [...searchParametersOf(type).values()]
      .filter((parameter) => parameter.type === 'reference')
      .map((parameter) => toLinkParameter(parameter, type));
    linkParametersOfTypes.set(type, parameters);
  }
  return parameters;
}

function toLinkParameter(parameter: SearchParameter, type: string): LinkParameter {
  const { expression = '' } = parameter;
  const path = new RegExp(`\\b${type}\\.[\\w.]+(?!\\w*\\()`).exec(expression)?.[0];
  const ownElements = expression.matchAll(new RegExp(`\\b${type}\\.(\\w+)`, 'g'));
  const elements = [...ownElements].map(([, element]) => element ?? '');
  return {
    parameter,
    path: path?.replace(/\.$/, '') ?? type,
    elements: elements.length > 0 ? elements : [''],
  };
}

function linkTarget(
  valueType: string,
  value: unknown,
  path: string,
  targetTypes: readonly string[],
  mustBeValid: boolean,
): string | undefined {
  const text = referenceText(valueType, value);
  if (!text || text.startsWith('#')) {
    return undefined;
  }
  const { base, type, id } = parseReference(text);
  const problem = typeProblem(type);
  if (problem) {
    return mustBeValid ? refuse(path, problem, text) : undefined;
  }
  if (targetTypes.length > 0 && !targetTypes.includes(type!)) {
    return undefined;
  }
  if (base) {
    throw new FhirError(
      400,
      `HAPI-0507: Resource contains external reference to URL "${text}" but this server is ` +
        'not configured to allow external references',
    );
  }
  if (!id) {
    return mustBeValid ? refuse(path, ['0508', 'Does not contain resource ID'], text) : undefined;
  }
  return `${type}/${id}`;
}

/** HAPI's number and reason for a reference without a type that it knows. */
function typeProblem(type: string | undefined): [string, string] | undefined {
  if (type === undefined) {
    return ['0505', 'Does not contain resource type'];
  }
  return isResourceType(type)
    ? undefined
    : ['0506', 'Resource type is unknown or not supported on this server'];
}

function refuse(path: string, [number, reason]: string[], text: string): never {
  throw new FhirError(
    400,
    `HAPI-${number}: Invalid resource reference found at path[${path}] - ${reason} - ${text}`,
  );
}

/**
 * `Questionnaire/1` in a canonical is followed like a reference; other canonicals and uris are not.
 */
function referenceText(valueType: string, value: unknown): string | undefined {
  if (typeof value === 'string') {
    const { base, type, id } = parseReference(value);
    return valueType === 'canonical' && type && id && !base ? value : undefined;
  }
  return core.isReference(value) ? value.reference : undefined;
}
