// How a bot signs its requests to the external server.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { connectExternalServer } from '../src/shared/external-server.ts';
import { clock } from '../src/shared/retry.ts';

let base = '';
let seen: string[] = [];
let good = new Set<string>();
let issued = 0;
let tokenStatus = 200;
let tokenAnswer: object = {};

const server = createServer((request, response) => {
  let body = '';
  request.on('data', (chunk) => (body += String(chunk)));
  request.on('end', () => {
    const authorization = request.headers.authorization ?? 'none';
    seen.push(`${request.method} ${request.url} ${authorization}`);
    if (request.url === '/token') {
      const token = `token-${++issued}`;
      good.add(`Bearer ${token}`);
      seen.push(`${request.headers['content-type']} ${body}`);
      response.writeHead(tokenStatus).end(JSON.stringify({ access_token: token, expires_in: 3600, ...tokenAnswer }));
    } else {
      response.writeHead(good.size > 0 && !good.has(authorization) ? 401 : 200).end('{}');
    }
  });
});

function secrets(values: Record<string, string>): Parameters<typeof connectExternalServer>[0] {
  const all = { HAPI_BASE_URL: `${base}/fhir/`, ...values };
  return Object.fromEntries(Object.entries(all).map(([name, valueString]) => [name, { name, valueString }]));
}

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => server.close());
beforeEach(() => {
  seen = [];
  good = new Set();
  tokenStatus = 200;
  tokenAnswer = {};
});

const requests = (): (string | undefined)[] =>
  seen.filter((line) => /^[A-Z]/.test(line)).map((line) => line.split(' ')[1]);
const later = (): number => clock.now() + 5_000;

test('without a secret for it, requests are not signed', async () => {
  await connectExternalServer(secrets({}), later()).send('GET', 'Patient/1');
  expect(seen).toEqual(['GET /fhir/Patient/1 none']);
});

test('HAPI_BEARER_TOKEN signs them', async () => {
  await connectExternalServer(secrets({ HAPI_BEARER_TOKEN: 'abc' }), later()).send('POST', '', {});
  expect(seen).toEqual(['POST /fhir Bearer abc']);
});

test('a fixed token that is not taken is an error at once', async () => {
  good.add('Bearer other');
  const external = connectExternalServer(secrets({ HAPI_BEARER_TOKEN: 'abc' }), later());
  await expect(external.send('GET', 'Patient/1')).rejects.toThrow('HTTP 401');
  expect(seen).toHaveLength(1);
});

test('client credentials: one token for all requests, also parallel ones and those of the next run', async () => {
  const oauth = { HAPI_TOKEN_URL: `${base}/token`, HAPI_CLIENT_ID: 'a:b', HAPI_CLIENT_SECRET: 's/1' };
  const external = connectExternalServer(secrets(oauth), later());
  await Promise.all([external.send('GET', 'Patient/1'), external.send('GET', 'Patient/2')]);
  await connectExternalServer(secrets(oauth), later()).send('GET', 'Patient/3');
  const credentials = Buffer.from('a%3Ab:s%2F1').toString('base64');
  expect(seen.filter((line) => line.includes('/token'))).toEqual([`POST /token Basic ${credentials}`]);
  expect(seen).toContain('application/x-www-form-urlencoded grant_type=client_credentials');
  expect(seen.filter((line) => line.includes(`Bearer token-${issued}`))).toHaveLength(3);
});

test('a token that the server no longer takes is renewed once', async () => {
  const oauth = { HAPI_TOKEN_URL: `${base}/token`, HAPI_CLIENT_ID: 'c', HAPI_CLIENT_SECRET: 's' };
  const external = connectExternalServer(secrets(oauth), later());
  await external.send('GET', 'Patient/1');
  good = new Set(['nothing yet']);
  await external.send('GET', 'Patient/1');
  expect(requests()).toEqual(['/token', '/fhir/Patient/1', '/fhir/Patient/1', '/token', '/fhir/Patient/1']);
});

