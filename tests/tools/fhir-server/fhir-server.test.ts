// The external FHIR server against what a real HAPI FHIR JPA 8.8.0 does, where a sync can come to
// harm.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FRESH, SYSTEM, count, numbers, startTestServer, patient, query } from './support.ts';
import type { TestServer } from './support.ts';

let server: TestServer;
let time = Date.parse('2026-01-05T09:00:00Z');
beforeEach(async () => {
  server = await startTestServer({ now: () => time });
});
afterEach(() => server.stop());

const put = (value: string, members?: object, headers?: Record<string, string>) =>
  server.call('PUT', `fhir/Patient?${query(value)}`, patient(value, members), headers);
const base = 'fhir/Patient';
const UUID = '6f1b1c3e-0000-4000-8000-000000000001';

describe('a conditional DELETE that names no identifier', () => {
  it.each([
    ['no parameter name', 'https://medplum.com/patient-id%7CX'],
    ['no value', 'identifier='],
    ['only a bar', 'identifier=%7C'],
    ['only a system', `identifier=${encodeURIComponent(`${SYSTEM}|`)}`],
    ['a format', '_format=json'],
    ['a count', '_count=1'],
    ['a time', '_lastUpdated=gt2020-01-01'],
    ['not', 'identifier:not=x'],
    ['a comma in the value', 'identifier=urn:y%7Czz%2Cstranger'],
  ])('deletes the only resource of the type, as HAPI does: %s', async (_name, text) => {
    await put('stranger');
    const answer = await server.call('DELETE', `${base}?${text}`);
    expect(answer.status).toBe(200);
    expect(answer.text).toContain('SUCCESSFUL_DELETE');
    expect(await count(server, base)).toBe(0);
  });

  it('leaves other resources alone only if there are several', async () => {
    await put('a');
    await put('b');
    const answer = await server.call('DELETE', `${base}?identifier=`);
    expect([answer.status, numbers(answer)]).toEqual([412, 'HAPI-0962']);
    expect(await count(server, base)).toBe(2);
  });

  it('keeps them for an unmatched token, an escaped comma, an unknown parameter', async () => {
    await put('stranger');
    for (const text of [query('other'), 'identifier=urn:y%7Czz%5C%2Cstranger']) {
      const answer = await server.call('DELETE', `${base}?${text}`);
      expect(answer.status).toBe(200);
      expect(answer.body.issue[0]).toMatchObject({ severity: 'warning', code: 'not-found' });
    }
    expect(numbers(await server.call('DELETE', `${base}?foo=bar`))).toBe('HAPI-0488');
    expect(numbers(await server.call('DELETE', base))).toBe('HAPI-0967');
    expect(await count(server, base)).toBe(1);
  });

  it('is refused as a PUT', async () => {
    for (const text of ['identifier=', 'https://medplum.com/patient-id%7CX', '_format=json']) {
      expect(numbers(await server.call('PUT', `${base}?${text}`, patient('a')))).toBe('HAPI-0518');
    }
  });
});

