// Faults of the external FHIR server: what a client sees, and what has happened on the server
// nevertheless.
import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseFault } from '../../tools/src/fhir-server/faults.ts';
import { FRESH, count, numbers, startTestServer, patient, query } from './support.ts';
import type { TestServer } from './support.ts';

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.stop());

const base = 'fhir/Patient';
const put = (value: string, members?: object) =>
  server.call('PUT', `${base}?${query(value)}`, patient(value, members));
const on = (fault: object | string) => server.call('POST', '/_faults', JSON.stringify(fault));

it('answer in place of the server as often as asked, and write nothing', async () => {
  await on([
    { kind: '503', times: 2 },
    { kind: '429', times: 1, retryAfter: 3 },
    { kind: 'html', times: 1 },
  ]);
  const answers = [await put('a'), await put('a'), await put('a'), await put('a')];
  expect(answers.map(({ status }) => status)).toEqual([503, 503, 429, 502]);
  expect(answers[2]!.headers.get('retry-after')).toBe('3');
  expect(answers[3]!.headers.get('content-type')).toContain('text/html');
  expect(await count(server, base)).toBe(0);
  expect((await put('a')).status).toBe(201);
});

it('stay until they are cleared where no number is given', async () => {
  await on('429');
  expect([(await put('a')).status, (await put('a')).status]).toEqual([429, 429]);
  expect((await server.call('GET', '/_faults')).body.faults).toEqual([{ kind: '429' }]);
  await server.call('DELETE', '/_faults');
  expect((await put('a')).status).toBe(201);
});

it('meet only the method they are for', async () => {
  await on('503:method=delete');
  expect((await put('a')).status).toBe(201);
  expect((await server.call('DELETE', `${base}?${query('a')}`)).status).toBe(503);
});

it('reset: the connection is cut and nothing is written', async () => {
  await on('reset:times=1');
  await expect(put('a')).rejects.toThrow('fetch failed');
  expect(await count(server, base)).toBe(0);
});

it('lost: it is written, but the client gets no answer; reads are answered', async () => {
  await on('lost:times=1');
  expect(await count(server, base)).toBe(0);
  await expect(put('a')).rejects.toThrow('fetch failed');
  expect(await count(server, base)).toBe(1);
});

it('hang: no answer until the client gives up', async () => {
  await on('hang:times=1');
  const signal = AbortSignal.timeout(50);
  await expect(fetch(`${server.baseUrl}/Patient`, { signal })).rejects.toThrow(/timeout/);
  expect(await count(server, base)).toBe(0);
});

it('held: the write is performed after the client has given up', async () => {
  await on('held:times=1,ms=1500');
  const body = JSON.stringify(patient('a', { active: true }));
  const headers = { 'Content-Type': 'application/fhir+json' };
  const url = `${server.baseUrl}/Patient?${query('a')}`;
  await expect(
    fetch(url, { method: 'PUT', body, headers, signal: AbortSignal.timeout(50) }),
  ).rejects.toThrow(/timeout/);
  await put('a', { active: false });
  await expect
    .poll(
      async () =>
        (await server.call('GET', `${base}?${query('a')}`, undefined, FRESH)).body.entry[0].resource
          .active as unknown,
      { timeout: 20_000 },
    )
    .toBe(true);
});

it('latency: concurrent conditional PUTs create duplicates; the next one gets 412', async () => {
  await on('latency:ms=500');
  const answers = await Promise.all([put('a'), put('a'), put('a')]);
  expect(answers.map(({ status }) => status)).toEqual([201, 201, 201]);
  server.faults.clear();
  expect(await count(server, base)).toBe(3);
  expect((await put('a')).status).toBe(412);
});

it('latency: of concurrent updates one wins, and client-assigned ids never double', async () => {
  await put('a');
  await on('latency:ms=500');
  const updates = await Promise.all(['female', 'male'].map((gender) => put('a', { gender })));
  expect(updates.map(({ status }) => status).sort()).toEqual([200, 409]);
  const id = 'client-assigned';
  const creates = await Promise.all(
    ['female', 'male'].map((gender) =>
      server.call('PUT', `${base}/${id}`, patient(undefined, { id, gender })),
    ),
  );
  expect(creates.map(({ status }) => status).sort()).toEqual([201, 409]);
  expect(creates.map(numbers)).toContain('HAPI-0550 HAPI-0825');
});

it('are read strictly', async () => {
  expect(parseFault('429:times=2,method=put,retryAfter=3')).toEqual({
    kind: '429',
    times: 2,
    method: 'PUT',
    retryAfter: 3,
  });
  expect(() => parseFault('404')).toThrow('"404" is an unknown fault; use one of 503, 429');
  expect(() => parseFault('503:often=2')).toThrow('no "often"');
  expect(() => parseFault('503:times=x')).toThrow('must be a number');
  expect(() => parseFault(null)).toThrow('is an unknown fault');
  const refused = await server.call('POST', '/_faults', '{"kind":');
  expect(refused.status).toBe(400);
});
