// The local Medplum server answers as the real one: rights, versions, searches, and bad input of
// every kind.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LOCAL } from '../../tools/src/medplum/local-project.ts';
import { startTestServer, PROJECT, UNKNOWN_ID } from './support.ts';
import type { TestServer } from './support.ts';

let medplum: TestServer;
beforeAll(async () => void (medplum = await startTestServer()));
afterAll(() => medplum.server.stop());

const patient = (value: string, members: object = {}): object => {
  return { resourceType: 'Patient', identifier: [{ system: 'urn:test', value }], ...members };
};
const text = (body: { issue: { details: { text: string } }[] }): string | undefined =>
  body.issue?.[0]?.details.text;

describe('bad input', () => {
  it.each([
    ['malformed JSON', 'POST', 'Patient', '{"resourceType":', 400, 'Content could not be parsed'],
    ['a JSON string', 'POST', 'Patient', '"x"', 400, 'Content could not be parsed'],
    [
      'no body',
      'POST',
      'Patient',
      '',
      400,
      'Incorrect resource type: expected Patient, but found <EMPTY>',
    ],
    [
      'another type',
      'POST',
      'Patient',
      '{"resourceType":"Bot"}',
      400,
      'Incorrect resource type: expected Patient, but found Bot',
    ],
    [
      'an unknown type to create',
      'POST',
      'Foo',
      '{"resourceType":"Foo"}',
      400,
      'Unknown data type: Foo',
    ],
    ['an unknown type to search', 'GET', 'Foo', undefined, 400, 'Unknown resource type'],
    [
      'an unknown type to read',
      'GET',
      `Foo/${UNKNOWN_ID}`,
      undefined,
      400,
      'Unknown resource type',
    ],
    [
      'an unknown element',
      'POST',
      'Patient',
      '{"resourceType":"Patient","foo":1}',
      400,
      'Invalid additional property "foo"',
    ],
    [
      'an unknown search parameter',
      'GET',
      'Patient?foo=1',
      undefined,
      400,
      'Unknown search parameter: foo',
    ],
    [
      'a search for half a date',
      'GET',
      'Patient?birthdate=2020',
      undefined,
      400,
      'Invalid date value: 2020',
    ],
    [
      'an offset that is too large',
      'GET',
      'Patient?_offset=10001',
      undefined,
      400,
      'Search offset exceeds maximum (got 10001, max 10000)',
    ],
    ['an id that is none', 'GET', 'Patient/abc', undefined, 404, 'Not found'],
    ['an unknown operation', 'POST', 'Patient/$nope', '{}', 404, 'Not found'],
  ])('refuses %s', async (_what, method, path, body, status, message) => {
    const answer = await medplum.call(method, `fhir/R4/${path}`, body);
    expect({ status: answer.status, text: text(answer.body) }).toEqual({ status, text: message });
    expect(answer.body.extension[0].url).toBe(
      'https://medplum.com/fhir/StructureDefinition/tracing',
    );
  });

  it('refuses bodies over 1 MB, takes a larger Binary, and answers on', async () => {
    const large = 'x'.repeat(1_100_000);
    const refused = await medplum.call(
      'POST',
      'fhir/R4/Patient',
      patient('large', { name: [{ text: large }] }),
    );
    expect(refused.status).toBe(413);
    const binary = await medplum.call('POST', 'fhir/R4/Binary', large + large, {
      'Content-Type': 'text/plain',
    });
    expect(binary.status).toBe(201);
    expect((await medplum.call('GET', `fhir/R4/Binary/${binary.body.id}`)).body).toHaveLength(
      2_200_000,
    );
    expect((await medplum.anonymous('GET', 'healthcheck')).body.ok).toBe(true);
  });

  it.each([
    ['no credentials', {}, 'Bearer'],
    ['a token that is none', { Authorization: 'Bearer nonsense' }, 'Bearer'],
    [
      'a token with a wrong signature',
      { Authorization: 'Bearer e30.eyJleHAiOjk5OTk5OTk5OTl9.AAAA' },
      'Bearer',
    ],
    [
      'a wrong secret',
      { Authorization: `Basic ${Buffer.from(`${LOCAL.clientId}:no`).toString('base64')}` },
      'Basic',
    ],
  ])('answers 401 to %s', async (_what, headers, scheme) => {
    for (const path of ['fhir/R4/Patient', 'auth/me', `admin/projects/${PROJECT}`]) {
      const answer = await medplum.anonymous(
        'GET',
        path,
        undefined,
        headers as Record<string, string>,
      );
      expect(answer.status).toBe(401);
      expect(answer.headers.get('www-authenticate')).toContain(scheme);
    }
  });
});