describe('a conditional PUT', () => {
  it('creates, leaves alone what is the same, and counts versions', async () => {
    const created = await put('a');
    expect(created.status).toBe(201);
    expect(created.headers.get('etag')).toBe('W/"1"');
    expect(created.headers.get('content-location')).toBe(
      `${server.baseUrl}/Patient/${created.body.id}/_history/1`,
    );
    expect(created.headers.get('location')).toBeNull();
    expect((await put('a')).headers.get('etag')).toBe('W/"1"');
    const changed = await put('a', { active: true });
    expect([changed.status, changed.headers.get('etag'), changed.body.id]).toEqual([
      200,
      'W/"2"',
      created.body.id,
    ]);
  });

  it("ignores the body's id, the order of members, meta and unknown elements", async () => {
    const { body } = await put('a', { id: UUID, active: true });
    expect(body.id).toMatch(/^\d+$/);
    const meta = {
      versionId: 'x',
      lastUpdated: '2020-01-01T00:00:00Z',
      project: 'p',
      author: { reference: 'a/b' },
    };
    const again = await server.call('PUT', `${base}?${query('a')}`, {
      active: true,
      meta,
      foo: 1,
      name: [{ bar: 2 }],
      deceasedBoolean: null,
      ...patient('a'),
    });
    expect(again.headers.get('etag')).toBe('W/"1"');
    expect(Object.keys(again.body.meta)).toEqual(['versionId', 'lastUpdated']);
    expect((await put('a', { active: true, deceasedBoolean: true })).body.deceasedBoolean).toBe(
      true,
    );
  });

  it('ignores If-Match', async () => {
    await put('a');
    expect((await put('a', { active: true }, { 'If-Match': 'W/"9"' })).status).toBe(200);
  });

  it('loses the identifier that a body lacks, and then matches nothing', async () => {
    const first = await put('a');
    expect((await server.call('PUT', `${base}?${query('a')}`, patient())).status).toBe(200);
    const next = await put('a');
    expect([next.status, next.body.id === first.body.id]).toEqual([201, false]);
    expect(numbers(await server.call('PUT', `${base}?${query('b')}`, patient()))).toBe('HAPI-0929');
  });

  it('is 412 for two matches, until one is deleted by id', async () => {
    await put('a');
    const second = await server.call('POST', base, patient('a'));
    expect(second.headers.get('location')).toBe(second.headers.get('content-location'));
    expect(numbers(await put('a'))).toBe('HAPI-0988');
    await server.call('DELETE', `${base}/${second.body.id}`);
    expect((await put('a')).status).toBe(200);
  });

  it('gives a new id after a delete', async () => {
    const first = await put('a');
    await server.call('DELETE', `${base}?${query('a')}`);
    const second = await put('a');
    expect([second.status, second.body.id === first.body.id]).toEqual([201, false]);
  });

  it('finds values with FHIR escapes, spaces and any script', async () => {
    for (const [value, written] of [
      ['a,b|c\\$', 'a\\,b\\|c\\\\\\$'],
      ['a & b+c', 'a & b+c'],
      ['żółć 名', 'żółć 名'],
    ]) {
      expect((await server.call('PUT', `${base}?${query(written!)}`, patient(value!))).status).toBe(
        201,
      );
      expect((await server.call('PUT', `${base}?${query(written!)}`, patient(value!))).status).toBe(
        200,
      );
    }
  });

  it('keeps tags and labels that a later body lacks; drops profile and source', async () => {
    await put('a', {
      meta: { tag: [{ system: 't', code: '1' }], security: [{ code: 'R' }], profile: ['http://p'] },
    });
    const { body, headers } = await put('a', { meta: { source: 'http://s' } });
    expect(body.meta).toMatchObject({ tag: [{ code: '1' }], security: [{ code: 'R' }] });
    expect(body.meta.profile).toBeUndefined();
    expect(headers.get('etag')).toBe('W/"2"');
    expect((await put('a')).headers.get('etag')).toBe('W/"2"');
  });

  it('answers without a body where it is asked to', async () => {
    const answer = await put('a', {}, { Prefer: 'return=minimal' });
    expect([answer.status, answer.text, answer.headers.get('content-length')]).toEqual([
      201,
      '',
      '0',
    ]);
    expect(answer.headers.get('content-location')).toContain('/_history/1');
  });
});

