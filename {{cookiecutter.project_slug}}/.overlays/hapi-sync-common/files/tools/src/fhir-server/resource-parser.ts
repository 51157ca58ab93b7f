// Reads JSON as HAPI's parser does, which drops silently what it does not know or what is empty,
// makes a list of a single value where FHIR wants a list, and refuses only values that are outside
// their type.
import { randomUUID } from 'node:crypto';
import { elementsOf, isResourceType } from './definitions.ts';
import type { ElementDefinition } from './definitions.ts';
import { FhirError, unparsable } from './errors.ts';
import { normalizeNarrative } from './narrative.ts';
import { readPrimitive } from './primitives.ts';
import type { Scalar } from './primitives.ts';

export type Json = null | Scalar | Json[] | JsonObject;
export interface JsonObject {
  [name: string]: Json;
}

/**
 * @param text - a request body
 * @param expectedType - the resource type that the URL names
 * @returns the resource with the elements that HAPI keeps, in the order of the specification
 * @throws FhirError 400 HAPI-0450 for a body that is not such a resource
 */
export function parseResource(text: string, expectedType: string): JsonObject {
  const json = parseJson(text);
  const type = json.resourceType;
  if (typeof type !== 'string') {
    throw unparsable(
      "HAPI-1838: Invalid JSON content detected, missing required element: 'resourceType'",
    );
  }
  if (type !== expectedType) {
    throw unparsable(
      `HAPI-1814: Incorrect resource type found, expected "${expectedType}" but found "${type}"`,
    );
  }
  return readResource(json, type);
}

function parseJson(text: string): JsonObject {
  const first = text.trimStart().charAt(0);
  if (first === '') {
    throw unparsable(
      'HAPI-1861: Failed to parse JSON encoded FHIR content: HAPI-1857: ' +
        'Did not find any content to parse',
    );
  }
  if (first !== '{' || text.charCodeAt(0) === BYTE_ORDER_MARK) {
    throw unparsable(
      'HAPI-1861: Failed to parse JSON encoded FHIR content: HAPI-1859: ' +
        'Content does not appear to be FHIR JSON',
    );
  }
  try {
    return JSON.parse(text, DECIMAL_WITH_ZEROS.test(text) ? keepDecimal : undefined) as JsonObject;
  } catch {
    throw unparsable('HAPI-1861: Failed to parse JSON encoded FHIR content');
  }
}

const BYTE_ORDER_MARK = 0xfe_ff;
const DECIMAL_WITH_ZEROS = /\d\.\d*0\b/;

/** Keeps `1.0` as it was written: HAPI refuses it where FHIR wants an integer. */
function keepDecimal(_name: string, value: unknown, context?: { source?: string }): unknown {
  return typeof value === 'number' && context?.source?.includes('.') ? context.source : value;
}

function readResource(json: JsonObject, type: string): JsonObject {
  return { resourceType: type, ...readElements(json, type) };
}

/** A resource inside another one: contained, or in an entry of a Bundle. */
function readNestedResource(json: JsonObject): JsonObject {
  const type = json.resourceType;
  if (typeof type !== 'string') {
    throw unparsable(
      "HAPI-1843: Missing required element 'resourceType' from JSON resource object, " +
        'unable to parse',
    );
  }
  if (!isResourceType(type)) {
    throw unparsable(
      `HAPI-1684: Unknown resource name "${type}" (this name is not known in FHIR version "R4")`,
    );
  }
  return readResource(json, type);
}

/** A value of an element and what is beside it (`_birthDate`): extensions of a primitive. */
interface ElementValue {
  value?: Json | undefined;
  extension?: JsonObject[] | undefined;
}

/** Reads the members of an object; names the specification does not have are dropped. */
function readElements(json: JsonObject, type: string): JsonObject {
  const definitions = elementsOf(type);
  const found = new Map<string, ElementValue[]>();
  const seenBases = new Map<string, string>();

  function read(name: string, value: Json | undefined, besides: Json | undefined): void {
    const definition = definitions.get(name);
    if (!definition || isExtension(name)) {
      return;
    }
    const occupant = seenBases.get(definition.base);
    if (!definition.isArray && occupant !== undefined) {
      return;
    }
    seenBases.set(definition.base, name);
    const values = readValues(definition, value, besides);
    found.set(name, definition.isArray ? values : values.slice(0, 1));
  }

  for (const [name, value] of Object.entries(json)) {
    if (!name.startsWith('_')) {
      read(name, value, json[`_${name}`]);
    }
  }
  for (const [name, value] of Object.entries(json)) {
    const plainName = name.slice(1);
    if (name.startsWith('_') && json[plainName] === undefined && isObject(value)) {
      read(plainName, undefined, value);
    }
  }
  return writeElements(definitions, found, json);
}

function isExtension(name: string): boolean {
  return name === 'extension' || name === 'modifierExtension';
}

function writeElements(
  definitions: ReadonlyMap<string, ElementDefinition>,
  found: Map<string, ElementValue[]>,
  json: JsonObject,
): JsonObject {
  const result: JsonObject = {};
  for (const [name, definition] of definitions) {
    if (isExtension(name)) {
      const extensions = readExtensions(json[name], name);
      if (extensions.length > 0) {
        result[name] = extensions;
      }
      continue;
    }
    const values = found.get(name)?.filter((value) => value.value !== undefined || value.extension);
    if (values && values.length > 0) {
      writeValues(result, definition, values);
    }
  }
  return result;
}

