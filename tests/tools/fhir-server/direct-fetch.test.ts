// `server.fetch`, which asks the FHIR server without a connection, gives what a connection gives.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Fault } from '../../tools/src/fhir-server/faults.ts';
import { startFhirServer } from '../../tools/src/fhir-server/server.ts';
import type { FhirServer } from '../../tools/src/fhir-server/server.ts';

const now = (): number => Date.parse('2026-01-01T00:00:00Z');

let connected: FhirServer;
let direct: FhirServer;
beforeEach(async () => {
  [connected, direct] = await Promise.all([startFhirServer({ now }), startFhirServer({ now })]);
});
afterEach(async () => {
  await Promise.all([connected.stop(), direct.stop()]);
});

/** Headers that only a connection adds, that are random, or that depend on the server's port. */
const NOT_COMPARED = [
  'connection',
  'content-length',
  'date',
  'keep-alive',
  'transfer-encoding',
  'x-request-id',
];
const RANDOM_ID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

interface Answer {
  status: number;
  headers: Record<string, string>;
  text: string;
}

/** Sends a request to a server, and gives what does not depend on its address. */
async function ask(
  send: typeof fetch,
  { baseUrl }: FhirServer,
  path: string,
  init?: RequestInit,
): Promise<Answer> {
  const response = await send(`${baseUrl}${path}`, init);
  const { origin } = new URL(baseUrl);
  const withoutAddress = (text: string): string =>
    text.replaceAll(origin, 'http://server').replaceAll(RANDOM_ID, 'random-id');
  const headers = [...response.headers]
    .filter(([name]) => !NOT_COMPARED.includes(name))
    .map(([name, value]) => [name, withoutAddress(value)] as const);
  return {
    status: response.status,
    headers: Object.fromEntries(headers),
    text: withoutAddress(await response.text()),
  };
}

/** Sends a request in both ways, and compares the answers. */
async function askBoth(path: string, init?: RequestInit): Promise<Answer> {
  const answer = await ask(direct.fetch, direct, path, init);
  expect(answer).toEqual(await ask(fetch, connected, path, init));
  return answer;
}

const FHIR = { 'content-type': 'application/fhir+json' };
const patient = JSON.stringify({ resourceType: 'Patient', id: 'a', gender: 'female' });
const put = { method: 'PUT', headers: FHIR, body: patient };

describe('answers as over a connection', () => {
  it('a resource that is written, read, searched and deleted', async () => {
    expect(await askBoth('/Patient/a', put)).toMatchObject({
      status: 201,
      headers: { etag: 'W/"1"' },
    });
    expect((await askBoth('/Patient/a')).text).toContain('female');
    expect(await askBoth('/Patient/a', { method: 'HEAD' })).toMatchObject({
      status: 200,
      text: '',
    });
    const stale = { ...put, headers: { ...FHIR, 'If-Match': 'W/"7"' } };
    expect((await askBoth('/Patient/a', stale)).status).toBe(409);
    const form = new URLSearchParams({ _id: 'a', _elements: 'gender' });
    const search = await askBoth('/Patient/_search', { method: 'POST', body: form });
    expect(JSON.parse(search.text)).toMatchObject({ total: 1 });
    expect((await askBoth('/Patient/a', { method: 'DELETE' })).status).toBe(200);
    expect((await askBoth('/Patient/a')).status).toBe(410);
  });

  it.each([
    ['a path that is encoded', '/Patient/a%20b', undefined],
    ['an unknown type', '/Pizza/1', undefined],
    ['what is not below its address', '/../elsewhere', undefined],
    ['a body that is not JSON', '/Patient', { method: 'POST', headers: FHIR, body: '<Patient/>' }],
    ['a client that accepts a web page', '/metadata', { headers: { accept: 'text/html' } }],
    ['a client that accepts XML only', '/Patient/a', { headers: { accept: 'application/xml' } }],
    ['a text without a content type', '/Patient', { method: 'POST', body: patient }],
  ])('%s', async (_what, path, init) => {
    await askBoth(path, init);
  });

  it.each<Fault>([
    { kind: '503', times: 1, retryAfter: 3 },
    { kind: '429', times: 1 },
    { kind: 'html', times: 1 },
    { kind: 'held', times: 1, ms: 1 },
    { kind: 'latency', times: 1, ms: 1 },
  ])('the fault $kind', async (fault) => {
    connected.faults.add(fault);
    direct.faults.add(fault);
    await askBoth('/Patient/a', put);
    expect(direct.faults.list()).toEqual([]);
  });
});

describe('fails as over a connection', () => {
  it.each(['reset', 'lost'] as const)('the fault %s', async (kind) => {
    connected.faults.add({ kind, times: 1 });
    direct.faults.add({ kind, times: 1 });
    const failure = { name: 'TypeError', cause: { code: 'UND_ERR_SOCKET' } };
    await expect(fetch(`${connected.baseUrl}/Patient/a`, put)).rejects.toMatchObject(failure);
    await expect(direct.fetch(`${direct.baseUrl}/Patient/a`, put)).rejects.toMatchObject(failure);
    const { status } = await askBoth('/Patient/a');
    expect(status, 'what is lost was written').toBe(kind === 'lost' ? 200 : 404);
  });

  it('a request without an answer waits until its signal is aborted', async () => {
    direct.faults.add({ kind: 'hang' });
    const abort = new AbortController();
    const answer = direct.fetch(`${direct.baseUrl}/Patient/a`, { signal: abort.signal });
    abort.abort();
    await expect(answer).rejects.toMatchObject({ name: 'AbortError' });
  });

  it('a signal that was aborted before', async () => {
    const answer = direct.fetch(`${direct.baseUrl}/Patient/a`, { signal: AbortSignal.abort() });
    await expect(answer).rejects.toMatchObject({ name: 'AbortError' });
  });
});

it('requests to other addresses go there', async () => {
  const other = createServer((_request, response) => response.end('another server'));
  await new Promise<void>((resolve) => void other.listen(0, '127.0.0.1', resolve));
  const { port } = other.address() as AddressInfo;
  const response = await direct.fetch(`http://127.0.0.1:${port}/`);
  expect(await response.text()).toBe('another server');
  other.closeAllConnections();
  other.close();
});
