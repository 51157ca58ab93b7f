// The sync bot against a target that asks for SMART Backend Services: private_key_jwt, verified by
// the token endpoint.
import { generateKeyPairSync } from 'node:crypto';
import type { BotEvent } from '@medplum/core';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { handler } from '../../src/bots/hapi-sync-bot.ts';
import * as configuration from '../../src/shared/sync/config.ts';
import type { SyncResult } from '../../src/shared/sync/index.ts';
import { testConfig } from '../../tests/sync/config.ts';
import { memorySource } from '../../tests/sync/memory-source.ts';
import { startFhirServer } from '../../tools/src/fhir-server/server.ts';
import type { FhirServer } from '../../tools/src/fhir-server/server.ts';
import { startSmartServer } from './smart-token-server.ts';
import type { RegisteredKey, SmartServer } from './smart-token-server.ts';

const rsa = keyPair('rsa-key', generateKeyPairSync('rsa', { modulusLength: 2048 }));
const ec = keyPair('ec-key', generateKeyPairSync('ec', { namedCurve: 'P-384' }));
const other = keyPair('ec-key', generateKeyPairSync('ec', { namedCurve: 'P-384' }));

const source = memorySource();
let fhirServer: FhirServer;
let smart: SmartServer;

function keyPair(
  kid: string,
  { privateKey, publicKey }: ReturnType<typeof generateKeyPairSync>,
): { secret: string; registered: RegisteredKey } {
  return {
    secret: JSON.stringify({ ...privateKey.export({ format: 'jwk' }), kid }),
    registered: { ...publicKey.export({ format: 'jwk' }), kid } as RegisteredKey,
  };
}

beforeAll(async () => {
  fhirServer = await startFhirServer();
  const clients = {
    'rsa-client': [rsa.registered],
    'ec-client': [rsa.registered, ec.registered],
    impostor: [ec.registered],
    unregistered: [rsa.registered],
    greedy: [rsa.registered],
  };
  smart = await startSmartServer(clients, fhirServer.baseUrl);
});
afterAll(async () => {
  await smart.stop();
  await fhirServer.stop();
});
beforeEach(() => {
  vi.spyOn(configuration, 'syncConfig').mockReturnValue(testConfig({ retryForMs: 0 }));
  vi.spyOn(console, 'log').mockImplementation(() => undefined);
  smart.refused.length = 0;
  smart.granted.length = 0;
});

function sync(id: string, client: string, key: string, changes = {}): Promise<SyncResult> {
  const values = {
    HAPI_BASE_URL: smart.fhirUrl,
    HAPI_TOKEN_URL: smart.tokenUrl,
    HAPI_CLIENT_ID: client,
    HAPI_CLIENT_KEY: key,
    HAPI_SCOPE: 'system/Patient.cruds',
    ...changes,
  };
  const secrets = Object.fromEntries(
    Object.entries(values).map(([name, valueString]) => [name, { name, valueString }]),
  );
  const event = source.save({ resourceType: 'Patient', id });
  return handler(source.medplum, { ...event, secrets } as BotEvent) as Promise<SyncResult>;
}

test.each([
  ['RS384', 'rsa-client', rsa],
  ['ES384, one of two registered keys', 'ec-client', ec],
])('a patient arrives with a key of %s', async (_algorithm, client, { secret }) => {
  expect(await sync(client, client, secret)).toMatchObject({ action: 'created' });
  expect(smart.granted).toEqual(['system/Patient.cruds']);
  expect((await fetch(`${fhirServer.baseUrl}/Patient/${client}`)).status).toBe(200);
});

test.each([
  ['the key of another client', 'impostor', other.secret, {}, 'signature', 'invalid_client'],
  ['a key that is not registered', 'unregistered', ec.secret, {}, 'key', 'invalid_client'],
  [
    'a scope of another kind',
    'greedy',
    rsa.secret,
    { HAPI_SCOPE: 'all' },
    'scope',
    'invalid_scope',
  ],
])('%s is refused, and the error says so', async (_what, client, key, changes, rule, code) => {
  await expect(sync('refused', client, key, changes)).rejects.toMatchObject({
    code: 'refused',
    cause: { status: 400, codes: [code] },
  });
  expect(smart.refused).toEqual([rule]);
  expect((await fetch(`${fhirServer.baseUrl}/Patient/refused`)).status).toBe(404);
});
