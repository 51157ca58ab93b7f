// Requests to other systems, against a small HTTP server that answers what a test tells it to.
import { createServer } from 'node:http';
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { OperationOutcomeError } from '@medplum/core';
import type { Patient } from '@medplum/fhirtypes';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { identifierQuery, parseIdentifierQuery } from '../src/shared/fhir-identifier.ts';
import {
  describeError,
  HTTP_VERBS,
  logExternalRequest,
  makeAuthenticatedRequest,
  makeConditionalFhirRequest,
  makeExternalRequest,
} from '../src/shared/http-helpers.ts';
import { isRequestFailure, sendRequest } from '../src/shared/http-request.ts';
import { clock } from '../src/shared/retry.ts';

interface Seen {
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
  body: string;
}

let baseUrl = '';
let seen: Seen[] = [];
let answers: ((response: ServerResponse) => void)[] = [];
let now = 0;

const server = createServer((request, response) => {
  let body = '';
  request.on('data', (chunk) => (body += String(chunk)));
  request.on('end', () => {
    seen.push({
      method: request.method ?? '',
      url: request.url ?? '',
      headers: request.headers,
      body,
    });
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    answer?.(response);
  });
});

/** An answer of the server; the last one of a test is repeated. */
function answer(
  status: number,
  body: string | object = '',
  headers: Record<string, string> = {},
): (typeof answers)[0] {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return (response) =>
    response.writeHead(status, { 'content-type': 'application/fhir+json', ...headers }).end(text);
}

