// Every shape an event can have; the sample events are in tests/events.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { changeFrom, isTypeAndId } from '../src/shared/fhir-events.ts';

const ID = 'b5a1c2d3-1111-4222-8333-444455556666';

function sample(name: string): Parameters<typeof changeFrom>[0] {
  return JSON.parse(readFileSync(new URL(`events/${name}.json`, import.meta.url), 'utf8')) as never;
}

test.each([
  ['patient-created', 'upsert', true],
  ['patient-updated', 'upsert', true],
  ['patient-deleted', 'delete', true],
  ['patient-deleted-older-server', 'delete', false],
  ['patient-deleted-precommit', 'delete', true],
])('%s is a %s', (name, kind, withResource) => {
  const change = changeFrom(sample(name));
  expect(change).toMatchObject({ kind, resourceType: 'Patient', id: ID });
  expect(change.resource !== undefined).toBe(withResource);
});

test('header names may have any case, and values may be lists', () => {
  const headers = { 'x-mEdPlUm-DELETED-resource': [`Patient/${ID}`] };
  expect(changeFrom({ input: {}, headers })).toEqual({
    kind: 'delete',
    resourceType: 'Patient',
    id: ID,
  });
});

test('x-medplum-delete is not a header of Medplum: an event with it is not a deletion', () => {
  const event = {
    input: { resourceType: 'Patient', id: ID },
    headers: { 'x-medplum-delete': 'true' },
  };
  expect(changeFrom(event).kind).toBe('upsert');
});

test('an interaction of delete is a deletion, with any other headers', () => {
  const event = {
    input: { resourceType: 'Patient', id: ID },
    headers: { 'X-Medplum-Interaction': 'delete' },
  };
  expect(changeFrom(event).kind).toBe('delete');
});

test.each([
  ['Patient', 'undefined'],
  ['Patient', 'null'],
  ['Patient', 'NaN'],
  ['Patient', ''],
  ['Patient', 'x'.repeat(65)],
  ['a Patient', '1'],
  ['Patient?', '1'],
  ['patient', '1'],
])('%s/%s names no resource', (type, id) => {
  expect(isTypeAndId(type, id)).toBe(false);
});

test.each([
  [{ input: {} }],
  [{ input: null }],
  [{ input: { resourceType: 'Patient' } }],
  [{ input: { resourceType: 'Patient', id: 'undefined' } }],
  [{ input: { resourceType: 'Patient', id: 'a/b' } }],
  [{ input: {}, headers: { 'X-Medplum-Deleted-Resource': 'Patient/undefined' } }],
  [{ input: {}, headers: { 'X-Medplum-Deleted-Resource': 'Patient' } }],
])('refuses an event that names no resource: %j', (event) => {
  expect(() => changeFrom(event as never)).toThrow('names no resource');
});
