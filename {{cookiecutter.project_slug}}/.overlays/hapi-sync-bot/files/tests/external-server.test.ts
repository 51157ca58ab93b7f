// The connection to the external server: how requests are authorized, and which secrets are
// refused.
import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { clock } from '../src/shared/retry.ts';
import { connectExternalServer } from '../src/shared/external-server.ts';

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
      response
        .writeHead(tokenStatus)
        .end(JSON.stringify({ access_token: token, expires_in: 3600, ...tokenAnswer }));
    } else {
      response.writeHead(good.size > 0 && !good.has(authorization) ? 401 : 200).end('{}');
    }
  });
});

function secrets(values: Record<string, string>): Parameters<typeof connectExternalServer>[0] {
  const all = { HAPI_BASE_URL: `${base}/fhir/`, ...values };
  return Object.fromEntries(
    Object.entries(all).map(([name, valueString]) => [name, { name, valueString }]),
  );
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

test('a fixed token that is refused is an error at once', async () => {
  good.add('Bearer other');
  const external = connectExternalServer(secrets({ HAPI_BEARER_TOKEN: 'abc' }), later());
  await expect(external.send('GET', 'Patient/1')).rejects.toThrow('HTTP 401');
  expect(seen).toHaveLength(1);
});

test('client credentials: one token for parallel requests and for the next run', async () => {
  const oauth = {
    HAPI_TOKEN_URL: `${base}/token`,
    HAPI_CLIENT_ID: 'a:b',
    HAPI_CLIENT_SECRET: 's/1',
  };
  const external = connectExternalServer(secrets(oauth), later());
  await Promise.all([external.send('GET', 'Patient/1'), external.send('GET', 'Patient/2')]);
  await connectExternalServer(secrets(oauth), later()).send('GET', 'Patient/3');
  const credentials = Buffer.from('a%3Ab:s%2F1').toString('base64');
  expect(seen.filter((line) => line.includes('/token'))).toEqual([
    `POST /token Basic ${credentials}`,
  ]);
  expect(seen).toContain('application/x-www-form-urlencoded grant_type=client_credentials');
  expect(seen.filter((line) => line.includes(`Bearer token-${issued}`))).toHaveLength(3);
});

test('a token that the server no longer takes is renewed once', async () => {
  const oauth = { HAPI_TOKEN_URL: `${base}/token`, HAPI_CLIENT_ID: 'c', HAPI_CLIENT_SECRET: 's' };
  const external = connectExternalServer(secrets(oauth), later());
  await external.send('GET', 'Patient/1');
  good = new Set(['nothing yet']);
  await external.send('GET', 'Patient/1');
  expect(requests()).toEqual([
    '/token',
    '/fhir/Patient/1',
    '/fhir/Patient/1',
    '/token',
    '/fhir/Patient/1',
  ]);
});

test('several requests whose token is no longer accepted share one new token', async () => {
  const oauth = {
    HAPI_TOKEN_URL: `${base}/token`,
    HAPI_CLIENT_ID: 'several',
    HAPI_CLIENT_SECRET: 's',
  };
  const external = connectExternalServer(secrets(oauth), later());
  await external.send('GET', 'Patient/1');
  good = new Set(['nothing yet']);
  let refused = 0;
  const { fetch } = globalThis;
  vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
    const answer = await fetch(url, init);
    if (answer.status === 401 && ++refused === 2) {
      // the second is told when the first has its new token
      await vi.waitUntil(() => good.size > 1, 10_000);
    }
    return answer;
  });
  await Promise.all([external.send('GET', 'Patient/1'), external.send('GET', 'Patient/2')]);
  vi.restoreAllMocks();
  expect(refused).toBe(2);
  expect(requests().filter((path) => path === '/token')).toHaveLength(2);
});

test('a token is renewed a minute before it expires', async () => {
  const oauth = {
    HAPI_TOKEN_URL: `${base}/token`,
    HAPI_CLIENT_ID: 'expires',
    HAPI_CLIENT_SECRET: 's',
  };
  const now = vi.spyOn(clock, 'now');
  const began = Date.now();
  for (const seconds of [0, 3_539, 3_541]) {
    now.mockReturnValue(began + seconds * 1_000);
    await connectExternalServer(secrets(oauth), later()).send('GET', 'Patient/1');
  }
  vi.restoreAllMocks();
  expect(requests()).toEqual([
    '/token',
    '/fhir/Patient/1',
    '/fhir/Patient/1',
    '/token',
    '/fhir/Patient/1',
  ]);
});