async function failureOf(request: Promise<unknown>): Promise<Error & Record<string, unknown>> {
  return request.then(
    () => expect.fail('the request should have failed'),
    (error: Error & Record<string, unknown>) => error,
  );
}

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/fhir`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  seen = [];
  answers = [answer(200)];
  now = 0;
  // A clock that only retries move: deadlines of single requests never strike, and nothing waits.
  vi.spyOn(clock, 'now').mockImplementation(() => now);
  vi.spyOn(clock, 'sleep').mockImplementation(async (ms, signal) => {
    await (signal ? new Promise(() => undefined) : Promise.resolve());
    now += ms;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
});

describe('makeExternalRequest', () => {
  test('sends FHIR JSON and returns the parsed answer', async () => {
    answers = [answer(201, { resourceType: 'Patient', id: '1' })];
    const headers = { 'x-request-id': 'abc' };
    const body = await makeExternalRequest(
      `${baseUrl}/Patient`,
      HTTP_VERBS.POST,
      { resourceType: 'Patient' },
      headers,
    );
    expect(body).toEqual({ resourceType: 'Patient', id: '1' });
    expect(seen[0]).toMatchObject({
      method: 'POST',
      url: '/fhir/Patient',
      body: '{"resourceType":"Patient"}',
    });
    expect(seen[0]?.headers).toMatchObject({
      'content-type': 'application/fhir+json',
      accept: 'application/fhir+json',
      'x-request-id': 'abc',
    });
  });

  test.each([undefined, null])('a body of %s sends none', async (body) => {
    await makeExternalRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.DELETE, body);
    expect(seen[0]?.body).toBe('');
  });

  test.each([
    ['204 without a body', answer(204)],
    ['200 with an empty body', answer(200, '')],
    ['200 with a page of HTML', answer(200, '<html>hello</html>', { 'content-type': 'text/html' })],
  ])('%s is a success without a result', async (_name, reply) => {
    answers = [reply];
    expect(await makeExternalRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.DELETE)).toBeUndefined();
  });

  test.each([429, 500, 502, 503, 504])('tries again after %i', async (status) => {
    answers = [
      answer(status, '<html>busy</html>'),
      answer(status),
      answer(200, { resourceType: 'Patient' }),
    ];
    expect(await makeExternalRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.PUT, {})).toEqual({
      resourceType: 'Patient',
    });
    expect(seen).toHaveLength(3);
  });

  test('waits as long as Retry-After says', async () => {
    answers = [answer(429, '', { 'retry-after': '3' }), answer(200)];
    await makeExternalRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.GET);
    expect(now).toBeGreaterThanOrEqual(3_000);
    expect(now).toBeLessThan(3_300);
  });

  test('does not wait for a Retry-After beyond its time budget', async () => {
    answers = [answer(503, '', { 'retry-after': '60' })];
    const error = await failureOf(makeExternalRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.GET));
    expect(error['status']).toBe(503);
    expect(seen).toHaveLength(1);
  });

  test('ends within its time budget', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(1);
    answers = [answer(503)];
    await failureOf(makeExternalRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.GET));
    expect(now).toBeLessThan(8_000);
    expect(seen.length).toBeGreaterThan(3);
  });

  test('gives each attempt only the time that is left', async () => {
    answers = [answer(503, '', { 'retry-after': '3' })];
    const ends: number[] = [];
    vi.mocked(clock.sleep).mockImplementation(async (ms, signal) => {
      if (signal) {
        ends.push(now + ms);
        await new Promise(() => undefined);
      }
      now += ms;
    });
    vi.spyOn(Math, 'random').mockReturnValue(0);
    await failureOf(makeExternalRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.GET));
    expect(ends, 'at most 4 s for one attempt, 8 s for all').toEqual([4_000, 7_000, 8_000]);
  });

  test('tries again after a broken connection', async () => {
    answers = [(response) => response.destroy(), answer(200, { resourceType: 'Patient' })];
    expect(await makeExternalRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.GET)).toEqual({
      resourceType: 'Patient',
    });
  });

  test('an answer that breaks off half-way counts as no answer', async () => {
    const half = (response: ServerResponse): void => {
      response.writeHead(200, { 'content-length': '100' }).write('{"resourceType":');
      setImmediate(() => response.destroy());
    };
    answers = [half, answer(200, { resourceType: 'Patient' })];
    expect(await makeExternalRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.GET)).toEqual({
      resourceType: 'Patient',
    });
  });

  test.each([400, 401, 403, 404, 409, 410, 412, 422])(
    'does not try again after %i',
    async (status) => {
      answers = [answer(status)];
      expect(
        (await failureOf(makeExternalRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.GET)))['status'],
      ).toBe(status);
      expect(seen).toHaveLength(1);
    },
  );

  test.each([HTTP_VERBS.POST, HTTP_VERBS.PATCH])(
    '%s is sent again after 429 only: it may have been done',
    async (verb) => {
      answers = [answer(503)];
      await failureOf(makeExternalRequest(`${baseUrl}/Patient`, verb, {}));
      expect(seen).toHaveLength(1);
      answers = [answer(429), answer(201)];
      await makeExternalRequest(`${baseUrl}/Patient`, verb, {});
      expect(seen).toHaveLength(3);
    },
  );

  test('a redirect is an error: a patient is sent only to the configured address', async () => {
    answers = [answer(307, '', { location: `${baseUrl}/elsewhere` })];
    expect(
      (await failureOf(makeExternalRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.PUT, {})))['status'],
    ).toBe(307);
    expect(seen).toHaveLength(1);
  });

  test.each([
    'http://hapi.example.org/fhir',
    'http://11.0.0.1/fhir',
    'ftp://localhost/fhir',
    'localhost:8080',
    '',
    'http://172.15.0.1/',
    'http://172.32.0.1/',
    'http://10.0.0.1.example.org/',
    'http://internal.example.org/',
  ])('refuses to send a patient to %j', async (url) => {
    await expect(makeExternalRequest(url, HTTP_VERBS.GET)).rejects.toThrow('must be https://');
  });

  test.each([
    'http://hapi:8080/',
    'http://10.1.2.3/',
    'http://fhir.internal/',
    'http://[::1]:9/',
    'https://a.org/',
    'http://172.16.0.1/',
    'http://172.20.0.1/',
    'http://172.31.0.1/',
    'http://192.168.1.1/',
    'http://localhost/',
  ])('may send to %s', async (url) => {
    vi.stubGlobal('fetch', async () => ({
      ok: true,
      status: 200,
      headers: new Map(),
      text: async () => '{"ok":1}',
    }));
    expect(await makeExternalRequest(url, HTTP_VERBS.GET)).toEqual({ ok: 1 });
    vi.unstubAllGlobals();
  });
});

const outcome410 = {
  resourceType: 'OperationOutcome',
  issue: [{ severity: 'error', code: 'deleted' }],
};

describe('sendRequest', () => {
  test('an answer that does not come in time is a failure', async () => {
    vi.spyOn(clock, 'sleep').mockResolvedValue(undefined);
    answers = [() => undefined];
    const error = await failureOf(
      sendRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.GET, undefined, {}, 5),
    );
    expect(error).toMatchObject({ status: 0, codes: ['timeout'] });
  });

  test('a body without end is cut off: it would fill the memory of the whole server', async () => {
    let written = 0;
    const endless = (response: ServerResponse): void => {
      const chunk = Buffer.alloc(1024 * 1024, ' ');
      const write = (): void => {
        while (!response.destroyed && written < 200 && response.write(chunk)) {
          written++;
        }
        written++;
      };
      response.writeHead(200).on('drain', write);
      write();
    };
    answers = [endless];
    const error = await failureOf(
      sendRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.GET, undefined, {}, 5_000),
    );
    expect(error).toMatchObject({ status: 0, codes: ['too-large'] });
    expect(written).toBeLessThan(100);
  });

  test('a small body that unpacks to a large one is cut off, too', async () => {
    const bomb = gzipSync(Buffer.alloc(11 * 1024 * 1024));
    answers = [(response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb)];
    const error = await failureOf(
      sendRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.GET, undefined, {}, 5_000),
    );
    expect(error).toMatchObject({ status: 0, codes: ['too-large'] });
  });

  test('reports location and kind of body, of failures too', async () => {
    answers = [
      answer(200, '', { 'content-location': '/fhir/Patient/1/_history/2' }),
      answer(410, outcome410, { location: 'x' }),
    ];
    const sent = (): ReturnType<typeof sendRequest> =>
      sendRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.PUT, {}, {}, 1000);
    expect(await sent()).toMatchObject({ isEmpty: true, location: '/fhir/Patient/1/_history/2' });
    expect(await failureOf(sent())).toMatchObject({ status: 410, isFhir: true, location: 'x' });
  });

  test('text is sent as it is', async () => {
    await sendRequest(
      `${baseUrl}/token`,
      HTTP_VERBS.POST,
      'grant_type=client_credentials',
      {},
      1000,
    );
    // The request that was given up in the test before may arrive first.
    expect(seen.at(-1)?.body).toBe('grant_type=client_credentials');
  });

  test('the version is the ETag without its wrapping', async () => {
    answers = [answer(200, {}, { etag: 'W/"17"' })];
    const response = await sendRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.GET, undefined, {}, 1000);
    expect(response.version).toBe('17');
  });
});

describe('failures', () => {
  const outcome = {
    resourceType: 'OperationOutcome',
    issue: [
      {
        severity: 'error',
        code: 'processing',
        diagnostics: 'HAPI-0989: Trying to update Ada Lovelace 1815-12-10',
      },
    ],
  };

  test('carry status, verb, type and codes, and are OperationOutcomeErrors', async () => {
    answers = [answer(409, outcome)];
    const error = await failureOf(makeExternalRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.PUT, {}));
    expect(error).toBeInstanceOf(OperationOutcomeError);
    expect(isRequestFailure(error)).toBe(true);
    expect(error).toMatchObject({
      status: 409,
      method: 'PUT',
      resourceType: 'Patient',
      codes: ['processing', 'HAPI-0989'],
    });
    expect(error.message).toBe('PUT Patient: HTTP 409 (processing, HAPI-0989)');
  });

  test.each([
    ['a page of HTML', '<h1>no</h1>', []],
    ['no number', { issue: [{ code: 'not-found', diagnostics: 'gone' }] }, ['not-found']],
    ['the same twice', { issue: [{ code: 'invalid' }, { code: 'invalid' }] }, ['invalid']],
    [
      'texts in their place',
      { issue: [{ code: 'ada lovelace' }, { code: 'of HAPI-0001' }, {}] },
      [],
    ],
  ])('their codes hold codes and nothing else: %s', async (_name, body, codes) => {
    answers = [answer(400, body)];
    expect(
      (await failureOf(makeExternalRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.GET)))['codes'],
    ).toEqual(codes);
  });

  test.each([
    [{ cause: { code: 'ECONNRESET' } }, ['ECONNRESET']],
    [{ code: 'ECONNREFUSED' }, ['ECONNREFUSED']],
    [{ code: 'ECONNRESET at Ada' }, []],
    [{ code: 'at ECONNRESET' }, []],
    [{}, []],
  ])('a network error is its code: %j', async (error, codes) => {
    vi.stubGlobal('fetch', async () =>
      Promise.reject(Object.assign(new TypeError('request to Ada failed'), error)),
    );
    const failure = await failureOf(
      sendRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.GET, undefined, {}, 1000),
    );
    vi.unstubAllGlobals();
    expect(failure).toMatchObject({ status: 0, codes });
    expect(failure['outcome']).toMatchObject({
      resourceType: 'OperationOutcome',
      issue: [{ code: 'transient' }],
    });
    expect(describeError(failure)).toBe(['no answer', ...codes].join(' '));
  });

  test('name the codes of an OAuth server, and nothing else of its answer', async () => {
    answers = [
      answer(401, { error: 'invalid_client', error_description: 'Ada Lovelace' }),
      answer(401, { error: 'Ada Lovelace' }),
    ];
    const url = `${baseUrl}/token`;
    const first = await failureOf(makeExternalRequest(url, HTTP_VERBS.POST, 'grant_type=x'));
    expect(first.message).toBe('POST 127.0.0.1: HTTP 401 (invalid_client)');
    const second = await failureOf(makeExternalRequest(url, HTTP_VERBS.POST, 'grant_type=x'));
    expect(second.message).toBe('POST 127.0.0.1: HTTP 401');
  });

  test.each([
    ['an OperationOutcome', answer(404, { resourceType: 'OperationOutcome', issue: [] }), true],
    ['a web page', answer(404, '<h1>Not found</h1>'), false],
    ['other JSON', answer(404, { resourceType: 'Patient' }), false],
    ['no answer', (response: ServerResponse) => response.destroy(), false],
  ])('tell a FHIR server from a proxy: %s', async (_name, reply, isFhir) => {
    answers = [reply];
    const request = sendRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.GET, undefined, {}, 1000);
    expect(await failureOf(request)).toMatchObject({ isFhir });
  });

  test.each([
    ['/R4/x-Observation1/Patient/1', 'Patient'],
    ['/Fhir4/MedicationRequest', 'MedicationRequest'],
    ['/oauth2/token', '127.0.0.1'],
  ])('of the address %s they name %s', async (path, named) => {
    answers = [answer(400)];
    const error = await failureOf(
      sendRequest(new URL(path, baseUrl).href, HTTP_VERBS.GET, undefined, {}, 1000),
    );
    expect(error).toMatchObject({
      resourceType: named,
      outcome: { issue: [{ severity: 'error', code: 'processing' }] },
    });
  });

  test.each([
    ['FHIR', answer(400, outcome)],
    ['HTML', answer(400, '<h1>Ada Lovelace 1815-12-10</h1>')],
    ['an odd body', answer(400, { issue: [{ code: 'Ada Lovelace' }, null, { diagnostics: 7 }] })],
    ['no JSON at all', answer(400, '{"issue": [{"diagnostics": "Ada Lovelace')],
    ['a list', answer(400, ['Ada Lovelace'])],
    ['an issue that is not a list', answer(400, { issue: 'Ada Lovelace' })],
    ['a network error', (response: ServerResponse) => response.destroy()],
  ])('never hold the query, the body or diagnostics: %s', async (name, reply) => {
    answers = [reply];
    const patient = {
      resourceType: 'Patient',
      name: [{ family: 'Lovelace' }],
      birthDate: '1815-12-10',
    };
    const url = `${baseUrl}/Patient?identifier=urn:mrn%7CAda-77`;
    const error = await failureOf(makeExternalRequest(url, HTTP_VERBS.POST, patient));
    const everything =
      `${error.stack} ${JSON.stringify(error, Object.getOwnPropertyNames(error))} ` +
      `${String(error.cause)}`;
    expect(everything).not.toMatch(/Ada|Lovelace|1815|urn:mrn/);
    expect(error.message).toMatch(/^POST Patient: (HTTP 400|no answer)/);
    expect(error['status']).toBe(name === 'a network error' ? 0 : 400);
  });
});

describe('makeConditionalFhirRequest', () => {
  const system = 'https://medplum.com/patient-id';
  const patient: Patient = {
    resourceType: 'Patient',
    id: 'x',
    identifier: [{ system, value: '1' }],
  };

  test('encodes the query again and leaves the id to the server', async () => {
    const identifier = [
      { system: 'urn:mrn', value: '9' },
      { system, value: '1' },
    ];
    const body = { ...patient, identifier };
    await makeConditionalFhirRequest(
      `${baseUrl}//`,
      'Patient',
      identifierQuery(system, '1'),
      HTTP_VERBS.PUT,
      body,
    );
    expect(seen[0]?.url).toBe(
      '/fhir/Patient?identifier=https%3A%2F%2Fmedplum.com%2Fpatient-id%7C1',
    );
    expect(JSON.parse(seen[0]?.body ?? '')).toEqual({ resourceType: 'Patient', identifier });
  });

  test('takes the query as people write it by hand', async () => {
    await makeConditionalFhirRequest(
      baseUrl,
      'Patient',
      `?identifier=${system}|1`,
      HTTP_VERBS.DELETE,
    );
    expect(seen[0]).toMatchObject({
      method: 'DELETE',
      url: '/fhir/Patient?identifier=https%3A%2F%2Fmedplum.com%2Fpatient-id%7C1',
      body: '',
    });
  });

  test.each([
    ['no identifier=', 'https://medplum.com/patient-id|X'],
    ['nothing', ''],
    ['empty', 'identifier='],
    ['only |', 'identifier=|'],
    ['no value', `identifier=${system}|`],
    ['a blank value', `identifier=${system}|%20`],
    ['no system', 'identifier=|1'],
    ['no |', 'identifier=1'],
    ['a value of undefined', `identifier=${system}|undefined`],
    ['a value of null', `identifier=${system}|null`],
    ['a system of undefined', 'identifier=undefined|1'],
    ['_format', '_format=json'],
    ['_count', '_count=1'],
    ['_lastUpdated', '_lastUpdated=gt2020-01-01'],
    ['a second parameter', `identifier=${system}|1&_count=1`],
    ['a second identifier', `identifier=${system}|1&identifier=${system}|2`],
    ['a trailing &', `identifier=${system}|1&`],
    ['a modifier', `identifier:not=${system}|1`],
    ['a chained parameter', `link.identifier=${system}|1`],
    ['an = in the value that is not encoded', `identifier=${system}|1=2`],
    ['a second ?', `x?identifier=${system}|1`],
    ['an encoded modifier', `identifier%3Anot=${system}|1`],
    ['a comma, which means OR', `identifier=${system}|zz,34X`],
    ['an encoded comma', `identifier=${system}|zz%2C34X`],
    ['a second |', `identifier=${system}|a|b`],
    ['a $', `identifier=${system}|a$b`],
    ['a lone backslash', `identifier=${system}|a%5C`],
    ['an unknown escape', `identifier=${system}|a%5Cb`],
    ['a +, which may be a space', `identifier=${system}|a+b`],
    ['broken encoding', `identifier=${system}|%zz`],
  ])('refuses %s before anything is sent', async (_name, query) => {
    for (const verb of [HTTP_VERBS.DELETE, HTTP_VERBS.PUT, HTTP_VERBS.GET]) {
      await expect(
        makeConditionalFhirRequest(baseUrl, 'Patient', query, verb, patient),
      ).rejects.toThrow(/^Refused: /);
    }
    expect(seen).toEqual([]);
  });

  test('refuses a PUT whose body lacks the identifier: it would create duplicates', async () => {
    const foreign: Patient = {
      resourceType: 'Patient',
      identifier: [{ system: 'urn:other', value: '2' }],
    };
    for (const body of [undefined, null, { resourceType: 'Patient' } as const, patient, foreign]) {
      const put = makeConditionalFhirRequest(
        baseUrl,
        'Patient',
        identifierQuery(system, '2'),
        HTTP_VERBS.PUT,
        body,
      );
      await expect(put).rejects.toThrow('does not carry the identifier');
    }
    expect(seen).toEqual([]);
  });

  test('refuses a POST, and what is not a type', async () => {
    const query = identifierQuery(system, '1');
    await expect(
      makeConditionalFhirRequest(baseUrl, 'Patient', query, HTTP_VERBS.POST, patient),
    ).rejects.toThrow('POST');
    await expect(
      makeConditionalFhirRequest(baseUrl, 'Patient/1', query, HTTP_VERBS.DELETE),
    ).rejects.toThrow('type');
    await expect(makeConditionalFhirRequest(baseUrl, '', query, HTTP_VERBS.DELETE)).rejects.toThrow(
      'type',
    );
    await expect(
      makeConditionalFhirRequest(baseUrl, 'x/Patient', query, HTTP_VERBS.DELETE),
    ).rejects.toThrow('type');
    expect(seen).toEqual([]);
  });
});