describe('a PUT by id', () => {
  const at = `${base}/${UUID}`;
  const write = (members: object, ifMatch?: string) =>
    server.call(
      'PUT',
      at,
      patient(undefined, { id: UUID, ...members }),
      ifMatch ? { 'If-Match': ifMatch } : {},
    );

  it('is fenced by the version, from W/"0" to the tombstone', async () => {
    expect((await write({}, 'W/"0"')).status).toBe(201);
    expect([
      (await write({ active: true }, 'W/"0"')).status,
      numbers(await write({ active: true }, 'W/"0"')),
    ]).toEqual([409, 'HAPI-0550 HAPI-0989']);
    expect((await write({ active: true }, 'W/"1"')).status).toBe(200);
    expect((await server.call('DELETE', at, undefined, { 'If-Match': 'W/"1"' })).status).toBe(200);
    const gone = await server.call('GET', at);
    expect([gone.status, gone.headers.get('location')]).toEqual([
      410,
      `${server.baseUrl}/Patient/${UUID}/_history/3`,
    ]);
    for (const late of ['W/"0"', 'W/"1"', 'W/"2"']) {
      expect((await write({}, late)).status).toBe(409);
    }
    const history = await server.call('GET', `${at}/_history?_count=1`);
    expect(history.body.entry).toMatchObject([
      { request: { method: 'DELETE' }, response: { etag: 'W/"3"' } },
    ]);
    expect(history.body.entry[0].resource).toBeUndefined();
    const restored = await write({}, 'W/"3"');
    expect([restored.status, restored.headers.get('etag')]).toEqual([201, 'W/"4"']);
    expect((await server.call('GET', `${at}/_history/2`)).body.active).toBe(true);
  });

  it('ignores If-Match for an unknown id, and refuses one that is not a number', async () => {
    expect((await write({}, 'W/"7"')).status).toBe(201);
    expect((await write({}, `W/"${UUID}"`)).status).toBe(500);
  });

  it('refuses ids of digits, ids that differ, and bodies without', async () => {
    expect(
      numbers(await server.call('PUT', `${base}/123`, patient(undefined, { id: '123' }))),
    ).toBe('HAPI-0960');
    expect(numbers(await server.call('PUT', at, patient(undefined, { id: 'other' })))).toBe(
      'HAPI-0420',
    );
    expect(numbers(await server.call('PUT', at, patient()))).toBe('HAPI-0419');
    expect(
      numbers(await server.call('PUT', `${base}/a_b`, patient(undefined, { id: 'a_b' }))),
    ).toBe('HAPI-0521');
  });

  it('answers 404 for an unknown id, 410 for a deleted one; DELETE succeeds', async () => {
    expect((await server.call('GET', at)).status).toBe(404);
    expect((await server.call('DELETE', at)).text).toContain('SUCCESSFUL_DELETE_NOT_FOUND');
    await write({});
    await server.call('DELETE', at);
    expect((await server.call('DELETE', at)).text).toContain('SUCCESSFUL_DELETE_ALREADY_DELETED');
    expect((await server.call('GET', at)).status).toBe(410);
  });
});

describe('references', () => {
  const refer = (reference: string) =>
    server.call('POST', base, patient(undefined, { managingOrganization: { reference } }));

  it('must hold where HAPI follows them', async () => {
    expect(numbers(await refer('Organization/nowhere'))).toBe('HAPI-1094');
    expect(numbers(await refer('https://elsewhere.example/Organization/1'))).toBe('HAPI-0507');
    expect((await refer('urn:uuid:6f1b1c3e-0000-4000-8000-000000000009')).status).toBe(400);
    expect((await refer('Patient/1')).status).toBe(422);
    const bare = { managingOrganization: { identifier: { value: 'x' } } };
    const unfollowed = {
      extension: [{ url: 'http://x', valueReference: { reference: 'Organization/nowhere' } }],
    };
    const contained = {
      contained: [{ resourceType: 'Organization', id: 'o' }],
      managingOrganization: { reference: '#o' },
    };
    for (const members of [bare, unfollowed, contained]) {
      expect((await server.call('POST', base, patient(undefined, members))).status).toBe(201);
    }
  });

  it('are resolved where they are conditional', async () => {
    const { body } = await put('a');
    const observe = (value: string) =>
      server.call('POST', 'fhir/Observation', {
        resourceType: 'Observation',
        status: 'final',
        code: { text: 'x' },
        subject: { reference: `Patient?${query(value)}` },
      });
    expect((await observe('a')).body.subject.reference).toBe(`Patient/${body.id}`);
    expect([(await observe('b')).status, numbers(await observe('b'))]).toEqual([404, 'HAPI-1091']);
    await server.call('POST', base, patient('a'));
    expect([(await observe('a')).status, numbers(await observe('a'))]).toEqual([412, 'HAPI-1092']);
  });

  it('hold their target: it cannot be deleted before who refers to it', async () => {
    const organization = await server.call('POST', 'fhir/Organization', {
      resourceType: 'Organization',
      name: 'x',
    });
    const target = `Organization/${organization.body.id}`;
    const referring = await refer(target);
    expect((await server.call('DELETE', `fhir/${target}`)).status).toBe(409);
    await server.call('DELETE', `${base}/${referring.body.id}`);
    expect((await server.call('DELETE', `fhir/${target}`)).status).toBe(200);
    expect(numbers(await refer(target))).toBe('HAPI-1096');
  });
});

