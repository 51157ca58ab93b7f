// Answers in which the local Medplum once differed from a real one of version 5.1.26. Each was
// found by sending both the same random requests; what is expected here is what the real server
// answered.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestServer } from './support.ts';
import type { Answer, TestServer } from './support.ts';

let medplum: TestServer;

beforeAll(async () => {
  medplum = await startTestServer();
});
afterAll(() => medplum.server.stop());

const create = async (resource: { resourceType: string }): Promise<string> =>
  (await medplum.call('POST', `fhir/R4/${resource.resourceType}`, resource)).body.id;

/** @returns what a search finds, as the ids in order; or the status where it is refused */
async function find(query: string): Promise<string[] | number> {
  const { status, body }: Answer = await medplum.call('GET', `fhir/R4/${query}`);
  const entries: { resource: { id: string } }[] = body.entry ?? [];
  return status === 200 ? entries.map(({ resource }) => resource.id) : status;
}

describe('searches', () => {
  it('find names with apostrophes and hyphens by each of their words', async () => {
    const name = [{ family: "D'Angelo-Núñez", given: ['Mary Ann'] }];
    const id = await create({ resourceType: 'Patient', name } as never);
    for (const term of ["d'angelo", 'angelo-nú', 'angelo', 'núñez', 'ann', 'mary angelo']) {
      expect(await find(`Patient?name=${encodeURIComponent(term)}`), term).toEqual([id]);
    }
    for (const term of ['dangelo', 'nunez', 'gelo']) {
      expect(await find(`Patient?name=${term}`), term).toEqual([]);
    }
  });

  it('follow references forward and back, and compare quantities', async () => {
    const patient = await create({
      resourceType: 'Patient',
      identifier: [{ system: 'urn:d', value: 'chain' }],
    } as never);
    const observation = await create({
      resourceType: 'Observation',
      status: 'final',
      code: { coding: [{ system: 'urn:d', code: 'chained' }] },
      subject: { reference: `Patient/${patient}` },
      valueQuantity: { value: 72, unit: 'kg' },
    } as never);
    for (const query of [
      `subject=${patient}`,
      `subject:Patient=${patient}`,
      'patient.identifier=urn:d|chain',
      'subject:Patient.identifier=chain',
      'value-quantity=gt71',
      '_filter=value-quantity gt 71',
    ]) {
      expect(await find(`Observation?code=chained&${query}`), query).toEqual([observation]);
    }
    expect(await find('Patient?_has:Observation:subject:code=chained')).toEqual([patient]);
    expect(await find('Observation?subject.name=x')).toBe(400); // a subject is of several types
  });

  it('sort resources without a value last, or first when descending', async () => {
    const [without, old, young] = [
      await create({ resourceType: 'Person' }),
      await create({ resourceType: 'Person', birthDate: '1950-01-01' } as never),
      await create({ resourceType: 'Person', birthDate: '1990-01-01' } as never),
    ];
    expect(await find('Person?_sort=birthdate')).toEqual([old, young, without]);
    expect(await find('Person?_sort=-birthdate')).toEqual([without, young, old]);
    expect(await find('Person?_count=abc')).toEqual([]);
    expect(await find('Person?_offset=-1')).toHaveLength(3);
  });
});

describe('writes', () => {
  it('give a conditional reference the display of what it finds', async () => {
    await create({
      resourceType: 'Organization',
      name: 'Clinic',
      identifier: [{ system: 'urn:d', value: 'clinic' }],
    } as never);
    const { body } = await medplum.call('POST', 'fhir/R4/Patient', {
      resourceType: 'Patient',
      managingOrganization: { reference: 'Organization?identifier=urn:d|clinic' },
    });
    expect(body.managingOrganization.display).toBe('Clinic');
  });

  it('drop empty values, and take days that do not exist', async () => {
    const patient = { resourceType: 'Patient', name: [], language: '', birthDate: '2021-02-30' };
    const { status, body } = await medplum.call('POST', 'fhir/R4/Patient', patient);
    expect(status).toBe(201);
    expect(body).toMatchObject({ birthDate: '2021-02-30' });
    expect(body).not.toHaveProperty('name');
    expect(body).not.toHaveProperty('language');
  });

  it('answer nothing where Prefer says return=minimal', async () => {
    const headers = { Prefer: 'return=minimal' };
    const {
      status,
      body,
      headers: answered,
    } = await medplum.call('POST', 'fhir/R4/Patient', { resourceType: 'Patient' }, headers);
    expect([status, body]).toEqual([201, '']);
    expect(answered.get('etag')).toMatch(/^W\/"/);
  });

  it('make a new version of a Binary whose data are replaced by bytes', async () => {
    const binary = { resourceType: 'Binary', contentType: 'text/plain', data: 'aGk=' };
    const first = await medplum.call('POST', 'fhir/R4/Binary', binary);
    expect(first.body).not.toHaveProperty('data');
    const path = `fhir/R4/Binary/${first.body.id}`;
    const second = await medplum.call('PUT', path, 'new', { 'Content-Type': 'text/plain' });
    expect(second.body.meta.versionId).not.toBe(first.body.meta.versionId);
    expect((await medplum.call('GET', path)).body).toBe('new');
  });
});

describe('a bot that returns', () => {
  it.each([
    ['a Binary', "{ resourceType: 'Binary', contentType: 'text/csv', data: 'YSxi' }", 200, 'a,b'],
    ['a number that is none', 'NaN', 200, 'NaN'],
    ['a function', '() => 1', 500, { msg: 'Internal Server Error' }],
    ['a BigInt', '1n', 500, { msg: 'Internal Server Error' }],
  ])('%s', async (_name, value, status, expected) => {
    const id = await medplum.bot(`exports.handler = async () => { return ${value}; };`);
    const answer = await medplum.execute(id);
    expect([answer.status, answer.body]).toEqual([status, expected]);
    expect((await medplum.audits(id))[0]?.outcome).toBe('0');
  });
});