describe('identifierQuery', () => {
  test.each([
    'plain',
    'a|b',
    'a,b',
    'a&b',
    'a b',
    'a+b',
    'a=b',
    'a%b',
    'a$b',
    'a\\b',
    'a#b',
    '"',
    '日本-é',
    '\\|',
    ',,',
  ])('what goes in as %j comes out', (value) => {
    expect(parseIdentifierQuery(identifierQuery('urn:x|y', value))).toEqual({
      system: 'urn:x|y',
      value,
    });
  });

  test('a query is read as it was meant, or refused', () => {
    expect(parseIdentifierQuery('?identifier=urn:mrn|a?b')).toEqual({
      system: 'urn:mrn',
      value: 'a?b',
    });
    expect(() => parseIdentifierQuery('identifier=urn:mrn|')).toThrow('Refused');
    expect(() => parseIdentifierQuery('identifier=urn:mrn|undefined')).toThrow('Refused');
  });

  test('escapes for FHIR, then encodes for the URL', () => {
    expect(identifierQuery('urn:mrn', 'a|b,c')).toBe('identifier=urn%3Amrn%7Ca%5C%7Cb%5C%2Cc');
  });

  test.each(['', ' ', 'undefined', 'null', 'NaN', '[object Object]', undefined, null, 7])(
    'refuses %j',
    (missing) => {
      expect(() => identifierQuery('urn:mrn', missing as string)).toThrow('Refused');
      expect(() => identifierQuery(missing as string, '1')).toThrow('Refused');
    },
  );
});