test('a token address with another answer is an error; the next request asks again', async () => {
  tokenAnswer = { access_token: undefined };
  const oauth = {
    HAPI_TOKEN_URL: `${base}/token`,
    HAPI_CLIENT_ID: 'else',
    HAPI_CLIENT_SECRET: 's',
  };
  const external = connectExternalServer(secrets(oauth), later());
  await expect(external.send('GET', 'Patient/1')).rejects.toThrow(
    'HAPI_TOKEN_URL answered without an access_token',
  );
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
  const oauth = {
    HAPI_TOKEN_URL: `${base}/token`,
    HAPI_CLIENT_ID: 'client-7',
    HAPI_CLIENT_SECRET: 'secret-7',
  };
  const sent = connectExternalServer(secrets(oauth), later()).send('GET', 'Patient/1');
  const error = await sent.catch((thrown: Error) => thrown);
  expect(error).toMatchObject({ message: 'POST 127.0.0.1: HTTP 401' });
  expect(JSON.stringify(error)).not.toMatch(/client-7|secret-7|access_token/);
});

test('without an address or half of the credentials: names the missing secret', async () => {
  expect(() => connectExternalServer({}, later())).toThrow('HAPI_BASE_URL');
  const external = connectExternalServer(
    secrets({ HAPI_TOKEN_URL: `${base}/token`, HAPI_CLIENT_ID: 'x' }),
    later(),
  );
  await expect(external.send('GET', 'Patient/1')).rejects.toThrow('HAPI_CLIENT_SECRET');
});

test.each([
  ['HAPI_BASE_URL', 'https://hapi.example.org/ fhir', 'an address'],
  ['HAPI_BASE_URL', 'https://hapi.example.org/fhir\n', 'an address'],
  ['HAPI_BASE_URL', 'hapi.example.org/fhir', 'an address'],
  ['HAPI_BASE_URL', 'https://user:pass-7@hapi.example.org/fhir', 'credentials'],
  ['HAPI_BASE_URL', 'https://hapi.example.org/fhir?tenant=1', 'a ? or a #'],
  ['HAPI_BASE_URL', 'https://hapi.example.org/fhir#x', 'a ? or a #'],
  ['HAPI_TOKEN_URL', 'token-endpoint', 'an address'],
  ['HAPI_BEARER_TOKEN', 'pass-7 with a space', 'not a token'],
  ['HAPI_BEARER_TOKEN', 'pass-7\n', 'not a token'],
  ['HAPI_BEARER_TOKEN', 'pass-7é', 'not a token'],
])('a malformed %s (%j) is refused at once, without its value', (name, value, reason) => {
  const connect = (): unknown => connectExternalServer(secrets({ [name]: value }), later());
  expect(connect).toThrow(new RegExp(`Secret ${name} .*${reason.replace('?', '[?]')}`));
  expect(connect).not.toThrow(/pass-7/);
});

test.each(['http://hapi.example.org/fhir', 'ftp://hapi.example.org/fhir'])(
  'no patient is sent to %s',
  (address) => {
    const connect = (): unknown =>
      connectExternalServer(secrets({ HAPI_BASE_URL: address }), later());
    expect(connect).toThrow('The external address must be https://');
  },
);

test('a token is kept for half its life, one without a lifetime for minutes', async () => {
  const now = vi.spyOn(clock, 'now');
  const began = Date.now();
  for (const [expires_in, kept, renewed] of [
    [30, 14, 16],
    [undefined, 200, 300],
  ] as const) {
    tokenAnswer = { expires_in };
    seen = [];
    const oauth = {
      HAPI_TOKEN_URL: `${base}/token`,
      HAPI_CLIENT_ID: `life-${expires_in}`,
      HAPI_CLIENT_SECRET: 's',
    };
    for (const seconds of [0, kept, renewed]) {
      now.mockReturnValue(began + seconds * 1_000);
      await connectExternalServer(secrets(oauth), later()).send('GET', 'Patient/1');
    }
    expect(requests().filter((path) => path === '/token')).toHaveLength(2);
  }
  vi.restoreAllMocks();
});

test('scope and audience are sent if they are set', async () => {
  const oauth = {
    HAPI_TOKEN_URL: `${base}/token`,
    HAPI_CLIENT_ID: 'scoped',
    HAPI_CLIENT_SECRET: 's',
  };
  const scope = { HAPI_SCOPE: 'system/*.cruds', HAPI_AUDIENCE: 'https://hapi.example.org' };
  await connectExternalServer(secrets({ ...oauth, ...scope }), later()).send('GET', 'Patient/1');
  const form = new URLSearchParams(
    seen.find((line) => line.startsWith('application/x-www'))?.split(' ')[1],
  );
  expect(Object.fromEntries(form)).toEqual({
    grant_type: 'client_credentials',
    scope: 'system/*.cruds',
    audience: 'https://hapi.example.org',
  });
});