describe('tokens', () => {
  const ask = (fields: Record<string, string>, headers = {}) => {
    return medplum.anonymous('POST', 'oauth2/token', new URLSearchParams(fields), headers);
  };
  it('are given for a client id and secret, in the body or as Basic', async () => {
    const grant = { grant_type: 'client_credentials' };
    const inBody = await ask({
      ...grant,
      client_id: LOCAL.clientId,
      client_secret: LOCAL.clientSecret,
    });
    const pair = Buffer.from(`${LOCAL.clientId}:${LOCAL.clientSecret}`).toString('base64');
    const asBasic = await ask(grant, { Authorization: `Basic ${pair}` });
    for (const { status, body } of [inBody, asBasic]) {
      expect(status).toBe(200);
      expect(body.project.reference).toBe(`Project/${PROJECT}`);
      const me = await medplum.anonymous('GET', 'auth/me', undefined, {
        Authorization: `Bearer ${body.access_token}`,
      });
      expect(me.body.profile.id).toBe(LOCAL.clientId);
    }
  });
  it.each([
    [{ a: '1' }, 'Missing grant_type'],
    [{ grant_type: 'password' }, 'Unsupported grant_type'],
    [{ grant_type: 'client_credentials' }, 'Missing client_id'],
    [{ grant_type: 'client_credentials', client_id: UNKNOWN_ID }, 'Missing client_secret'],
    [
      { grant_type: 'client_credentials', client_id: UNKNOWN_ID, client_secret: 'x' },
      'Invalid client',
    ],
    [
      { grant_type: 'client_credentials', client_id: LOCAL.clientId, client_secret: 'x' },
      'Invalid secret',
    ],
  ])('are refused for %j', async (fields, reason) => {
    const { status, body } = await ask(fields as unknown as Record<string, string>);
    expect({ status, reason: body.error_description }).toEqual({ status: 400, reason });
  });
});

describe('versions', () => {
  it('follow a resource through its life', async () => {
    const made = await medplum.call('POST', 'fhir/R4/Patient', patient('life'));
    const url = `fhir/R4/Patient/${made.body.id}`;
    const first = made.body.meta.versionId;
    const noop = await medplum.call('PUT', url, made.body);
    expect(noop.body.meta.versionId).toBe(first);
    const changed = await medplum.call(
      'PUT',
      url,
      { ...made.body, active: true },
      { 'If-Match': `W/"${first}"` },
    );
    expect(changed.body.meta.versionId).not.toBe(first);
    expect((await medplum.call('PUT', url, made.body, { 'If-Match': `W/"${first}"` })).status).toBe(
      412,
    );
    expect((await medplum.call('DELETE', url)).status).toBe(200);
    expect((await medplum.call('DELETE', url)).status).toBe(200);
    expect((await medplum.call('GET', url)).status).toBe(410);
    expect(
      (await medplum.call('PATCH', url, [{ op: 'add', path: '/active', value: true }])).status,
    ).toBe(410);
    const history = (await medplum.call('GET', `${url}/_history`)).body;
    expect(
      history.entry.map((entry: { response: { status: string } }) => entry.response.status),
    ).toEqual(['410', '200', '200']);
    expect((await medplum.call('GET', `${url}/_history/${first}`)).body.meta.versionId).toBe(first);
    expect((await medplum.call('PUT', url, made.body)).status).toBe(200);
    expect((await medplum.call('GET', url)).status).toBe(200);
  });

  it('guard a PATCH by `test`, and not by If-Match', async () => {
    const made = (await medplum.call('POST', 'fhir/R4/Patient', patient('patch'))).body;
    const url = `fhir/R4/Patient/${made.id}`;
    const guarded = [
      { op: 'test', path: '/meta/versionId', value: made.meta.versionId },
      { op: 'add', path: '/active', value: true },
    ];
    expect((await medplum.call('PATCH', url, guarded)).status).toBe(200);
    const stale = await medplum.call('PATCH', url, guarded);
    expect(stale.status).toBe(400);
    expect(text(stale.body)).toContain('Test failed');
    const unguarded = [{ op: 'add', path: '/active', value: false }];
    expect(
      (await medplum.call('PATCH', url, unguarded, { 'If-Match': `W/"${UNKNOWN_ID}"` })).status,
    ).toBe(200);
  });

  it('are not given to ids of the client', async () => {
    const made = await medplum.call('POST', 'fhir/R4/Patient', {
      ...patient('own-id'),
      id: UNKNOWN_ID,
    });
    expect(made.body.id).not.toBe(UNKNOWN_ID);
    const put = await medplum.call('PUT', `fhir/R4/Patient/${UNKNOWN_ID}`, {
      ...patient('own-id'),
      id: UNKNOWN_ID,
    });
    expect(put.status).toBe(404);
  });
});

