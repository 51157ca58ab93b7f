// A target whose answers are wrong: whatever it answers, no other resource is changed, and a write
// counts only if its answer proves it.
import { randomUUID } from 'node:crypto';
import type { Patient } from '@medplum/fhirtypes';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { clock } from '../../src/shared/retry.ts';
import { connectExternalServer } from '../../src/shared/external-server.ts';
import { sync } from '../../src/shared/sync/index.ts';
import type { SyncConfig, SyncResult } from '../../src/shared/sync/index.ts';
import { testConfig } from './config.ts';
import { memorySource } from './memory-source.ts';
import type { MemorySource } from './memory-source.ts';

const BASE = 'https://target.example.org/fhir';
const OUTCOME = {
  resourceType: 'OperationOutcome',
  issue: [{ severity: 'error', code: 'processing' }],
};
const DONE = {
  resourceType: 'OperationOutcome',
  issue: [{ severity: 'information', code: 'informational' }],
};
const NEVER_THERE = (): Response => Response.json(OUTCOME, { status: 404 });
const WEB_PAGE = (status = 200): Response => new Response('<h1>Sign in</h1>', { status });

let source: MemorySource;
let config: SyncConfig;
let id: string;
let requests: string[];
let answer: (request: string, init: RequestInit) => Response;

beforeEach(() => {
  source = memorySource();
  config = testConfig();
  id = randomUUID();
  requests = [];
  vi.spyOn(clock, 'sleep').mockImplementation((_ms, signal) =>
    signal ? new Promise(() => undefined) : Promise.resolve(),
  );
  vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init = {}) => {
    const request = `${init.method} ${String(url).slice(BASE.length + 1)}`;
    requests.push(request);
    return answer(request, init);
  });
});
afterEach(() => {
  vi.restoreAllMocks();
});

function syncs(isDeletionKnown = false): Promise<SyncResult> {
  const deadline = clock.now() + 5_000;
  const secrets = { HAPI_BASE_URL: { name: 'HAPI_BASE_URL', valueString: BASE } };
  const context = {
    medplum: source.medplum,
    target: connectExternalServer(secrets, deadline),
    config,
    deadline,
  };
  return sync(context, 'Patient', id, { isDeletionKnown });
}

function save(patient: Partial<Patient> = {}): void {
  source.save({ resourceType: 'Patient', id, ...patient } as Patient & { id: string });
}

/** The patient as the target has it. */
function stored(patient: Partial<Patient> = {}): Patient {
  const meta = { versionId: '3', tag: [{ system: 'https://medplum.com/sync', code: 'synced' }] };
  return { resourceType: 'Patient', id, meta, ...patient };
}

function writes(): string[] {
  return requests.filter((request) => !request.startsWith('GET'));
}