describe('searches', () => {
  it('stay the same for a minute, unless no-cache asks again', async () => {
    const search = (headers?: Record<string, string>) =>
      server.call('GET', `${base}?${query('a')}`, undefined, headers);
    expect((await search()).body.total).toBe(0);
    await put('a');
    expect((await search()).body.total).toBe(0);
    expect((await search(FRESH)).body.total).toBe(1);
    expect((await search()).body.total).toBe(0);
    time += 61_000;
    expect((await search()).body.total).toBe(1);
  });

  it('come in pages that the next links lead through', async () => {
    for (let index = 0; index < 5; index++) {
      await server.call('POST', base, patient(`p${index}`));
    }
    const found: string[] = [];
    let next: string | undefined = `${server.baseUrl}/Patient?_count=2&_elements=id`;
    while (next) {
      const { body } = await server.call('GET', next, undefined, FRESH);
      found.push(...body.entry.map((entry: { resource: { id: string } }) => entry.resource.id));
      expect(body.entry[0].resource.identifier).toBeUndefined();
      next = body.link.find((link: { relation: string }) => link.relation === 'next')?.url;
    }
    expect(new Set(found).size).toBe(5);
  });

  it('by id, tag, time and several values', async () => {
    const { body } = await put('a', {
      meta: { tag: [{ system: 't', code: '1' }] },
      gender: 'female',
    });
    await put('b');
    const found = (search: string) => count(server, `${base}?${search}`);
    expect(await found(`_id=${body.id},nope`)).toBe(1);
    expect(await found('_tag=t%7C1')).toBe(1);
    expect(await found('gender=female')).toBe(1);
    expect(await found(`${query('a')}%2Cb`)).toBe(2);
    expect(await found(`${query('a')}&${query('b')}`)).toBe(0);
    expect(await found('_lastUpdated=lt2020-01-01')).toBe(0);
    expect(await found(`_lastUpdated=ge${encodeURIComponent(body.meta.lastUpdated)}`)).toBe(2);
    expect(numbers(await server.call('GET', `${base}?foo=bar`))).toBe('HAPI-0524');
    expect(numbers(await server.call('GET', `${base}?_lastUpdated=gtnever`))).toBe('HAPI-1940');
  });
});

describe('bundles', () => {
  const send = (type: string, ...entry: object[]) =>
    server.call('POST', 'fhir', { resourceType: 'Bundle', type, entry });
  const entry = (method: string, url: string, resource?: object, members?: object) => ({
    request: { method, url },
    resource,
    ...members,
  });
  const conditional = (value: string, members?: object) =>
    entry('PUT', `Patient?${query(value)}`, patient(value, members));
  const link = (reference: string) => ({ link: [{ other: { reference }, type: 'seealso' }] });

  it('answer entry by entry, with bare versions as etags', async () => {
    const { status, body } = await send('transaction', conditional('a'), conditional('b'));
    expect([status, body.type]).toEqual([200, 'transaction-response']);
    expect(body.entry[0].response).toMatchObject({ status: '201 Created', etag: '1' });
    expect(body.entry[0].response.location).toMatch(/^Patient\/\d+\/_history\/1$/);
  });

  it('happen as a whole or not at all', async () => {
    const broken = entry(
      'POST',
      'Patient',
      patient('b', { managingOrganization: { reference: 'Organization/no' } }),
    );
    const refused = await send('transaction', conditional('a'), broken);
    expect([refused.status, numbers(refused)]).toEqual([400, 'HAPI-1094']);
    expect(await count(server, base)).toBe(0);
    const batch = await send('batch', conditional('a'), broken);
    expect(
      batch.body.entry.map(
        (answered: { response: { status: string } }) => answered.response.status,
      ),
    ).toEqual(['201 Created', '400 Bad Request']);
    expect(await count(server, base)).toBe(1);
  });

  it('refuse a conditional URL twice, several matches, and another id', async () => {
    expect(numbers(await send('transaction', conditional('a'), conditional('a')))).toBe(
      'HAPI-2008',
    );
    await send('transaction', conditional('a', { id: 'mine' }));
    expect((await server.call('GET', `${base}/mine`)).status).toBe(200);
    expect(numbers(await send('transaction', conditional('a', { id: 'other' })))).toBe('HAPI-2279');
    await server.call('POST', base, patient('a'));
    expect((await send('transaction', conditional('b'), conditional('a'))).status).toBe(412);
    expect(await count(server, `${base}?${query('b')}`)).toBe(0);
    expect((await send('collection')).status).toBe(400);
  });

  it('refer to each other by fullUrl and by conditional URL, and go together', async () => {
    const [firstUrl, secondUrl] = [
      'urn:uuid:00000000-0000-4000-8000-000000000001',
      'urn:uuid:00000000-0000-4000-8000-000000000002',
    ];
    const both = await send(
      'transaction',
      entry('POST', 'Patient', patient('a', link(secondUrl)), { fullUrl: firstUrl }),
      entry('POST', 'Patient', patient('b', link(firstUrl)), { fullUrl: secondUrl }),
    );
    expect(both.status).toBe(200);
    const found = await server.call('GET', `${base}?${query('a')}`, undefined, FRESH);
    expect(found.body.entry[0].resource.link[0].other.reference).toMatch(/^Patient\/\d+$/);
    const posted = await send(
      'transaction',
      entry('POST', 'Patient', patient('c')),
      entry('POST', 'Patient', patient('d', link(`Patient?${query('c')}`))),
    );
    expect([posted.status, numbers(posted)]).toEqual([404, 'HAPI-1091']);
    const put = await send(
      'transaction',
      conditional('c'),
      entry('POST', 'Patient', patient('d', link(`Patient?${query('c')}`))),
    );
    expect(put.status).toBe(200);
    const ids = both.body.entry.map(
      (answered: { response: { location: string } }) => answered.response.location.split('/')[1],
    );
    expect((await server.call('DELETE', `${base}/${ids[0]}`)).status).toBe(409);
    const gone = await send(
      'transaction',
      ...ids.map((id: string) => entry('DELETE', `Patient/${id}`)),
    );
    expect(gone.status).toBe(200);
  });

  it('delete by type too', async () => {
    await put('stranger');
    expect((await send('transaction', entry('DELETE', 'Patient?identifier='))).status).toBe(200);
    expect(await count(server, base)).toBe(0);
  });
});

