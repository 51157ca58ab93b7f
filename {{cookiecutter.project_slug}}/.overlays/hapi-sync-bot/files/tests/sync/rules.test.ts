// What of a Medplum resource goes to the target, and what is left of it there.
import { MedplumClient } from '@medplum/core';
import type { Patient, Resource } from '@medplum/fhirtypes';
import { describe, expect, test } from 'vitest';
import { copyOf, referencesOf } from '../../src/shared/sync/rules.ts';
import type { Copy } from '../../src/shared/sync/rules.ts';
import { authorityIn, syncTag } from '../../src/shared/sync/marks.ts';
import { testConfig } from './config.ts';

const CONFIG = testConfig({ types: ['Patient', 'Observation', 'Questionnaire'] });
const MEDPLUM_URL = 'https://medplum.example.org/';
const SOURCE_URL = `${MEDPLUM_URL}fhir/R4/`;
const CONTEXT = { config: CONFIG, medplum: new MedplumClient({ baseUrl: MEDPLUM_URL }) };
const SOURCE_ID = { system: 'https://medplum.com/patient-id', value: 'p1' };
const TAG = syncTag(CONFIG);

/**
 * The copy of any resource; the target has everything that is synced, except what is named here.
 */
function copy(resource: object, missing: string[] = [], existing?: Resource): Copy {
  const source = { id: 'p1', ...resource } as unknown as Resource;
  const before = JSON.stringify(source);
  const canReferTo = (reference: string): boolean => !missing.includes(reference);
  const result = copyOf(CONTEXT, source, existing, canReferTo);
  expect(JSON.stringify(source), 'the source is not changed').toBe(before);
  return result;
}

function copyPatient(patient: object, missing: string[] = []): { body: Patient; leftOut: number } {
  return copy({ resourceType: 'Patient', ...patient }, missing) as {
    body: Patient;
    leftOut: number;
  };
}

describe('meta', () => {
  test('of meta, only security, tag and profile are copied; the tag of the sync is added', () => {
    const kept = { security: [{ code: 'R' }], profile: ['http://example.org/p'] };
    const own = {
      project: 'x',
      author: { reference: 'Practitioner/1' },
      account: { reference: 'Patient/9' },
    };
    const serverMeta = { versionId: '1', compartment: [{ reference: 'Patient/p1' }] };
    const { body, leftOut } = copyPatient({
      meta: { ...kept, tag: [{ code: 'vip' }], ...own, ...serverMeta },
    });
    expect(body.meta).toEqual({ ...kept, tag: [{ code: 'vip' }, TAG] });
    expect(leftOut).toBe(0);
    expect(copyPatient({ meta: serverMeta }).body.meta).toEqual({ tag: [TAG] });
  });

  test('a tag or label without a code is left out, and the tag of the sync is there once', () => {
    const meta = { tag: [{ display: 'x' }, TAG, { code: 'a' }], security: [{ system: 'urn:s' }] };
    expect(copyPatient({ meta }).body.meta).toEqual({ tag: [{ code: 'a' }, TAG] });
  });
});

test.each([
  ['https://clinic.example.org', true],
  ['urn:oid:1.2.3', true],
  ['clinic', false],
  ['https://clinic.example.org\n', false],
  ['https://clinic.example.org/a|b', false],
  ['https://clinic.example.org/a,b', false],
])('HAPI_SOURCE_SYSTEM %j is accepted: %s', (valueString, isAccepted) => {
  const secrets = { HAPI_SOURCE_SYSTEM: { name: 'HAPI_SOURCE_SYSTEM', valueString } };
  if (isAccepted) {
    expect(authorityIn(secrets)).toBe(valueString);
  } else {
    expect(() => authorityIn(secrets)).toThrow('Secret HAPI_SOURCE_SYSTEM is not an address');
  }
});