describe('reading the target', () => {
  test.each([
    ['someone-else', { id: 'someone-else' }],
    ['an organization', { resourceType: 'Organization', id: 'org1' }],
    ['a path', { id: '../Observation/7' }],
    ['no id', { id: undefined }],
    ['a search result', { resourceType: 'Bundle', type: 'searchset' }],
  ])('answers with another resource (%s): nothing is deleted or written', async (_name, other) => {
    answer = () => Response.json({ ...stored(), ...other });
    save();
    await expect(syncs()).rejects.toMatchObject({ code: 'untrusted' });
    source.remove('Patient', id);
    await expect(syncs(true)).rejects.toMatchObject({ code: 'untrusted' });
    expect(writes()).toEqual([]);
  });

  test.each([
    ['a web page with 200', () => WEB_PAGE()],
    ['a web page with 404', () => WEB_PAGE(404)],
    ['a web page with 410', () => WEB_PAGE(410)],
    ['an empty 200', () => new Response('')],
    ['an empty 404', () => new Response('', { status: 404 })],
    ['an outcome with 200', () => Response.json(OUTCOME)],
    ['a list', () => Response.json([stored()])],
    ['a 202 with the resource', () => Response.json(stored(), { status: 202 })],
    [
      'a redirect',
      () =>
        new Response('', { status: 302, headers: { location: 'https://elsewhere.example.org' } }),
    ],
  ])('answers with %s: that proves nothing', async (_name, look) => {
    answer = look;
    save();
    await expect(syncs()).rejects.toMatchObject({ code: 'untrusted' });
    source.remove('Patient', id);
    await expect(syncs(true), 'nor of a deletion').rejects.toMatchObject({ code: 'untrusted' });
    expect(writes()).toEqual([]);
  });

  test.each([
    ['501', () => new Response('', { status: 501 })],
    ['a web page', () => WEB_PAGE()],
    ['no version', () => Response.json({ resourceType: 'Bundle', type: 'history', entry: [{}] })],
    [
      'the history of another',
      () => {
        const request = { method: 'DELETE', url: 'Patient/another' };
        return Response.json({
          resourceType: 'Bundle',
          type: 'history',
          entry: [{ request, response: { etag: '7' } }],
        });
      },
    ],
  ])(
    'a target without history (%s) cannot restore, but what was deleted is deleted',
    async (_name, history) => {
      answer = (request) =>
        request.includes('_history') ? history() : Response.json(OUTCOME, { status: 410 });
      save();
      await expect(syncs()).rejects.toMatchObject({ code: 'unsupported' });
      source.remove('Patient', id);
      expect(await syncs(true)).toMatchObject({ action: 'absent' });
      expect(writes()).toEqual([]);
    },
  );

  test.each([
    ['from the location', true],
    ['from the history', false],
  ])('the version of a tombstone is taken %s', async (_name, inLocation) => {
    const headers = inLocation ? { location: `${BASE}/Patient/${id}/_history/4` } : undefined;
    const request = { method: 'DELETE', url: `Patient/${id}/_history/4` };
    const entry = [{ request, response: { etag: 'W/"4"' } }];
    const history = { resourceType: 'Bundle', type: 'history', entry };
    let fence: unknown;
    answer = (sent, init) => {
      if (sent.startsWith('PUT')) {
        fence = (init.headers as Record<string, string>)['if-match'];
        return new Response('', { status: 201, headers: { etag: 'W/"5"' } });
      }
      return sent.includes('_history')
        ? Response.json(history)
        : Response.json(OUTCOME, { status: 410, ...(headers && { headers }) });
    };
    save();
    expect(await syncs()).toMatchObject({ action: 'created', version: '5' });
    expect(fence).toBe('W/"4"');
    expect(requests).toHaveLength(inLocation ? 2 : 3);
  });
});

describe('the answer to a PUT', () => {
  const etag = { etag: 'W/"1"' };

  test.each([
    ['a web page with 200', () => WEB_PAGE()],
    ['a web page with an ETag', () => new Response('<h1>Sign in</h1>', { headers: etag })],
    ['an empty 200', () => new Response('')],
    ['a 202', () => new Response('', { status: 202, headers: etag })],
    ['a 204', () => new Response(null, { status: 204 })],
    [
      'a 207 with an error inside',
      () => Response.json({ status: 500 }, { status: 207, headers: etag }),
    ],
    ['an outcome of severity error', () => Response.json(OUTCOME, { headers: etag })],
    [
      'another resource',
      () => Response.json({ resourceType: 'Patient', id: 'x' }, { status: 201, headers: etag }),
    ],
    [
      'another type',
      () => Response.json({ resourceType: 'Basic', id: 'x' }, { status: 201, headers: etag }),
    ],
    ['a list', () => Response.json([], { headers: etag })],
    [
      'the location of another resource',
      () =>
        new Response('', {
          status: 201,
          headers: { ...etag, location: `${BASE}/Patient/x/_history/1` },
        }),
    ],
  ])('is %s: that is a failure, not an update', async (_name, put) => {
    answer = (request) => (request.startsWith('PUT') ? put() : NEVER_THERE());
    save();
    await expect(syncs()).rejects.toMatchObject({ code: 'untrusted' });
    expect(writes()).toEqual([`PUT Patient/${id}`]);
  });

  test.each([
    ['an ETag', () => new Response('', { status: 201, headers: etag })],
    [
      'a location',
      () =>
        new Response('', { status: 201, headers: { location: `/fhir/Patient/${id}/_history/1` } }),
    ],
    ['the resource', () => Response.json(stored({ meta: { versionId: '1' } }), { status: 201 })],
    [
      'an outcome without errors, and an ETag',
      () => Response.json(DONE, { status: 201, headers: etag }),
    ],
  ])('is proof with %s', async (_name, put) => {
    answer = (request) => (request.startsWith('PUT') ? put() : NEVER_THERE());
    save();
    expect(await syncs()).toMatchObject({ action: 'created', version: '1' });
  });

  test('a refusal of If-Match: W/"0" on create is told apart from a conflict', async () => {
    answer = (request) =>
      request.startsWith('PUT') ? Response.json(OUTCOME, { status: 412 }) : NEVER_THERE();
    save();
    await expect(syncs()).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('If-Match'),
    });
    expect(writes()).toHaveLength(3);
  });
});