test.each([
  ['rsa', 'RS384'],
  ['ec', 'ES384'],
] as const)(
  'with a private key (%s), the client signs an assertion: SMART Backend Services',
  async (kind, alg) => {
    const { privateKey, publicKey } =
      kind === 'rsa'
        ? generateKeyPairSync('rsa', { modulusLength: 2048 })
        : generateKeyPairSync('ec', { namedCurve: 'P-384' });
    const jwk = JSON.stringify({ ...privateKey.export({ format: 'jwk' }), kid: 'key-1' });
    const oauth = {
      HAPI_TOKEN_URL: `${base}/token`,
      HAPI_CLIENT_ID: `smart-${kind}`,
      HAPI_CLIENT_KEY: jwk,
    };
    await connectExternalServer(secrets(oauth), later()).send('GET', 'Patient/1');
    const form = new URLSearchParams(
      seen.find((line) => line.startsWith('application/x-www'))?.split(' ')[1],
    );
    expect(form.get('client_assertion_type')).toBe(
      'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    );
    const [header = '', claims = '', signature = ''] =
      form.get('client_assertion')?.split('.') ?? [];
    const read = (part: string): Record<string, unknown> =>
      JSON.parse(Buffer.from(part, 'base64url').toString()) as never;
    expect(read(header)).toEqual({ alg, typ: 'JWT', kid: 'key-1' });
    expect(read(claims)).toMatchObject({
      iss: `smart-${kind}`,
      sub: `smart-${kind}`,
      aud: `${base}/token`,
    });
    expect(Number(read(claims)['exp']) - Number(read(claims)['iat'])).toBeLessThanOrEqual(300);
    const key = createPublicKey(publicKey.export({ type: 'spki', format: 'pem' }));
    const signed = Buffer.from(signature, 'base64url');
    const input = kind === 'rsa' ? key : { key, dsaEncoding: 'ieee-p1363' as const };
    expect(verify('sha384', Buffer.from(`${header}.${claims}`), input, signed)).toBe(true);
    expect(seen[0]).not.toContain('Basic');
  },
);

test('a PEM block in one line is a private key', async () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const pem = String(privateKey.export({ type: 'pkcs8', format: 'pem' })).replaceAll(
    '\n',
    String.raw`\n`,
  );
  const oauth = { HAPI_TOKEN_URL: `${base}/token`, HAPI_CLIENT_ID: 'pem' };
  await connectExternalServer(secrets({ ...oauth, HAPI_CLIENT_KEY: pem }), later()).send(
    'GET',
    'Patient/1',
  );
});

test.each([
  ['another text', 'pass-7'],
  ['a public key', jwkOf(generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey)],
  ['another curve', jwkOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)],
  ['Ed25519', jwkOf(generateKeyPairSync('ed25519').privateKey)],
])('HAPI_CLIENT_KEY is refused before it is used, and not shown: %s', async (_what, key) => {
  const oauth = { HAPI_TOKEN_URL: `${base}/token`, HAPI_CLIENT_ID: 'broken' };
  const external = connectExternalServer(secrets({ ...oauth, HAPI_CLIENT_KEY: key }), later());
  const error = await external.send('GET', 'Patient/1').catch((thrown: Error) => thrown);
  expect(error).toMatchObject({
    message: expect.stringMatching(/^Secret HAPI_CLIENT_KEY is not a private key/),
  });
  expect(String(error)).not.toMatch(/pass-7|"x":/);
  expect(seen).toEqual([]);
});

function jwkOf(key: KeyObject): string {
  return JSON.stringify(key.export({ format: 'jwk' }));
}

test("the token endpoint's own error is among the codes", async () => {
  tokenStatus = 400;
  tokenAnswer = { error: 'invalid_scope', error_description: 'secret-7' };
  const oauth = {
    HAPI_TOKEN_URL: `${base}/token`,
    HAPI_CLIENT_ID: 'c',
    HAPI_CLIENT_SECRET: 's',
    HAPI_SCOPE: 'x',
  };
  const sent = connectExternalServer(secrets(oauth), later()).send('GET', 'Patient/1');
  await expect(sent).rejects.toMatchObject({ status: 400, codes: ['invalid_scope'] });
});
