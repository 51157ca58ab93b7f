// Turns what zod finds in medplum.config.json into lines for people: where, what, and what to do.
import type { z } from 'zod';
import { suggest } from '../terminal/suggest.ts';
import { configJsonSchema } from './schema.ts';

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** So many possible values are listed; of more, only the nearest one is suggested. */
const MAX_LISTED = 10;

/** The types of zod, in words. */
const JSON_TYPES: Readonly<Record<string, string>> = {
  array: 'a list',
  boolean: 'true or false',
  number: 'a number',
  object: 'an object',
  record: 'an object',
  string: 'text',
};

/**
 * @param issue - of zod
 * @param raw - what was parsed
 * @returns one line for each error, without the name of the file
 */
export function explainIssue(issue: Issue, raw: unknown): string[] {
  const path = issue.path;
  if (issue.code === 'invalid_union') {
    const nested = matchingBranch(issue);
    if (nested) {
      return nested.flatMap((inner) =>
        explainIssue({ ...inner, path: [...path, ...inner.path] } as Issue, raw),
      );
    }
  }
  const place = placeOf(path, raw);
  const prefix = place ? `${place}: ` : '';
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(path);
    return issue.keys.map((key) => {
      const hint = suggest(key, known) || ` Known: ${known.join(', ')}.`;
      return `${prefix}"${key}" is not known.${hint}`;
    });
  }
  const value = valueAt(path, raw);
  if (value === undefined) {
    return [`${place} is missing`];
  }
  if (issue.code === 'invalid_value') {
    const options = issue.values.map(String);
    const listed = options.length < MAX_LISTED ? ` Possible: ${options.join(', ')}.` : '';
    const hint = suggest(String(value), options) || listed;
    return [`${prefix}${JSON.stringify(value)} is not possible.${hint}`];
  }
  if (issue.code === 'invalid_type') {
    const expected = JSON_TYPES[issue.expected] ?? issue.expected;
    return [`${prefix}has to be ${expected}, not ${JSON.stringify(value)}`];
  }
  if (issue.code === 'invalid_key') {
    return issue.issues.map(({ message }) => `${prefix}the name ${message}`);
  }
  const shown = issue.code === 'custom' ? '' : `, not ${JSON.stringify(value)}`;
  return [`${prefix}${issue.message}${shown}`];
}

/**
 * Of the forms that a setting may have, the one that was meant: the only one of the right JSON
 * type.
 */
function matchingBranch(issue: z.core.$ZodIssueInvalidUnion): Issue[] | undefined {
  const branches = issue.errors.filter(
    (errors) => !errors.some((error) => error.path.length === 0 && error.code === 'invalid_type'),
  );
  return branches.toSorted((a, b) => a.length - b.length)[0] as Issue[] | undefined;
}

/** `bots[0].subscriptions[1].criteria (hapi-sync-bot)` */
function placeOf(path: Path, raw: unknown): string {
  const parts = path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`));
  const place = parts.join('').slice(1);
  const botName = path[0] === 'bots' ? valueAt([...path.slice(0, 2), 'name'], raw) : undefined;
  return typeof botName === 'string' ? `${place} (${botName})` : place;
}

function valueAt(path: Path, raw: unknown): unknown {
  let value = raw;
  for (const part of path) {
    value = (value as Record<PropertyKey, unknown> | undefined | null)?.[part];
  }
  return value;
}

interface JsonSchema {
  $ref?: string;
  properties?: Record<string, JsonSchema>;
  additionalProperties?: JsonSchema | boolean;
  items?: JsonSchema;
  anyOf?: JsonSchema[];
  definitions?: Record<string, JsonSchema>;
}

/** The members that an object at this place may have. */
function knownKeys(path: Path): string[] {
  const root = configJsonSchema() as JsonSchema;
  let schemas = alternatives(root, root);
  for (const part of path) {
    schemas = schemas
      .flatMap((schema) => memberSchema(schema, part) ?? [])
      .flatMap((schema) => alternatives(schema, root));
  }
  return [...new Set(schemas.flatMap(({ properties }) => Object.keys(properties ?? {})))];
}

function memberSchema(schema: JsonSchema, part: PropertyKey): JsonSchema | undefined {
  if (typeof part === 'number') {
    return schema.items;
  }
  const { additionalProperties: additional } = schema;
  const others = typeof additional === 'object' ? additional : undefined;
  return schema.properties?.[String(part)] ?? others;
}

/** A schema, what it refers to, and each of its alternatives. */
function alternatives(schema: JsonSchema, root: JsonSchema): JsonSchema[] {
  const referred = root.definitions?.[schema.$ref?.replace('#/definitions/', '') ?? ''];
  const nested = [...(referred ? [referred] : []), ...(schema.anyOf ?? [])];
  return [schema, ...nested.flatMap((inner) => alternatives(inner, root))];
}