describe('searches', () => {
  it('compare identifiers and other tokens by their exact case', async () => {
    await medplum.call('POST', 'fhir/R4/Patient', patient('AbC|1'));
    const count = async (value: string): Promise<number> => {
      const query = `fhir/R4/Patient?identifier=${encodeURIComponent(value)}&_summary=count`;
      return (await medplum.call('GET', query)).body.total;
    };
    expect(await count('urn:test|AbC|1')).toBe(1);
    expect(await count('AbC\\|1')).toBe(0); // unescaped it is read as a system and a value
    expect(await count('urn:test|abc|1')).toBe(0);
    expect(await count('urn:Test|AbC|1')).toBe(0);
    await medplum.call(
      'POST',
      'fhir/R4/Patient',
      patient('tag', { meta: { tag: [{ system: 'urn:tag', code: 'Mine' }] } }),
    );
    const tagged = async (tag: string) =>
      (await medplum.call('GET', `fhir/R4/Patient?_tag=${tag}&_summary=count`)).body.total;
    expect([await tagged('urn:tag|Mine'), await tagged('urn:tag|mine')]).toEqual([1, 0]);
  });

  it('find names by the beginnings of their words', async () => {
    await medplum.call(
      'POST',
      'fhir/R4/Patient',
      patient('name', { name: [{ family: 'Smithson', given: ['Ann Marie'] }] }),
    );
    const count = async (query: string) =>
      (await medplum.call('GET', `fhir/R4/Patient?${query}&_summary=count`)).body.total;
    expect(await count('name=smith')).toBe(1);
    expect(await count('name=marie')).toBe(1);
    expect(await count('name=mithson')).toBe(0);
    expect(await count('name:contains=mithson')).toBe(1);
  });

  it('follow cursors through all resources, each once', async () => {
    const made = new Set<string>();
    for (let n = 0; n < 45; n++) {
      made.add(
        (
          await medplum.call('POST', 'fhir/R4/Basic', {
            resourceType: 'Basic',
            code: { text: `${n}` },
          })
        ).body.id,
      );
    }
    const seen: string[] = [];
    for (let path = 'fhir/R4/Basic?_count=20&_sort=_lastUpdated'; path;) {
      const { body } = await medplum.call('GET', path);
      seen.push(...body.entry.map(({ resource }: { resource: { id: string } }) => resource.id));
      const next = body.link.find(({ relation }: { relation: string }) => relation === 'next')?.url;
      expect(next ?? '_cursor').toContain('_cursor');
      path = next?.slice(medplum.server.baseUrl.length);
    }
    expect(seen).toHaveLength(45);
    expect(new Set(seen)).toEqual(made);
  });

  it('make one resource of many concurrent writes; several matches are refused', async () => {
    const url = 'fhir/R4/Patient?identifier=urn:test|once';
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => medplum.call('PUT', url, patient('once'))),
    );
    expect(answers.map(({ status }) => status).toSorted()).toEqual([
      ...Array.from({ length: 39 }, () => 200),
      201,
    ]);
    await medplum.call('POST', 'fhir/R4/Patient', patient('once'));
    expect((await medplum.call('PUT', url, patient('once', { active: true }))).status).toBe(412);
    expect((await medplum.call('DELETE', url)).status).toBe(412);
    expect(
      (await medplum.call('DELETE', 'fhir/R4/Patient?identifier=urn:test|unknown')).status,
    ).toBe(200);
  });
});

