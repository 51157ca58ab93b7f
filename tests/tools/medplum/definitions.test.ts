// FHIR's definitions in tools/definitions are a part of the whole package: @medplum/core builds the
// same schema from both.
import * as core from '@medplum/core';
import { spawnSync } from 'node:child_process';
import { expect, onTestFinished, test } from 'vitest';
import { loadDefinitions } from '../../tools/src/medplum/definitions.ts';

/** Texts for people, which @medplum/core carries along and the local servers do not show. */
const TEXTS = [
  /^types\..*(?<!\.elements)\.description$/,
  /^types\..*\.binding\.extension$/,
  /^searches\.\w+\.searchParams\.[^.]+\.(contact|date|description|experimental|extension|jurisdiction|publisher|xpath)$/,
  /^searches\.\w+\.searchParams\.[^.]+\._\w+(\.\d+)?\.extension$/,
];

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

test('the schema and the search parameters are those of the whole package', () => {
  const [whole, ours] = [schemaOf('whole'), schemaOf('ours')];
  expect(Object.keys((whole as { types: object }).types).length).toBeGreaterThan(700);
  const different = differences(whole, ours).filter(
    (path) => !TEXTS.some((text) => text.test(path)),
  );
  expect(different).toEqual([]);
});

test('a definition that a program indexes itself replaces the one of the local servers', () => {
  loadDefinitions();
  const schema = core.getAllDataTypes();
  const standard = Object.getOwnPropertyDescriptor(schema, 'Slot')!;
  onTestFinished(() => void Object.defineProperty(schema, 'Slot', standard));
  const own = { resourceType: 'StructureDefinition', status: 'active', abstract: false } as const;
  const elements = ['Slot', 'Slot.own'].map((path) => ({
    id: path,
    path,
    min: 0,
    max: '1',
    base: { path, min: 0, max: '1' },
    type: [{ code: 'string' }],
  }));
  core.loadDataType({
    ...own,
    name: 'Slot',
    kind: 'resource',
    type: 'Slot',
    url: 'http://hl7.org/fhir/StructureDefinition/Slot',
    snapshot: { element: elements },
  });
  expect(Object.keys(core.getDataType('Slot').elements)).toEqual(['own']);
});

/** The schema is global, one for each process. */
function schemaOf(which: 'whole' | 'ours'): Json {
  const script = `${import.meta.dirname}/print-schema.ts`;
  const { stdout, stderr } = spawnSync(process.execPath, [script, which], {
    encoding: 'utf8',
    maxBuffer: 1e8,
  });
  expect(stderr).toBe('');
  return JSON.parse(stdout);
}

/** @returns where the two are not the same, as `a.b.0` */
function differences(first: Json | undefined, second: Json | undefined, path = ''): string[] {
  if (first === second) {
    return [];
  }
  if (typeof first !== 'object' || typeof second !== 'object' || !first || !second) {
    return [path];
  }
  const keys = new Set([...Object.keys(first), ...Object.keys(second)]);
  const at = (value: Json, key: string): Json | undefined =>
    (value as { [key: string]: Json })[key];
  return [...keys].flatMap((key) =>
    differences(at(first, key), at(second, key), path ? `${path}.${key}` : key),
  );
}