test('every function has the parameters of the guide', () => {
  const parameters = (helper: (...args: never[]) => unknown): string[] => {
    const [, list = ''] = /^(?:async )?function \w+\(([^)]*)\)/.exec(String(helper)) ?? [];
    return list.split(',').map((parameter) => parameter.split('=')[0]?.trim() ?? '');
  };
  expect(HTTP_VERBS).toEqual({
    GET: 'GET',
    POST: 'POST',
    PUT: 'PUT',
    PATCH: 'PATCH',
    DELETE: 'DELETE',
  });
  expect(parameters(makeExternalRequest)).toEqual(['url', 'method', 'body', 'headers']);
  expect(parameters(makeAuthenticatedRequest)).toEqual(['url', 'method', 'authToken', 'body']);
  expect(parameters(makeConditionalFhirRequest).slice(0, 5)).toEqual([
    'baseUrl',
    'resourceType',
    'conditionalQuery',
    'method',
    'resource',
  ]);
  expect(parameters(logExternalRequest).slice(0, 4)).toEqual([
    'operation',
    'resourceId',
    'success',
    'error',
  ]);
});

test('makeAuthenticatedRequest sends the token', async () => {
  await makeAuthenticatedRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.GET, 'secret-token');
  expect(seen[0]?.headers.authorization).toBe('Bearer secret-token');
});

