// What the page's server says about resources: listing, searching, writing, history, bundles,
// sample files.
import type { Patient } from '@medplum/fhirtypes';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type {
  ResourceList,
  ResourceVersion,
  SampleFile,
  TypeCount,
} from '../../tools/src/page/api-types.ts';
import { openPage } from './support.ts';
import type { PageServer } from './support.ts';

let medplum: PageServer;

beforeAll(async () => {
  medplum = await openPage();
});
afterAll(() => medplum.server.stop());

async function create(resource: unknown): Promise<string[]> {
  const { body } = await medplum.page<{ created: string[] }>('POST', 'resources', resource);
  return body.created;
}

const patient = (family: string): Patient => ({ resourceType: 'Patient', name: [{ family }] });

describe('resources', () => {
  test('are listed newest first, with what people call them', async () => {
    await create(patient('Older'));
    await create({
      resourceType: 'Task',
      status: 'ready',
      intent: 'order',
      code: { text: 'Call' },
    });
    await create(patient('Newer'));
    const { rows } = (await medplum.page<ResourceList>('GET', 'resources/Patient')).body;
    expect(rows.map(({ title }) => title)).toEqual(['Newer', 'Older']);
    const tasks = (await medplum.page<ResourceList>('GET', 'resources/Task')).body;
    expect(tasks.rows).toMatchObject([{ title: 'Call', status: 'ready' }]);
    const { types } = (await medplum.page<{ types: TypeCount[] }>('GET', 'resources')).body;
    expect(types).toContainEqual({ type: 'Patient', count: 2 });
  });

  test('are found by any text, and by a FHIR search', async () => {
    await create({ ...patient('Rare'), birthDate: '1901-02-03' });
    for (const search of ['rare', '1901-02', 'birthdate=1901-02-03', 'name=Rare']) {
      const query = new URLSearchParams({ search });
      const { body } = await medplum.page<ResourceList>('GET', `resources/Patient?${query}`);
      expect(
        body.rows.map(({ title }) => title),
        search,
      ).toEqual(['Rare']);
    }
  });

  test('are searched no more kindly than Medplum does', async () => {
    const { status, body } = await medplum.page('GET', 'resources/Patient?search=nonsense%3D1');
    expect(status).toBe(400);
    expect(body).toMatchObject({ message: expect.stringContaining('nonsense') as string });
  });

  test('are changed and deleted, and their history tells', async () => {
    const [reference = ''] = await create(patient('Before'));
    const id = reference.split('/')[1]!;
    await medplum.page('PUT', `resources/${reference}`, { ...patient('After'), id });
    await medplum.page('DELETE', `resources/${reference}`);
    const { body } = await medplum.page<{ versions: ResourceVersion[] }>(
      'GET',
      `resources/${reference}/history`,
    );
    const names = body.versions.map(({ deleted, resource }) => {
      return deleted ? 'deleted' : (resource as Patient).name?.[0]?.family;
    });
    expect(names).toEqual(['deleted', 'After', 'Before']);
  });

  test('that are not valid are refused with the reason of the server', async () => {
    const { status, body } = await medplum.page('POST', 'resources', {
      resourceType: 'Patient',
      birthday: '1900-01-01',
    });
    expect(status).toBe(400);
    expect(body).toMatchObject({ message: expect.stringContaining('birthday') as string });
  });

  test('cannot be used to reach an operation', async () => {
    const id = await medplum.bot(`exports.handler = async () => 'ran';`, { name: 'not-by-get' });
    const { status } = await medplum.page('GET', `resources/Bot/${id}%2F$execute`);
    expect(status).toBe(400);
    expect((await medplum.runsOf('not-by-get')).total).toBe(0);
  });
});

describe('a bundle', () => {
  test('becomes new resources that refer to each other', async () => {
    const bundle = {
      resourceType: 'Bundle',
      type: 'collection',
      entry: [
        { resource: { ...patient('Of a bundle'), id: '1' } },
        {
          resource: {
            resourceType: 'Task',
            id: '2',
            status: 'ready',
            intent: 'order',
            for: { reference: 'Patient/1' },
          },
        },
      ],
    };
    const created = await create(bundle);
    expect(created.map((reference) => reference.split('/')[0])).toEqual(['Patient', 'Task']);
    const { body } = await medplum.page('GET', `resources/${created[1]}`);
    expect(body).toMatchObject({ for: { reference: created[0] } });
  });

  test('with an entry that is refused says which and why', async () => {
    const entry = [
      { resource: patient('Good'), request: { method: 'POST', url: 'Patient' } },
      { resource: { resourceType: 'Patient', no: 1 }, request: { method: 'POST', url: 'Patient' } },
    ];
    const { body } = await medplum.page('POST', 'resources', {
      resourceType: 'Bundle',
      type: 'batch',
      entry,
    });
    expect(body).toMatchObject({ message: expect.stringMatching(/^Entry 2 .*"no"/) as string });
  });
});

describe('sample files', () => {
  const PATH = 'tests/events/saved-by-a-test.json';
  afterAll(() => rmSync(PATH, { force: true }));

  test('of the repository are offered with what they hold', async () => {
    const { samples } = (await medplum.page<{ samples: SampleFile[] }>('GET', 'resources/samples'))
      .body;
    expect(samples).toContainEqual({
      path: 'tests/events/patient-created.json',
      kind: 'event',
      type: 'Patient',
    });
  });

  test('are the only files that can be read', async () => {
    const path = encodeURIComponent('../../../../etc/hostname');
    for (const wanted of ['package.json', '.env.local', path]) {
      const { status } = await medplum.page('GET', `resources/samples/content?path=${wanted}`);
      expect(status, wanted).toBe(404);
    }
  });

  test('are written to tests/events/<name>.json, and replaced only if confirmed', async () => {
    const body = { name: 'saved-by-a-test', event: { input: { a: 1 } } };
    expect((await medplum.page('POST', 'sample-events', body)).body).toEqual({ path: PATH });
    expect(readFileSync(PATH, 'utf8')).toBe('{\n  "input": {\n    "a": 1\n  }\n}\n');
    expect((await medplum.page('POST', 'sample-events', body)).status).toBe(409);
    const replaced = { ...body, event: { input: 2 }, replace: true };
    expect((await medplum.page('POST', 'sample-events', replaced)).status).toBe(200);
    expect(JSON.parse(readFileSync(PATH, 'utf8'))).toEqual({ input: 2 });
  });

  test.each(['../outside', 'with space', '', 'Upper', 'a/b'])(
    'are never written to a name like %j',
    async (name) => {
      const { status } = await medplum.page('POST', 'sample-events', {
        name,
        event: { input: {} },
      });
      expect(status).toBe(400);
      expect(existsSync('tests/outside.json')).toBe(false);
    },
  );
});