describe('identifiers', () => {
  test('the source identifier is there once; one with another id is not copied', () => {
    const mrn = { system: 'urn:mrn', value: '7' };
    expect(copyPatient({}).body.identifier).toEqual([SOURCE_ID]);
    const foreign = { ...SOURCE_ID, value: 'another' };
    const identifier = [SOURCE_ID, mrn, foreign, { ...SOURCE_ID }];
    expect(copyPatient({ identifier }).body.identifier).toEqual([mrn, SOURCE_ID]);
  });

  test('identifiers that were merged on the target stay', () => {
    const merged = { ...SOURCE_ID, value: 'another' };
    const existing: Patient = {
      resourceType: 'Patient',
      id: 'p1',
      identifier: [merged, SOURCE_ID, merged],
    };
    const { body } = copy({ resourceType: 'Patient' }, [], existing);
    expect((body as Patient).identifier).toEqual([SOURCE_ID, merged]);
  });

  test("a type with a single identifier keeps the team's identifier", () => {
    const { body } = copy({ resourceType: 'Composition', identifier: { value: '1' } });
    expect(body).toMatchObject({ identifier: { value: '1' }, meta: { tag: [TAG] } });
  });
});

describe('references', () => {
  test('a reference to a resource that is not synced becomes a logical reference', () => {
    const { body, leftOut } = copyPatient({
      managingOrganization: { reference: 'Organization/1', display: 'A clinic' },
      generalPractitioner: [
        { reference: 'Practitioner/1', identifier: { value: 'x' } },
        { identifier: { value: 'y' } },
      ],
      contact: [{ organization: { reference: 'https://elsewhere.example.org/Organization/1' } }],
    });
    const identifier = { system: 'https://medplum.com/organization-id', value: '1' };
    expect(body.managingOrganization).toEqual({
      type: 'Organization',
      identifier,
      display: 'A clinic',
    });
    expect(body.generalPractitioner).toEqual([
      { type: 'Practitioner', identifier: { value: 'x' } },
      { identifier: { value: 'y' } },
    ]);
    const elsewhere = {
      system: 'urn:ietf:rfc:3986',
      value: 'https://elsewhere.example.org/Organization/1',
    };
    expect(body.contact?.[0]?.organization).toEqual({ identifier: elsewhere });
    expect(leftOut).toBe(3);
  });

  test('required members stay', () => {
    const related = copy(
      { resourceType: 'RelatedPerson', patient: { reference: 'Patient/gone' } },
      ['Patient/gone'],
    );
    expect(related.body).toHaveProperty('patient.identifier.value', 'gone');
    const location = [{ location: { reference: 'Location/1' } }];
    expect(copy({ resourceType: 'Encounter', location }).body).toHaveProperty(
      'location.0.location.type',
      'Location',
    );
  });

  test.each([
    ['Patient/2', 'Patient/2', 0],
    ['Patient/2/_history/31', 'Patient/2', 1],
    [`${SOURCE_URL}Patient/2`, 'Patient/2', 0],
    [`${SOURCE_URL}Patient/2/_history/31`, 'Patient/2', 1],
    ['#contained', '#contained', 0],
  ])('%s is written as %s', (reference, written, leftOut) => {
    const result = copyPatient({ link: [{ other: { reference }, type: 'refer' }] });
    expect(result.body.link?.[0]?.other).toEqual({ reference: written });
    expect(result.leftOut).toBe(leftOut);
  });

  test.each([
    'Patient/../../x',
    'Patient/..',
    'Patient/.',
    'Patient/?_count=1000',
    'Patient/2/other',
    'Patient?identifier=x',
    'patient/2',
    '/Patient/2',
    'https://elsewhere.example.org/Patient/2',
    'urn:uuid:2',
    '',
  ])('%j is not a reference that may be followed', (reference) => {
    const subject = { reference };
    expect(referencesOf(CONTEXT, { resourceType: 'Observation', subject } as Resource)).toEqual([]);
    const { body, leftOut } = copy({ resourceType: 'Observation', subject });
    expect(body).not.toHaveProperty('subject.reference');
    expect(leftOut).toBe(1);
  });

  test('a link is removed together with the resource it leads to', () => {
    const link = [{ other: { reference: 'Patient/gone' } }, { other: { reference: 'Patient/2' } }];
    const { body, leftOut } = copyPatient({ link }, ['Patient/gone']);
    expect(body.link).toEqual([link[1]]);
    expect(leftOut).toBe(1);
    expect(copyPatient({ link: [link[0]] }, ['Patient/gone']).body).not.toHaveProperty('link');
  });

  test('a uri in a member called reference is not a reference', () => {
    const education = [{ documentType: 'x', reference: 'Patient/2' }];
    expect(copy({ resourceType: 'Immunization', education }).body).toMatchObject({ education });
    const extension = [
      { url: 'urn:x', valueExpression: { language: 'y', reference: 'http://z.example.org' } },
    ];
    expect(copyPatient({ extension })).toMatchObject({ body: { extension }, leftOut: 0 });
  });

  test('references are found in the content, not in meta, and each is listed once', () => {
    const patient = {
      resourceType: 'Patient',
      meta: { compartment: [{ reference: 'Patient/9' }] },
      link: [
        { other: { reference: 'Patient/2' } },
        { other: { reference: 'Patient/2/_history/1' } },
      ],
      extension: [{ url: 'urn:x', valueReference: { reference: 'Observation/3' } }],
      managingOrganization: { reference: 'Organization/1' },
    } as unknown as Patient;
    expect(referencesOf(CONTEXT, patient).toSorted()).toEqual(['Observation/3', 'Patient/2']);
  });
});