function writeValues(
  result: JsonObject,
  definition: ElementDefinition,
  values: ElementValue[],
): void {
  const { name, isArray } = definition;
  const plain = values.map(({ value }) => value ?? null);
  const besides = values.map(({ extension }) => (extension ? { extension } : null));
  if (isArray) {
    result[name] = plain;
    if (besides.some((item) => item !== null)) {
      result[`_${name}`] = besides;
    }
    return;
  }
  if (values[0]?.value !== undefined) {
    result[name] = values[0].value;
  }
  if (besides[0]) {
    result[`_${name}`] = besides[0];
  }
}

/**
 * Lists in lists count as one list. A single value, or a list of one, is good for either kind of
 * element.
 */
function readValues(
  definition: ElementDefinition,
  value: Json | undefined,
  besides: Json | undefined,
): ElementValue[] {
  if (Array.isArray(value)) {
    const list = Array.isArray(besides) ? besides : [];
    return value.flatMap((item, index) => readValues(definition, item, list[index]));
  }
  const isPrimitive = definition.isPrimitive && definition.type !== 'xhtml';
  const extension =
    isPrimitive && definition.name !== 'id' ? readBesides(besides, definition.name) : undefined;
  return [{ value: readValue(definition, value), extension }];
}

function readBesides(besides: Json | undefined, name: string): JsonObject[] | undefined {
  if (Array.isArray(besides)) {
    if (besides.length > 1) {
      throw unparsable(
        `HAPI-1842: Unexpected array of length ${besides.length} (expected 0 or 1) for ` +
          `element: _${name}`,
      );
    }
    return readBesides(besides[0], name);
  }
  if (!isObject(besides) || !Array.isArray(besides.extension)) {
    return undefined;
  }
  const extensions = besides.extension.map((item) => readExtension(item));
  return extensions.length > 0 ? extensions : undefined;
}

function readValue(definition: ElementDefinition, value: Json | undefined): Json | undefined {
  if (value === undefined || value === null || Array.isArray(value)) {
    return undefined;
  }
  if (definition.type === 'xhtml') {
    return readNarrative(value);
  }
  if (definition.isPrimitive) {
    if (definition.name === 'id' && typeof value !== 'string') {
      return undefined;
    }
    return isObject(value) ? undefined : readPrimitive(value, definition);
  }
  if (!isObject(value)) {
    return undefined;
  }
  if (definition.type === 'Resource') {
    return readNestedResource(value);
  }
  const elements = readElements(value, definition.type);
  return Object.keys(elements).length > 0 ? elements : undefined;
}

function readNarrative(value: Scalar | JsonObject): string | undefined {
  if (isObject(value)) {
    throw new FhirError(
      500,
      'Cannot invoke "ParserState.endingElement()" because "this.myState" is null',
    );
  }
  return normalizeNarrative(String(value));
}

function readExtensions(value: Json | undefined, name: string): JsonObject[] {
  if (value === undefined || value === null) {
    return [];
  }
  if (!Array.isArray(value)) {
    throw unparsable(
      `HAPI-1841: Syntax error parsing JSON FHIR structure: Expected ARRAY at element '${name}'`,
    );
  }
  return value.map((item) => readExtension(item)).filter((extension) => hasContent(extension));
}

/**
 * An extension without a value and without extensions of its own is dropped, but not inside another
 * extension.
 */
function hasContent(extension: JsonObject): boolean {
  return Object.keys(extension).some((name) => name === 'extension' || /^_?value/.test(name));
}

function readExtension(json: Json): JsonObject {
  if (!isObject(json)) {
    throw new FhirError(
      500,
      'Cannot invoke "BaseJsonLikeObject.get(String)" because "nextExtObj" is null',
    );
  }
  const { url, extension: nested } = json;
  const isScalar = url !== undefined && url !== null && typeof url !== 'object';
  const result: JsonObject = {
    ...(typeof json.id === 'string' && { id: json.id }),
    url: isScalar ? String(url) : null,
  };
  if (Array.isArray(nested) && nested.length > 0) {
    result.extension = nested.map((item) => readExtension(item));
  }
  const hasValue = readExtensionValue(json, result);
  if (hasValue && result.extension) {
    throw unparsable(
      `HAPI-1811: Extension (URL='${String(url)}') must not have both a value and other ` +
        'contained extensions',
    );
  }
  return result;
}

/** The last of several values counts. */
function readExtensionValue(json: JsonObject, result: JsonObject): boolean {
  const definitions = elementsOf('Extension');
  const names = Object.keys(json).map((name) =>
    name.startsWith('_') && json[name.slice(1)] === undefined ? name.slice(1) : name,
  );
  const name = names.findLast((candidate) => definitions.get(candidate)?.base === 'value[x]');
  const definition = name === undefined ? undefined : definitions.get(name);
  if (name === undefined || !definition) {
    return false;
  }
  for (const other of names) {
    const otherDefinition = definitions.get(other);
    if (otherDefinition?.base === 'value[x]' && other !== name) {
      readValues(otherDefinition, json[other], undefined);
    }
  }
  const [value] = readValues(definition, json[name], json[`_${name}`]);
  if (value?.value !== undefined || value?.extension) {
    writeValues(result, definition, [value]);
  }
  return true;
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Gives contained resources the ids that HAPI gives them: without `#`, each once, a new one where
 * there is none.
 *
 * @returns the same resource, or a copy with other contained resources
 */
export function withContainedIds(resource: JsonObject): JsonObject {
  if (!Array.isArray(resource.contained)) {
    return resource;
  }
  const byId = new Map<string, JsonObject>();
  for (const item of resource.contained as JsonObject[]) {
    const id = typeof item.id === 'string' ? item.id.replace(/^#/, '') : randomUUID();
    if (!byId.has(id)) {
      byId.set(id, { ...item, id });
    }
  }
  return { ...resource, contained: [...byId.values()] };
}