describe('the answer to a DELETE', () => {
  beforeEach(() => {
    save();
    source.remove('Patient', id);
  });

  test.each([
    ['a web page with 200', () => WEB_PAGE()],
    ['an empty 200', () => new Response('')],
    ['a 202', () => new Response('', { status: 202 })],
    ['a 207', () => Response.json({}, { status: 207 })],
    ['an outcome of severity error', () => Response.json(OUTCOME)],
    ['another resource', () => Response.json(stored({ id: 'x' }))],
    ['a 404', () => WEB_PAGE(404)],
  ])('is %s: the sync checks whether the resource is deleted', async (_name, deleted) => {
    let isGone = false;
    answer = (request) => {
      if (request.startsWith('DELETE')) {
        return deleted();
      }
      return isGone && writes().length > 0
        ? Response.json(OUTCOME, { status: 410, headers: tombstone() })
        : Response.json(stored());
    };
    await expect(syncs(true), 'it is still there').rejects.toMatchObject({ code: 'untrusted' });
    isGone = true;
    requests = [];
    expect(await syncs(true)).toMatchObject({ action: 'deleted' });
    expect(writes()).toEqual([`DELETE Patient/${id}`]);
  });

  test.each([
    ['200 with an outcome', () => Response.json(DONE)],
    ['204', () => new Response(null, { status: 204 })],
  ])('is proof with %s', async (_name, deleted) => {
    answer = (request) => (request.startsWith('DELETE') ? deleted() : Response.json(stored()));
    expect(await syncs(true)).toMatchObject({ action: 'deleted' });
    expect(requests).toHaveLength(2);
  });

  function tombstone(): Record<string, string> {
    return { location: `${BASE}/Patient/${id}/_history/4` };
  }
});

describe('the answer to a transaction', () => {
  const other = 'other';
  const good = { response: { status: '201 Created', etag: '1' } };
  const bundle = (...entry: object[]): object => ({
    resourceType: 'Bundle',
    type: 'transaction-response',
    entry,
  });

  test.each([
    ['nothing', () => new Response('')],
    ['a web page', () => WEB_PAGE()],
    ['an empty Bundle', () => Response.json(bundle())],
    ['too few entries', () => Response.json(bundle(good))],
    ['a batch', () => Response.json({ ...bundle(good, good), type: 'batch-response' })],
    ['a 202', () => Response.json(bundle(good, good), { status: 202 })],
    ['an inner 500', () => Response.json(bundle({ response: { status: '500' } }, good))],
    ['no version', () => Response.json(bundle({ response: { status: '201' } }, good))],
    [
      'the location of another',
      () =>
        Response.json(
          bundle(
            { response: { status: '201', location: 'Patient/x/_history/1', etag: '1' } },
            good,
          ),
        ),
    ],
  ])('is %s: that is a failure', async (_name, transaction) => {
    source.save({ resourceType: 'Patient', id: other });
    save({ link: [{ other: { reference: `Patient/${other}` }, type: 'refer' }] });
    answer = (request) => {
      if (request.startsWith('PUT')) {
        return Response.json(OUTCOME, { status: 400 });
      }
      return request.startsWith('POST') ? transaction() : NEVER_THERE();
    };
    await expect(syncs()).rejects.toMatchObject({ code: 'untrusted' });
  });
});

test.each([
  'Patient/../../x',
  'Patient/?_count=1000',
  'Patient/..',
  'https://evil.example.org/Patient/1',
])('a reference such as %s leads to no request', async (reference) => {
  answer = (request) =>
    request.startsWith('PUT') ? Response.json(OUTCOME, { status: 400 }) : NEVER_THERE();
  save({ link: [{ other: { reference }, type: 'refer' }] });
  await expect(syncs()).rejects.toMatchObject({ code: 'refused' });
  expect(new Set(requests)).toEqual(new Set([`GET Patient/${id}`, `PUT Patient/${id}`]));
});

test('a type without "active" is not reported as deactivated', async () => {
  config = testConfig({ types: ['Observation'], onDelete: 'deactivate' });
  const observation = { resourceType: 'Observation', id, status: 'final', code: {} } as const;
  source.save(observation);
  source.remove('Observation', id);
  answer = () => Response.json({ ...observation, meta: stored().meta });
  const deadline = clock.now() + 5_000;
  const secrets = { HAPI_BASE_URL: { name: 'HAPI_BASE_URL', valueString: BASE } };
  const context = {
    medplum: source.medplum,
    target: connectExternalServer(secrets, deadline),
    config,
    deadline,
  };
  await expect(sync(context, 'Observation', id, { isDeletionKnown: true })).rejects.toMatchObject({
    code: 'unsupported',
  });
  expect(writes()).toEqual([]);
});
