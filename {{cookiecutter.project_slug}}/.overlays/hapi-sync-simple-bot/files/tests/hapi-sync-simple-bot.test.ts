// The simple bot: what it does, and that it changes no other record.
import { randomUUID } from 'node:crypto';
import type { BotEvent, MedplumClient } from '@medplum/core';
import type { Bundle, Patient } from '@medplum/fhirtypes';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { handler } from '../src/bots/hapi-sync-simple-bot.ts';
import { startFhirServer } from '../tools/src/fhir-server/server.ts';
import type { FhirServer } from '../tools/src/fhir-server/server.ts';

const SYSTEM = 'https://medplum.com/patient-id';

let external: FhirServer;

beforeAll(async () => {
  external = await startFhirServer();
});
afterAll(() => external.stop());
beforeEach(() => {
  vi.spyOn(console, 'log').mockImplementation(() => undefined);
});

function run(input: unknown, headers: Record<string, string> = {}): Promise<boolean> {
  const secrets = { HAPI_BASE_URL: { name: 'HAPI_BASE_URL', valueString: `${external.baseUrl}/` } };
  return handler(
    {} as MedplumClient,
    { contentType: 'application/fhir+json', input, headers, secrets } as unknown as BotEvent,
  );
}

async function post(patient: Omit<Patient, 'resourceType'>): Promise<void> {
  const body = JSON.stringify({ resourceType: 'Patient', ...patient });
  const headers = { 'content-type': 'application/fhir+json' };
  expect(
    (await fetch(`${external.baseUrl}/Patient`, { method: 'POST', headers, body })).status,
  ).toBe(201);
}

async function find(value: string, system = SYSTEM): Promise<Patient[]> {
  const query = new URLSearchParams({ identifier: `${system}|${value}` });
  const answer = await fetch(`${external.baseUrl}/Patient?${query}`, {
    headers: { 'cache-control': 'no-cache' },
  });
  return (
    ((await answer.json()) as Bundle<Patient>).entry?.flatMap(({ resource }) => resource ?? []) ??
    []
  );
}

test('create, update and delete, by the identifier', async () => {
  const patient = {
    resourceType: 'Patient',
    id: randomUUID(),
    meta: { project: 'x' },
    gender: 'female',
  };
  expect(await run(patient)).toBe(true);
  expect(await find(patient.id)).toMatchObject([{ gender: 'female' }]);
  await run({
    ...patient,
    gender: 'other',
    managingOrganization: { reference: 'Organization/nowhere' },
  });
  expect(await find(patient.id)).toMatchObject([{ gender: 'other' }]);
  await run({ deletedResource: patient });
  expect(await find(patient.id)).toEqual([]);
});

test('deleting a patient that was never copied leaves the only other one alone', async () => {
  await post({ identifier: [{ system: 'urn:stranger', value: 'a' }] });
  expect(await run({ deletedResource: { resourceType: 'Patient', id: randomUUID() } })).toBe(true);
  expect(await find('a', 'urn:stranger')).toHaveLength(1);
});

test('deletes duplicates, but no record that was merged there', async () => {
  const id = randomUUID();
  await post({ identifier: [{ system: SYSTEM, value: id }] });
  await post({ identifier: [{ system: SYSTEM, value: id }] });
  await post({
    identifier: [
      { system: SYSTEM, value: id },
      { system: SYSTEM, value: 'another' },
    ],
  });
  await run({ deletedResource: { resourceType: 'Patient', id } });
  expect(await find(id)).toMatchObject([{ identifier: [{}, {}] }]);
});

test('logs and throws what goes wrong, without the patient', async () => {
  const log = vi.mocked(console.log);
  log.mockClear();
  const patient = {
    resourceType: 'Patient',
    id: randomUUID(),
    name: [{ family: 'Lovelace' }],
    gender: 'robot',
  };
  await expect(run(patient)).rejects.toMatchObject({
    method: 'PUT',
    message: expect.not.stringContaining('robot'),
  });
  expect(log.mock.calls.flat().join()).toMatch(/^PUT Patient\/[0-9a-f-]+ failed: HTTP 4/);
  expect(log.mock.calls.flat().join()).not.toContain('Lovelace');
});

test('an event that names no patient is an error, logged too', async () => {
  const log = vi.mocked(console.log);
  log.mockClear();
  await expect(run({})).rejects.toThrow('needs a system and a value');
  expect(log.mock.calls).toEqual([['PUT Patient/? failed: see the error']]);
});

describe('a server that ignores ?identifier=', () => {
  const id = randomUUID();
  let requests: string[];

  beforeEach(() => {
    requests = [];
    const stranger = {
      resourceType: 'Patient',
      id: 'someone-else',
      identifier: [{ system: SYSTEM, value: 'other' }],
    };
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (_url, init) => {
      requests.push(init?.method ?? '');
      return Response.json({
        resourceType: 'Bundle',
        type: 'searchset',
        entry: [{ resource: stranger }],
      });
    });
  });
  afterEach(() => {
    vi.mocked(globalThis.fetch).mockRestore();
  });

  test('has no patient overwritten', async () => {
    await expect(run({ resourceType: 'Patient', id })).rejects.toThrow(
      'does not carry exactly this identifier',
    );
    expect(requests).toEqual(['GET']);
  });

  test('has no patient deleted', async () => {
    await run({ deletedResource: { resourceType: 'Patient', id } });
    expect(requests).toEqual(['GET']);
  });
});

test.each([
  ['a web page', new Response('<h1>Sign in</h1>')],
  ['another resource', Response.json({ resourceType: 'Patient', id: 'x' })],
])(
  '%s in place of the search result ends the run before anything is written',
  async (_name, answer) => {
    const sent = vi.spyOn(globalThis, 'fetch').mockResolvedValue(answer);
    await expect(run({ resourceType: 'Patient', id: randomUUID() })).rejects.toThrow(
      'search result',
    );
    expect(sent).toHaveBeenCalledTimes(1);
    sent.mockRestore();
  },
);
