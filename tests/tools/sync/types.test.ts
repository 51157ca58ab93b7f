// The table of types and the names of elements in the copy rules, held to FHIR's definitions (R4).
import type { ElementDefinition, StructureDefinition } from '@medplum/fhirtypes';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { ATTACHMENTS, CANONICALS, WITH_OTHER_REFERENCE } from '../../src/shared/sync/rules.ts';
import { rulesOf, TYPES } from '../../src/shared/sync/types.ts';
import type { SyncedType } from '../../src/shared/sync/types.ts';

const text = gunzipSync(readFileSync('tools/definitions/fhir.json.gz')).toString();
const { StructureDefinition: bundle } = JSON.parse(text) as {
  StructureDefinition: { entry: { resource: StructureDefinition }[] };
};
const definitions = new Map(bundle.entry.map(({ resource }) => [resource.name, resource]));

function elementsOf(type: string): ElementDefinition[] {
  return definitions.get(type)?.snapshot?.element.filter(({ path }) => path.includes('.')) ?? [];
}

/**
 * The names that an element has in JSON, with the type of each: `value[x]` has one for each of its
 * types.
 */
function namesOf({ path, type = [] }: ElementDefinition): { name: string; type: string }[] {
  const last = path.split('.').at(-1) ?? '';
  return type.map(({ code }) => {
    const suffix = code.charAt(0).toUpperCase() + code.slice(1);
    return { name: last.replace('[x]', suffix), type: code };
  });
}

const supported = Object.keys(TYPES) as SyncedType[];

test('the types that were asked for are supported', () => {
  const wanted = `Patient Organization Location Practitioner PractitionerRole RelatedPerson
    Encounter EpisodeOfCare Condition AllergyIntolerance Observation DiagnosticReport Immunization
    MedicationRequest MedicationStatement Procedure ServiceRequest Coverage Appointment CarePlan
    CareTeam Goal DocumentReference Questionnaire QuestionnaireResponse Communication Task`;
  expect(supported).toEqual(expect.arrayContaining(wanted.split(/\s+/)));
});

describe.each(supported)('%s', (type) => {
  const elements = elementsOf(type);
  const names = elements.flatMap(namesOf).filter(({ name }) => name !== 'meta');

  test('has the identifiers that the table says, and active', () => {
    const identifier = elements.find(({ path }) => path === `${type}.identifier`);
    const single = identifier ? 'single' : 'none';
    expect(rulesOf(type).identifier).toBe(identifier?.max === '*' ? 'list' : single);
    const active = elements.find(({ path }) => path === `${type}.active`);
    expect(rulesOf(type).hasActive ?? false).toBe(active?.type?.[0]?.code === 'boolean');
  });

  test('has a link element that is nothing but links', () => {
    const { link } = rulesOf(type);
    const reference =
      link && elements.find(({ path }) => path === `${type}.${link.element}.${link.reference}`);
    expect(link === undefined || reference?.type?.[0]?.code === 'Reference').toBe(true);
  });

  test('its attachments and canonicals are known by name', () => {
    const byType = (wanted: string): string[] =>
      names.filter(({ type: found }) => found === wanted).map(({ name }) => name);
    expect(byType('Attachment').filter((name) => !ATTACHMENTS.has(name))).toEqual([]);
    expect(byType('canonical').filter((name) => !CANONICALS.has(name))).toEqual([]);
    const others = names.filter(
      ({ type: found }) => found !== 'Attachment' && found !== 'canonical',
    );
    expect(others.filter(({ name }) => ATTACHMENTS.has(name))).toEqual([]);
    // Observation.derivedFrom is a Reference: an object, so that it cannot be taken for a
    // canonical.
    expect(
      others.filter(({ name, type: found }) => CANONICALS.has(name) && found !== 'Reference'),
    ).toEqual([]);
  });

  test('a type comes after the types that it must refer to', () => {
    const later = supported.slice(supported.indexOf(type) + 1);
    const required = elements.filter(
      ({ min, type: found }) => min === 1 && found?.[0]?.code === 'Reference',
    );
    const profiles = required.flatMap(({ path, type: found }) => {
      const targets = found?.[0]?.targetProfile?.map((url) => url.split('/').at(-1) ?? '') ?? [];
      return targets.length === 1 ? targets.map((target) => ({ path, target })) : [];
    });
    // A circle: an episode has diagnoses, and they are written before it or in one transaction with
    // it.
    const circles = ['EpisodeOfCare.diagnosis.condition', 'Encounter.diagnosis.condition'];
    expect(
      profiles.filter(
        ({ path, target }) => later.includes(target as SyncedType) && !circles.includes(path),
      ),
    ).toEqual([]);
  });
});

test('with a few exceptions, a text element called reference belongs to a Reference', () => {
  const others = [...definitions.keys()].flatMap((name) =>
    elementsOf(name)
      .filter(
        ({ path, type = [] }) =>
          path.endsWith('.reference') && ['string', 'uri'].includes(type[0]?.code ?? ''),
      )
      .map(({ path }) => path),
  );
  expect(others.toSorted()).toEqual([
    'DetectedIssue.reference', // a resource as a whole, never the value of an element
    'Expression.reference',
    'Immunization.education.reference',
    'Reference.reference',
  ]);
  expect([...WITH_OTHER_REFERENCE].toSorted()).toEqual(['education', 'valueExpression']);
});

test('extensions are the only elements that are called extension', () => {
  const others = [...definitions.keys()].flatMap((name) =>
    elementsOf(name).filter(
      ({ path, type }) => path.endsWith('.extension') && type?.[0]?.code !== 'Extension',
    ),
  );
  expect(others).toEqual([]);
});