describe('bad input', () => {
  it.each([
    ['{"resourceType": ', 400, 'HAPI-0450'],
    ['', 400, 'HAPI-0450'],
    ['[]', 400, 'HAPI-0450'],
    ['{"resourceType":"Organization"}', 400, 'HAPI-1814'],
    ['{"resourceType":"Patient","gender":"robot"}', 400, 'HAPI-1821'],
    ['{"resourceType":"Patient","birthDate":"soon"}', 400, 'HAPI-1821'],
    ['{"resourceType":"Patient","active":"yes"}', 400, 'HAPI-1821'],
  ])('%s', async (body, status, number) => {
    const answer = await server.call('POST', base, body);
    expect(answer.status).toBe(status);
    expect(numbers(answer)).toContain(number);
    expect(answer.body.issue[0].code).toBe('processing');
    expect((await server.call('GET', 'fhir/metadata')).status).toBe(200);
  });

  it('unknown types and routes are errors, not crashes', async () => {
    expect((await server.call('GET', 'fhir/Foo')).status).toBe(404);
    expect((await server.call('GET', 'fhir/Bot')).status).toBe(404);
    for (const path of ['fhir/Patient/1/$foo', 'fhir/Patient/%', 'fhir/Patient/1/2/3']) {
      expect((await server.call('GET', path)).status).toBeGreaterThanOrEqual(400);
    }
    expect((await server.call('GET', 'elsewhere')).status).toBe(404);
  });

  it('answers a page to clients that accept one, and echoes X-Request-ID', async () => {
    const page = await server.call('GET', `${base}/nope`, undefined, {
      Accept: 'text/html,application/fhir+json',
    });
    expect([page.status, page.headers.get('content-type')]).toEqual([
      404,
      'text/html;charset=utf-8',
    ]);
    expect(page.text).toMatch(/^<html>/);
    expect(
      (await server.call('GET', `${base}/nope`, undefined, { 'X-Request-ID': 'r-1' })).headers.get(
        'x-request-id',
      ),
    ).toBe('r-1');
  });

  it('refuses web pages of other origins', async () => {
    expect(
      (
        await server.call('PUT', `${base}?${query('a')}`, patient('a'), {
          Origin: 'https://evil.example',
        })
      ).status,
    ).toBe(403);
    expect(
      (await server.call('POST', '/_faults', { kind: '503' }, { Origin: 'https://evil.example' }))
        .status,
    ).toBe(403);
    expect(await count(server, base)).toBe(0);
    expect(server.faults.list()).toEqual([]);
  });
});