describe('references', () => {
  it('with a condition become the one match; none or several are refused', async () => {
    const make = () =>
      medplum.call('POST', 'fhir/R4/Organization', {
        resourceType: 'Organization',
        identifier: [{ value: 'org' }],
      });
    const { id } = (await make()).body;
    const refer = { managingOrganization: { reference: 'Organization?identifier=org' } };
    const { body } = await medplum.call('POST', 'fhir/R4/Patient', patient('refers', refer));
    expect(body.managingOrganization.reference).toBe(`Organization/${id}`);
    await make();
    const several = await medplum.call('POST', 'fhir/R4/Patient', patient('refers', refer));
    expect(text(several.body)).toBe(
      "Conditional reference 'Organization?identifier=org' matched multiple resources",
    );
  });
});

describe('rights', () => {
  it('of a client without admin rights end at the project', async () => {
    for (const [method, path, body] of [
      ['GET', `admin/projects/${PROJECT}`],
      ['POST', `admin/projects/${PROJECT}/bot`, { name: 'x' }],
      ['POST', `admin/projects/${PROJECT}/secrets`, []],
      ['GET', `fhir/R4/Project/${PROJECT}`],
      ['GET', 'fhir/R4/ProjectMembership'],
      ['POST', 'fhir/R4/ProjectMembership', { resourceType: 'ProjectMembership' }],
    ] as const) {
      expect((await medplum.other(method, path, body)).status, path).toBe(403);
    }
    expect((await medplum.other('GET', 'auth/me')).body.project.id).toBe(PROJECT);
  });

  it('of a policy: 404 for what its criteria exclude, 403 for other types and writes', async () => {
    const policy = await medplum.call('POST', 'fhir/R4/AccessPolicy', {
      resourceType: 'AccessPolicy',
      resource: [{ resourceType: 'Patient', criteria: 'Patient?active=true', readonly: true }],
    });
    const membership = (
      await medplum.call(
        'GET',
        `fhir/R4/ProjectMembership?profile=ClientApplication/${LOCAL.noAdminId}`,
      )
    ).body.entry[0].resource;
    const url = `fhir/R4/ProjectMembership/${membership.id}`;
    await medplum.call('PUT', url, {
      ...membership,
      accessPolicy: { reference: `AccessPolicy/${policy.body.id}` },
    });
    const active = (
      await medplum.call('POST', 'fhir/R4/Patient', patient('rights-1', { active: true }))
    ).body.id;
    const inactive = (
      await medplum.call('POST', 'fhir/R4/Patient', patient('rights-2', { active: false }))
    ).body.id;
    const dead = (
      await medplum.call('POST', 'fhir/R4/Patient', patient('rights-3', { active: true }))
    ).body.id;
    await medplum.call('DELETE', `fhir/R4/Patient/${dead}`);
    expect((await medplum.other('GET', `fhir/R4/Patient/${active}`)).status).toBe(200);
    expect((await medplum.other('GET', `fhir/R4/Patient/${inactive}`)).status).toBe(404);
    expect((await medplum.other('GET', `fhir/R4/Patient/${dead}`)).status).toBe(404);
    expect(
      (await medplum.other('GET', 'fhir/R4/Patient?_deleted=true')).body.entry,
    ).toBeUndefined();
    expect((await medplum.other('GET', `fhir/R4/Observation/${UNKNOWN_ID}`)).status).toBe(403);
    expect(
      (await medplum.other('PUT', `fhir/R4/Patient/${active}`, patient('rights-1'))).status,
    ).toBe(400);
    const write = { ...patient('rights-1', { active: true, gender: 'other' }), id: active };
    expect((await medplum.other('PUT', `fhir/R4/Patient/${active}`, write)).status).toBe(403);
    await medplum.call('DELETE', `fhir/R4/AccessPolicy/${policy.body.id}`);
    expect(
      (await medplum.other('GET', `fhir/R4/Patient/${active}`)).status,
      'a broken policy lets no one in',
    ).toBe(400);
    await medplum.call('PUT', url, { ...membership, accessPolicy: undefined });
    const tombstones = (await medplum.other('GET', 'fhir/R4/Patient?_deleted=true')).body.entry;
    const { resource } = tombstones.find(
      (entry: { resource: { id: string } }) => entry.resource.id === dead,
    );
    expect(resource).toEqual({
      resourceType: 'Patient',
      id: dead,
      meta: { lastUpdated: resource.meta.lastUpdated },
    });
  });

  it('do not reach the members of a project that no client may change', async () => {
    const path = `fhir/R4/Project/${PROJECT}`;
    const features = [{ op: 'add', path: '/features/-', value: 'transaction-bundles' }];
    await medplum.call('PATCH', path, features);
    expect((await medplum.call('GET', path)).body.features).not.toContain('transaction-bundles');
    expect((await medplum.call('DELETE', path)).status).toBe(403);
  });
});