describe('canonicals', () => {
  test('a canonical written like a reference is treated as one; an address is kept', () => {
    const response = { resourceType: 'QuestionnaireResponse' };
    const kept = { ...response, questionnaire: 'Questionnaire/1' };
    expect(copy(kept)).toMatchObject({ body: { questionnaire: 'Questionnaire/1' }, leftOut: 0 });
    for (const end of ['|2', '#item', '/_history/2']) {
      const versioned = { ...response, questionnaire: `Questionnaire/1${end}` };
      expect(copy(versioned), end).toMatchObject({
        body: { questionnaire: 'Questionnaire/1' },
        leftOut: 1,
      });
    }
    expect(referencesOf(CONTEXT, kept as Resource)).toEqual(['Questionnaire/1']);
    const gone = copy(kept, ['Questionnaire/1']);
    expect(gone.leftOut).toBe(1);
    expect(gone.body).not.toHaveProperty('questionnaire');
    const questionnaire = 'http://example.org/Questionnaire/1';
    expect(copy({ ...response, questionnaire })).toMatchObject({
      body: { questionnaire },
      leftOut: 0,
    });
  });

  test('in a list, the others keep their positions beside their extensions', () => {
    const task = {
      resourceType: 'Procedure',
      instantiatesCanonical: ['PlanDefinition/1', 'http://example.org/p'],
    };
    expect(copy(task).body).toMatchObject({ instantiatesCanonical: ['http://example.org/p'] });
    const _instantiatesCanonical = [null, { id: 'x' }];
    expect(copy({ ...task, _instantiatesCanonical }).body).toMatchObject({
      instantiatesCanonical: [null, 'http://example.org/p'],
      _instantiatesCanonical,
    });
  });

  test('an element of another type with the same name is not changed', () => {
    const derivedFrom = [{ reference: 'Observation/2' }];
    expect(copy({ resourceType: 'Observation', derivedFrom }).body).toMatchObject({ derivedFrom });
  });
});

