// What of a Medplum resource leaves Medplum.
import type { Composition, Consent, Patient } from '@medplum/fhirtypes';
import { expect, test } from 'vitest';
import { referencesOf, sanitize } from '../src/shared/fhir-sanitize.ts';

const SOURCE = { system: 'https://medplum.com/patient-id', value: 'p1' };

function sanitized(patient: Omit<Patient, 'resourceType'>): { body: Patient; leftOut: number } {
  const resource: Patient = { resourceType: 'Patient', id: 'p1', ...patient };
  const before = JSON.stringify(resource);
  const result = sanitize(resource, SOURCE, (reference) => (reference.startsWith('Patient/') ? reference : undefined));
  expect(JSON.stringify(resource), 'the source is not changed').toBe(before);
  return result;
}

test('of meta, only security, tag and profile go', () => {
  const kept = { security: [{ code: 'R' }], tag: [{ code: 'vip' }], profile: ['http://example.org/p'] };
  const meta = { ...kept, project: 'x', author: { reference: 'Practitioner/1' }, account: { reference: 'Patient/9' } };
  const more = { versionId: '1', lastUpdated: '2026-01-01T00:00:00Z', compartment: [{ reference: 'Patient/p1' }] };
  const { body, leftOut } = sanitized({ meta: { ...meta, ...more } });
  expect(body.meta).toEqual(kept);
  expect(leftOut).toBe(0);
  expect(sanitized({ meta: more }).body).not.toHaveProperty('meta');
});

test("the source identifier is there once, beside the team's own", () => {
  const mrn = { system: 'urn:mrn', value: '7' };
  expect(sanitized({}).body.identifier).toEqual([SOURCE]);
  expect(sanitized({ identifier: [SOURCE, mrn, { ...SOURCE }] }).body.identifier).toEqual([mrn, SOURCE]);
  const second = { ...SOURCE, value: 'p2' };
  expect(sanitized({ identifier: [second] }).body.identifier).toEqual([second, SOURCE]);
});

test('where a type has but one identifier, it stays the only one', () => {
  const composition = { resourceType: 'Composition', identifier: { value: '1' } } as Composition;
  expect(sanitize(composition, SOURCE, () => undefined).body.identifier).toEqual({ value: '1' });
});

test('references to what is not synced are left out and counted; their words stay', () => {
  const { body, leftOut } = sanitized({
    managingOrganization: { reference: 'Organization/1', display: 'A clinic' },
    generalPractitioner: [{ reference: 'Practitioner/1' }, { identifier: { value: 'x' } }],
    link: [
      { other: { reference: 'RelatedPerson/1' }, type: 'seealso' },
      { other: { reference: 'Patient/2' }, type: 'refer' },
    ],
    contact: [{ organization: { reference: 'https://elsewhere.example.org/Organization/1' }, gender: 'other' }],
  });
  expect(body).toMatchObject({
    managingOrganization: { display: 'A clinic' },
    generalPractitioner: [{ identifier: { value: 'x' } }],
    link: [{ other: { reference: 'Patient/2' }, type: 'refer' }],
    contact: [{ gender: 'other' }],
  });
  expect(body.managingOrganization).not.toHaveProperty('reference');
  expect(body.contact?.[0]).not.toHaveProperty('organization');
  expect(leftOut).toBe(4);
});

test.each([
  ['Patient/2', 'Patient/2'],
  ['Patient/2/_history/31', 'Patient/2'],
  ['Patient/2/other', 'Patient/2/other'],
  ['https://elsewhere.example.org/Patient/2', 'https://elsewhere.example.org/Patient/2'],
  ['urn:uuid:2', 'urn:uuid:2'],
])('a reference to %s is asked for as %s, also inside another element of that name', (reference, asked) => {
  const data = [{ meaning: 'instance', reference: { reference } }];
  const consent = { resourceType: 'Consent', provision: { data } } as Consent;
  const { body } = sanitize(consent, SOURCE, (text) => `there:${text}`);
  expect(body.provision?.data?.[0]?.reference?.reference).toBe(`there:${asked}`);
});

test('words that only look like addresses stay', () => {
  const name = [{ text: 'Binary/1' }, { text: 'as in https://example.org/?Signature=x' }];
  expect(sanitized({ name }).body.name).toEqual(name);
});

test('a versioned reference is to the resource; one to a contained resource stays', () => {
  const { body } = sanitized({
    link: [{ other: { reference: 'Patient/2/_history/3' }, type: 'refer' }],
    contained: [{ resourceType: 'Organization', id: 'o' }],
    managingOrganization: { reference: '#o' },
  });
  expect(body.link?.[0]?.other.reference).toBe('Patient/2');
  expect(body.managingOrganization?.reference).toBe('#o');
});

test.each([
  'https://storage.medplum.com/binary/1?Expires=1&Key-Pair-Id=K&Signature=x',
  'http://localhost:8103/storage/1?Signature=abc',
  'https://bucket.s3.amazonaws.com/1?X-Amz-Signature=abc',
  'Binary/1',
])('the address of a file in Medplum does not travel: %s', (url) => {
  const { body } = sanitized({
    photo: [{ contentType: 'image/png', url }, { url: 'https://example.org/a.png?size=2' }],
  });
  expect(body.photo).toEqual([{ contentType: 'image/png' }, { url: 'https://example.org/a.png?size=2' }]);
});

test("Medplum's extensions stay with Medplum; others go, at any depth", () => {
  const ours = { url: 'https://medplum.com/fhir/StructureDefinition/x', valueString: 'y' };
  const theirs = { url: 'http://hl7.org/fhir/us/core/StructureDefinition/us-core-race', valueString: 'z' };
  const { body } = sanitized({ extension: [ours, theirs], name: [{ family: 'X', extension: [ours] }] });
  expect(body.extension).toEqual([theirs]);
  expect(body.name).toEqual([{ family: 'X' }]);
});

test('an extension whose value was left out goes: the target would drop it, and differ for ever', () => {
  const refers = (reference: string): object => ({ url: 'urn:refers', valueReference: { reference } });
  const nested = { url: 'urn:nested', extension: [{ url: 'a', valueString: 'b' }] };
  const { body } = sanitized({ extension: [refers('Practitioner/1'), refers('Patient/2'), nested] } as never);
  expect(body.extension).toEqual([refers('Patient/2'), nested]);
});

test('nulls keep their places beside extensions of primitives', () => {
  const name = { given: ['A', 'B'], _given: [null, { id: 'x' }] };
  expect(sanitized({ name: [name] } as never).body.name).toEqual([name]);
});

test('a resource refers to others by what it says, not by its meta', () => {
  const patient: Patient = {
    resourceType: 'Patient',
    meta: { compartment: [{ reference: 'Patient/9' }] },
    link: [
      { other: { reference: 'Patient/2' }, type: 'refer' },
      { other: { reference: 'Patient/2/_history/1' }, type: 'refer' },
    ],
    managingOrganization: { reference: 'Organization/1' },
  };
  expect(referencesOf(patient, ['Patient'])).toEqual(['Patient/2']);
});