describe('logExternalRequest', () => {
  function logged(...args: Parameters<typeof logExternalRequest>): string {
    const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
    log.mockClear();
    logExternalRequest(...args);
    return log.mock.calls.flat().join('\n');
  }

  test('logs verbs by name, with ids, versions and numbers', () => {
    const details = { status: 200, version: '3', attempt: 1, ms: 45 };
    expect(logged(`${HTTP_VERBS.PUT} Patient`, 'p-1', true, undefined, details)).toBe(
      'PUT Patient/p-1 ok status=200 version=3 attempt=1 ms=45',
    );
  });

  test('cuts an error down to status and codes', async () => {
    answers = [
      answer(412, { issue: [{ code: 'processing', diagnostics: 'HAPI-0988: Ada Lovelace' }] }),
    ];
    const error = await failureOf(makeExternalRequest(`${baseUrl}/Patient/1`, HTTP_VERBS.PUT, {}));
    expect(logged('PUT Patient', '1', false, error)).toBe(
      'PUT Patient/1 failed: HTTP 412 processing HAPI-0988',
    );
    expect(logged('PUT Patient', '1', false, 'HTTP 409 for Ada Lovelace, HAPI-0550')).toBe(
      'PUT Patient/1 failed: HTTP 409 HAPI-0550',
    );
  });

  test('keeps the words of the operation; reduces ids and errors', () => {
    expect(logged('External sync PUT', 'p-1', true)).toBe('External sync PUT p-1 ok');
    expect(
      logged('SYNC Patient', 'Ada Lovelace', false, new Error('no patient Ada, born 1815')),
    ).toBe('SYNC Patient/? failed: see the error');
    expect(logged('PUT\u0000 Patient\n', '1', true), 'Medplum refuses control characters').toBe(
      'PUT Patient/1 ok',
    );
    for (const code of ['Ada not-found', 'not-found: Ada', 7]) {
      expect(describeError({ code })).toBe('see the error');
    }
    expect(describeError({ code: 'not-found' })).toBe('not-found');
  });

  test('adds the id to a type only if the words are a verb and a type', () => {
    expect(logged('Nightly PUT Patient', 'p-1', true)).toBe('Nightly PUT Patient p-1 ok');
    expect(logged('PUT Patient again', 'p-1', true)).toBe('PUT Patient again p-1 ok');
    expect(logged(' ', 'p-1', true)).toBe('request p-1 ok');
  });

  test('names the code of an error together with the request behind it', async () => {
    answers = [answer(502)];
    const url = `${baseUrl}/Patient/1`;
    const cause = await failureOf(sendRequest(url, HTTP_VERBS.GET, undefined, {}, 1000));
    expect(describeError({ code: 'unavailable', cause })).toBe('unavailable HTTP 502');
  });
});