describe('files', () => {
  test.each([
    'https://storage.medplum.com/binary/1?Expires=1&Key-Pair-Id=K&Signature=x',
    'http://localhost:8103/storage/1?Signature=abc',
    'https://bucket.s3.amazonaws.com/1?X-Amz-Signature=abc',
    `${SOURCE_URL}Binary/1`,
    'Binary/1',
  ])('an address that only Medplum can serve is not copied: %s', (url) => {
    const photo = [{ contentType: 'image/png', url }, { url: 'https://example.org/a.png?size=2' }];
    expect(copyPatient({ photo }).body.photo).toEqual([{ contentType: 'image/png' }, photo[1]]);
    const content = [{ attachment: { url, title: 'X' } }];
    const document = copy({ resourceType: 'DocumentReference', content }).body;
    expect(document).toMatchObject({ content: [{ attachment: { title: 'X' } }] });
  });

  test('an attachment that had only an address says that it is withheld', () => {
    const content = [{ attachment: { url: 'Binary/1' } }];
    const { body } = copy({ resourceType: 'DocumentReference', content });
    expect(body).toHaveProperty('content.0.attachment._url.extension.0.valueCode', 'masked');
  });

  test.each([
    'https://lab.example.org/r/1?expires=never POSITIVE',
    'https://x.example.org/?Signature=1',
    'Binary/1',
  ])('text is never touched: %s', (text) => {
    const observation = { resourceType: 'Observation', valueString: text, note: [{ text }] };
    expect(copy(observation).body).toMatchObject({ valueString: text, note: [{ text }] });
    expect(
      copyPatient({ name: [{ text }], telecom: [{ system: 'url', value: text }] }).body,
    ).toMatchObject({
      name: [{ text }],
      telecom: [{ value: text }],
    });
  });
});

describe('extensions', () => {
  const medplum = { url: 'https://medplum.com/fhir/StructureDefinition/x', valueString: 'y' };
  const race = {
    url: 'http://hl7.org/fhir/us/core/StructureDefinition/us-core-race',
    valueString: 'z',
  };

  test("Medplum's extensions are left out; others are copied, at any depth", () => {
    const { body } = copyPatient({
      extension: [medplum, race],
      name: [{ family: 'X', extension: [medplum] }],
    });
    expect(body.extension).toEqual([race]);
    expect(body.name).toEqual([{ family: 'X' }]);
  });

  test('only in lists of extensions: a resource with such a url is not an extension', () => {
    const url = 'https://medplum.com/questionnaires/1';
    expect(copy({ resourceType: 'Questionnaire', url, title: 'Q' }).body).toMatchObject({
      url,
      title: 'Q',
    });
    expect(copyPatient({ photo: [{ url, title: 'P' }] }).body.photo).toEqual([{ url, title: 'P' }]);
  });

  test('names and street lines keep their positions when an extension is removed', () => {
    const name = {
      given: ['Ada', 'B', 'C'],
      _given: [{ extension: [medplum] }, { extension: [race] }, null],
    };
    expect(copyPatient({ name: [name] }).body.name).toEqual([
      { given: ['Ada', 'B', 'C'], _given: [null, { extension: [race] }, null] },
    ]);
    const address = { line: ['1', null], _line: [{ extension: [medplum] }, null] };
    expect(copyPatient({ address: [address] }).body.address).toEqual([{ line: ['1', null] }]);
    expect(copyPatient({ _birthDate: { extension: [medplum] } }).body).not.toHaveProperty(
      '_birthDate',
    );
  });

  test('an extension without a value is removed; a logical reference is kept', () => {
    const nested = { url: 'urn:nested', extension: [{ url: 'a', valueString: 'b' }] };
    const refers = { url: 'urn:refers', valueReference: { reference: 'Practitioner/1' } };
    const canonical = { url: 'urn:canonical', valueCanonical: 'PlanDefinition/1' };
    const extension = [
      { url: 'urn:empty' },
      nested,
      refers,
      canonical,
      { url: 7, valueString: 'odd' },
    ];
    const { body } = copyPatient({ extension });
    expect(body.extension).toMatchObject([
      nested,
      { url: 'urn:refers', valueReference: { identifier: {} } },
      {},
    ]);
    expect(body.extension).toHaveLength(3);
  });
});

test('contained resources keep their content and profiles, and lose other meta', () => {
  const contained = [
    {
      resourceType: 'Organization',
      id: 'o',
      name: 'O',
      meta: { versionId: '1', profile: ['urn:p'] },
    },
  ];
  const { body } = copyPatient({ contained, managingOrganization: { reference: '#o' } });
  expect(body.contained).toEqual([{ ...contained[0], meta: { profile: ['urn:p'] } }]);
  expect(body.managingOrganization).toEqual({ reference: '#o' });
});
