// The bot as Medplum calls it: events in, requests to the external server, one line in the log.
import { readFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import type { BotEvent } from '@medplum/core';
import type { Patient } from '@medplum/fhirtypes';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { handler, TIME_BUDGET_MS } from '../src/bots/hapi-sync-bot.ts';
import * as configuration from '../src/shared/sync/config.ts';
import { startFhirServer } from '../tools/src/fhir-server/server.ts';
import type { FhirServer } from '../tools/src/fhir-server/server.ts';
import { testConfig } from './sync/config.ts';
import { memorySource } from './sync/memory-source.ts';
import type { MemorySource } from './sync/memory-source.ts';

const PATIENT = { name: [{ family: 'Lovelace', given: ['Ada'] }], birthDate: '1815-12-10' };

let external: FhirServer;
let source: MemorySource;
let id: string;
let lines: string[];

beforeAll(async () => {
  external = await startFhirServer();
});
afterAll(() => external.stop());
beforeEach(() => {
  source = memorySource();
  id = randomUUID();
  lines = [];
  vi.spyOn(configuration, 'syncConfig').mockReturnValue(testConfig());
  vi.spyOn(console, 'log').mockImplementation((line: string) => void lines.push(line));
});
afterEach(() => {
  external.faults.clear();
  vi.restoreAllMocks();
});

function run(event: Partial<BotEvent>): ReturnType<typeof handler> {
  const secrets = { HAPI_BASE_URL: { name: 'HAPI_BASE_URL', valueString: external.baseUrl } };
  return handler(source.medplum, {
    contentType: 'application/fhir+json',
    secrets,
    ...event,
  } as BotEvent);
}

async function status(): Promise<number> {
  return (await fetch(`${external.baseUrl}/Patient/${id}`)).status;
}

test('create, update, delete: the external server follows', async () => {
  expect(await run(source.save({ resourceType: 'Patient', id, ...PATIENT }))).toMatchObject({
    action: 'created',
  });
  expect(await run(source.save({ resourceType: 'Patient', id, active: true }))).toMatchObject({
    action: 'updated',
  });
  expect(await status()).toBe(200);
  expect(await run(source.remove('Patient', id))).toMatchObject({ action: 'deleted' });
  expect(await status()).toBe(410);
  expect(lines).toEqual([
    expect.stringMatching(`^PUT Patient/${id} ok version=1 attempt=1 leftOut=0 ms=\\d+$`),
    expect.stringMatching(`^PUT Patient/${id} ok version=2 attempt=1 leftOut=0 ms=\\d+$`),
    expect.stringMatching(`^DELETE Patient/${id} ok attempt=1 leftOut=0 ms=\\d+$`),
  ]);
});

test('events in the wrong order, and twice, end in the current state', async () => {
  const created = source.save({ resourceType: 'Patient', id, gender: 'female' });
  const updated = source.save({ resourceType: 'Patient', id, gender: 'other' });
  const deleted = source.remove('Patient', id);
  const restored = source.save({ resourceType: 'Patient', id, gender: 'male' });
  for (const event of [deleted, restored, updated, deleted, created]) {
    await run(event);
  }
  const patient = (await (await fetch(`${external.baseUrl}/Patient/${id}`)).json()) as Patient;
  expect(patient.gender).toBe('male');
});

test('an input of { resourceType, id } syncs by hand', async () => {
  source.save({ resourceType: 'Patient', id });
  expect(await run({ input: { resourceType: 'Patient', id } })).toMatchObject({
    action: 'created',
  });
});

test('an error is logged, then thrown; neither says anything about the patient', async () => {
  const event = source.save({ resourceType: 'Patient', id, ...PATIENT, gender: 'robot' as never });
  const error = await run(event).catch((thrown: Error) => thrown);
  expect(error).toMatchObject({
    message: expect.stringMatching(/^PUT Patient: HTTP 4\d\d \(processing/),
  });
  expect(lines).toEqual([
    expect.stringMatching(`^SYNC Patient/${id} failed: refused HTTP 4\\d\\d processing`),
  ]);
  expect(`${lines.join()} ${JSON.stringify(error)} ${(error as Error).stack}`).not.toMatch(
    /Lovelace|Ada|1815|robot/,
  );
});

test('a secret that is missing is an error that says what to do', async () => {
  const event = source.save({ resourceType: 'Patient', id });
  await expect(run({ ...event, secrets: {} })).rejects.toThrow('Secret HAPI_BASE_URL is not set');
  expect(lines).toEqual([expect.stringMatching(`^SYNC Patient/${id} failed: `)]);
});

test('an event that names no resource is an error, logged too', async () => {
  await expect(run({ input: {} })).rejects.toThrow('names no resource');
  expect(lines).toEqual([expect.stringMatching('^SYNC resource [?] failed: ')]);
});

test('the bot has more time than its tries take', () => {
  const { bots } = JSON.parse(readFileSync('medplum.config.json', 'utf8')) as {
    bots: { name: string; timeout: number }[];
  };
  const bot = bots.find(({ name }) => name === 'hapi-sync-bot');
  expect(TIME_BUDGET_MS).toBeLessThan((bot?.timeout ?? 10) * 1000);
});