describe('secrets', () => {
  it('are replaced as a whole by the admin endpoint, and added by PATCH', async () => {
    await medplum.call('POST', `admin/projects/${PROJECT}/secrets`, [
      { name: 'A', valueString: '1' },
    ]);
    const add = [{ op: 'add', path: '/secret/-', value: { name: 'B', valueString: '2' } }];
    await medplum.call('PATCH', `fhir/R4/Project/${PROJECT}`, add);
    const { project } = (await medplum.call('GET', `admin/projects/${PROJECT}`)).body;
    expect(project.secret.map(({ name }: { name: string }) => name)).toEqual(['A', 'B']);
  });
});

describe('attachments', () => {
  it('have signed addresses that differ at each read, and are stored as references', async () => {
    const id = await medplum.bot('exports.handler = async () => true;');
    const read = async (): Promise<string> =>
      (await medplum.call('GET', `fhir/R4/Bot/${id}`)).body.executableCode.url;
    const [first, second] = [await read(), await read()];
    expect(first).not.toBe(second);
    const path = first.slice(medplum.server.baseUrl.length);
    expect((await medplum.anonymous('GET', path)).body).toContain('exports.handler');
    expect(
      (await medplum.anonymous('GET', path.replace(/Signature=.{4}/, 'Signature=AAAA'))).status,
    ).toBe(401);
    const bot = (await medplum.call('GET', `fhir/R4/Bot/${id}`)).body;
    const put = await medplum.call('PUT', `fhir/R4/Bot/${id}`, bot);
    expect(put.body.meta.versionId, 'writing back what was read changes nothing').toBe(
      bot.meta.versionId,
    );
  });
});

describe('browsers', () => {
  it.each([
    ['another site', { Origin: 'https://evil.example' }],
    ['a sandboxed page', { Origin: 'null' }],
    ['another port', { Origin: 'http://localhost:1' }],
  ])('are refused for %s', async (_what, headers) => {
    expect(
      (await medplum.anonymous('POST', 'oauth2/token', new URLSearchParams({}), headers)).status,
    ).toBe(403);
    expect((await medplum.call('GET', 'fhir/R4/Patient', undefined, headers)).status).toBe(403);
  });
  it('are refused under a foreign name that points to this machine', async () => {
    const { request } = await import('node:http');
    const { port } = new URL(medplum.server.baseUrl);
    const status = await new Promise((resolve, reject) => {
      const options = {
        host: '127.0.0.1',
        port,
        path: '/healthcheck',
        headers: { Host: `evil.example:${port}` },
      };
      request(options, (response) => resolve(response.statusCode))
        .on('error', reject)
        .end();
    });
    expect(status).toBe(403);
  });
  it('are answered for the page itself', async () => {
    const origin = medplum.server.baseUrl.slice(0, -1);
    expect(
      (await medplum.anonymous('GET', 'healthcheck', undefined, { Origin: origin })).status,
    ).toBe(200);
  });
});