test('several requests whose token is not taken any more share one new token', async () => {
  const oauth = { HAPI_TOKEN_URL: `${base}/token`, HAPI_CLIENT_ID: 'several', HAPI_CLIENT_SECRET: 's' };
  const external = connectExternalServer(secrets(oauth), later());
  await external.send('GET', 'Patient/1');
  good = new Set(['nothing yet']);
  let refused = 0;
  const { fetch } = globalThis;
  vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
    const answer = await fetch(url, init);
    if (answer.status === 401 && ++refused === 2) {
      await vi.waitUntil(() => good.size > 1, 10_000); // the second is told when the first has its new token
    }
    return answer;
  });
  await Promise.all([external.send('GET', 'Patient/1'), external.send('GET', 'Patient/2')]);
  vi.restoreAllMocks();
  expect(refused).toBe(2);
  expect(requests().filter((path) => path === '/token')).toHaveLength(2);
});

test('a token is renewed a minute before it expires', async () => {
  const oauth = { HAPI_TOKEN_URL: `${base}/token`, HAPI_CLIENT_ID: 'expires', HAPI_CLIENT_SECRET: 's' };
  const now = vi.spyOn(clock, 'now');
  const began = Date.now();
  for (const seconds of [0, 3_539, 3_541]) {
    now.mockReturnValue(began + seconds * 1_000);
    await connectExternalServer(secrets(oauth), later()).send('GET', 'Patient/1');
  }
  vi.restoreAllMocks();
  expect(requests()).toEqual(['/token', '/fhir/Patient/1', '/fhir/Patient/1', '/token', '/fhir/Patient/1']);
});

test('a token address that answers something else is an error, and is asked again by the next request', async () => {
  tokenAnswer = { access_token: undefined };
  const oauth = { HAPI_TOKEN_URL: `${base}/token`, HAPI_CLIENT_ID: 'else', HAPI_CLIENT_SECRET: 's' };
  const external = connectExternalServer(secrets(oauth), later());
  await expect(external.send('GET', 'Patient/1')).rejects.toThrow('HAPI_TOKEN_URL answered without an access_token');
  expect(requests()).toEqual(['/token']);
  tokenAnswer = {};
  await external.send('GET', 'Patient/1');
  expect(requests()).toEqual(['/token', '/token', '/fhir/Patient/1']);
});

test('where requests go: below the address, to it with a Bundle, to its next page', async () => {
  const external = connectExternalServer(secrets({ HAPI_BASE_URL: `${base}/fhir//` }), later());
  for (const path of ['Patient?identifier=x', '', '?_getpages=1']) {
    await external.send('GET', path);
  }
  expect(requests()).toEqual(['/fhir/Patient?identifier=x', '/fhir', '/fhir?_getpages=1']);
});

test('a token address that refuses is an error that names its host and no secret', async () => {
  tokenStatus = 401;
  const oauth = { HAPI_TOKEN_URL: `${base}/token`, HAPI_CLIENT_ID: 'client-7', HAPI_CLIENT_SECRET: 'secret-7' };
  const sent = connectExternalServer(secrets(oauth), later()).send('GET', 'Patient/1');
  const error = await sent.catch((thrown: Error) => thrown);
  expect(error).toMatchObject({ message: 'POST 127.0.0.1: HTTP 401' });
  expect(JSON.stringify(error)).not.toMatch(/client-7|secret-7|access_token/);
});

test('no address, or half of the client credentials: the secret that is missing is named', async () => {
  expect(() => connectExternalServer({}, later())).toThrow('HAPI_BASE_URL');
  const external = connectExternalServer(secrets({ HAPI_TOKEN_URL: `${base}/token`, HAPI_CLIENT_ID: 'x' }), later());
  await expect(external.send('GET', 'Patient/1')).rejects.toThrow('HAPI_CLIENT_SECRET');
});
