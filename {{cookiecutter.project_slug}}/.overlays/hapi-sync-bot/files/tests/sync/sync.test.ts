// The sync algorithm, against a server that behaves and fails like HAPI, and a Medplum that changes
// at the worst moments.
import { randomUUID } from 'node:crypto';
import { OperationOutcomeError, unauthorized } from '@medplum/core';
import type { Patient } from '@medplum/fhirtypes';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { clock } from '../../src/shared/retry.ts';
import { connectExternalServer } from '../../src/shared/external-server.ts';
import { versionInEtag } from '../../src/shared/http-request.ts';
import { sync } from '../../src/shared/sync/index.ts';
import type { SyncConfig, SyncResult } from '../../src/shared/sync/index.ts';
import { startFhirServer } from '../../tools/src/fhir-server/server.ts';
import type { FhirServer } from '../../tools/src/fhir-server/server.ts';
import { testConfig } from './config.ts';
import { memorySource } from './memory-source.ts';
import type { MemorySource } from './memory-source.ts';

let external: FhirServer;
let source: MemorySource;
let config: SyncConfig;
let id: string;

beforeAll(async () => {
  external = await startFhirServer();
});
afterAll(() => external.stop());
beforeEach(() => {
  vi.stubGlobal('fetch', external.fetch);
  source = memorySource();
  config = testConfig();
  id = randomUUID();
  // Waiting takes no time here; only the deadline of a request (which has a signal) is left to the
  // real clock.
  const sleep = clock.sleep;
  vi.spyOn(clock, 'sleep').mockImplementation((ms, signal) => sleep(signal ? ms : 0, signal));
});
afterEach(() => {
  external.faults.clear();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

function syncs(
  syncedId = id,
  isDeletionKnown = false,
  ms = 60_000,
  type = 'Patient',
): Promise<SyncResult> {
  const deadline = clock.now() + ms;
  const secrets = { HAPI_BASE_URL: { name: 'HAPI_BASE_URL', valueString: external.baseUrl } };
  const target = connectExternalServer(secrets, deadline);
  const context = { medplum: source.medplum, target, config, deadline };
  return sync(context, type, syncedId, { isDeletionKnown });
}

function save(patient: Partial<Patient> = {}): void {
  source.save({ resourceType: 'Patient', id, ...patient } as Patient & { id: string });
}

async function there(patientId = id): Promise<Patient | undefined> {
  const response = await fetch(`${external.baseUrl}/Patient/${patientId}`);
  return response.ok ? ((await response.json()) as Patient) : undefined;
}

async function putThere(patient: Partial<Patient>): Promise<void> {
  const whole = { resourceType: 'Patient', id, ...patient };
  const headers = { 'content-type': 'application/fhir+json' };
  const init = { method: 'PUT', headers, body: JSON.stringify(whole) };
  const answer = await fetch(`${external.baseUrl}/Patient/${whole.id}`, init);
  expect(answer.ok).toBe(true);
}

/**
 * Holds back the first request like this, and reports that no answer came; gives what delivers it
 * later.
 */
function holdFirst(isWanted: (init: RequestInit) => boolean): () => Promise<number | undefined> {
  const { fetch } = globalThis;
  let late: (() => Promise<Response>) | undefined;
  vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init = {}) => {
    if (!late && isWanted(init)) {
      late = () => fetch(url, { ...init, signal: null });
      throw new TypeError('fetch failed');
    }
    return fetch(url, init);
  });
  return async () => (await late?.())?.status;
}

/** The verbs of the requests that were sent since. */
function verbs(): string[] {
  return vi.mocked(fetch).mock.calls.map(([, init]) => init?.method ?? '');
}

/** All patients there that carry the source identifier of this one. */
async function copies(): Promise<Patient[]> {
  const query = `identifier=${encodeURIComponent(`https://medplum.com/patient-id|${id}`)}`;
  const response = await fetch(`${external.baseUrl}/Patient?${query}`, {
    headers: { 'cache-control': 'no-cache' },
  });
  const { entry = [] } = (await response.json()) as { entry?: { resource: Patient }[] };
  return entry.map(({ resource }) => resource);
}

describe('one resource', () => {
  test('create, update, unchanged, delete, restore', async () => {
    save({ gender: 'female' });
    expect(await syncs()).toMatchObject({ action: 'created', version: '1', attempts: 1 });
    expect(await there()).toMatchObject({
      gender: 'female',
      identifier: [{ system: 'https://medplum.com/patient-id', value: id }],
    });
    save({ gender: 'other' });
    expect(await syncs()).toMatchObject({ action: 'updated', version: '2' });
    expect(await syncs()).toMatchObject({ action: 'unchanged', version: '2' });
    source.remove('Patient', id);
    expect(await syncs(id, true)).toMatchObject({ action: 'deleted' });
    expect(await there()).toBeUndefined();
    expect(await syncs(id, true)).toMatchObject({ action: 'absent' });
    save({ gender: 'male' });
    expect(await syncs()).toMatchObject({ action: 'created', version: '4' });
    expect((await there())?.gender).toBe('male');
  });

  test('a change costs two requests to the external server and two reads on Medplum', async () => {
    const sent = vi.spyOn(globalThis, 'fetch');
    for (const change of [
      () => save(),
      () => save({ active: true }),
      () => source.remove('Patient', id),
    ]) {
      change();
      sent.mockClear();
      source.requests.length = 0;
      await syncs();
      expect(sent).toHaveBeenCalledTimes(2);
      expect(source.requests).toEqual([
        `GET Patient/${id}`,
        `GET Patient?_id=${id}&_count=1&_elements=id`,
      ]);
    }
  });

  test('refuses types that are not configured, and what is not an id', async () => {
    const context = { medplum: source.medplum, target: undefined as never, config, deadline: 0 };
    await expect(sync(context, 'Observation', id)).rejects.toThrow('not among the types');
    await expect(sync(context, 'Patient', 'undefined')).rejects.toThrow('not a FHIR id');
    await expect(sync(context, 'Patient', '')).rejects.toThrow('not a FHIR id');
    expect(source.requests).toEqual([]);
  });
});

test("the team's identifiers are copied, and removed when Medplum no longer has them", async () => {
  const [ours, mrn, old] = [`https://medplum.com/patient-id ${id}`, 'urn:mrn 7', 'urn:old 1'];
  const named = (...texts: string[]): Patient['identifier'] =>
    texts.map((text) => ({ system: text.split(' ')[0] ?? '', value: text.split(' ')[1] ?? '' }));
  save({ identifier: named(mrn, old) });
  await syncs();
  expect((await there())?.identifier).toEqual(named(mrn, old, ours));
  save({ identifier: named(mrn) });
  await syncs();
  expect((await there())?.identifier).toEqual(named(mrn, ours));
});

test('a reference to another synced type stays', async () => {
  config.types = ['Organization', 'Patient'];
  const clinic = randomUUID();
  source.save({ resourceType: 'Organization', id: clinic });
  save({ managingOrganization: { reference: `Organization/${clinic}` } });
  expect(await syncs()).toMatchObject({ leftOut: 0 });
  expect((await there())?.managingOrganization?.reference).toBe(`Organization/${clinic}`);
});

test('a tag or label that is removed on Medplum is removed from the target', async () => {
  save({ meta: { tag: [{ code: 'a' }, { code: 'b' }], security: [{ code: 'R' }] } });
  await syncs();
  save({ meta: { tag: [{ code: 'b' }] } });
  await syncs();
  const tags = (await there())?.meta?.tag?.map(({ code }) => code).toSorted();
  expect(tags).toEqual(['b', 'synced']);
  expect((await there())?.meta).not.toHaveProperty('security');
});

describe('deleting', () => {
  test('a 404 of Medplum deletes only when the event said so', async () => {
    save();
    await syncs();
    source.expunge('Patient', id);
    await expect(syncs()).rejects.toThrow('not-found');
    expect(await there()).toBeDefined();
    expect(await syncs(id, true)).toMatchObject({ action: 'deleted' });
  });

  test.each(['hidden', 'forbidden'] as const)(
    'losing the right to read (%s) deletes nothing',
    async (access) => {
      save();
      await syncs();
      source.access = access;
      source.requests.length = 0;
      await expect(syncs()).rejects.toThrow(/not-found|forbidden/);
      expect(source.requests, 'asking again would not help').toHaveLength(1);
      expect(await there()).toBeDefined();
    },
  );

  test.each([true, false])(
    "a deleted patient in Medplum's cache is deleted on the target; the event says so: %s",
    async (said) => {
      save();
      await syncs();
      source.remove('Patient', id, true);
      expect(await syncs(id, said)).toMatchObject({ action: 'deleted', attempts: said ? 1 : 2 });
      expect(await there()).toBeUndefined();
    },
  );

  test('a late update does not bring a deleted patient back from that cache', async () => {
    save();
    await syncs();
    source.remove('Patient', id, true);
    await syncs(id, true);
    const sent = vi.spyOn(globalThis, 'fetch');
    expect(await syncs()).toMatchObject({ action: 'absent', attempts: 1 });
    expect(sent.mock.calls.map(([, init]) => init?.method)).not.toContain('PUT');
  });

  test('a database that lags is asked again: no new or restored patient is deleted', async () => {
    const search = vi.spyOn(source.medplum, 'search');
    const late = (...entry: object[]): unknown =>
      search.mockResolvedValueOnce({ resourceType: 'Bundle', entry } as never);
    save();
    late();
    expect(await syncs()).toMatchObject({ action: 'unchanged', attempts: 2 });
    source.remove('Patient', id);
    await syncs(id, true);
    save();
    late();
    late({
      resource: { resourceType: 'Patient', id, meta: { lastUpdated: '2000-01-01T00:00:00Z' } },
    });
    expect(await syncs(id, true)).toMatchObject({ action: 'created', attempts: 2 });
    expect(await there()).toBeDefined();
  });

  test('deleting a patient that was never copied writes nothing', async () => {
    const stranger = randomUUID();
    const body = JSON.stringify({ resourceType: 'Patient', id: stranger });
    const headers = { 'content-type': 'application/fhir+json' };
    await fetch(`${external.baseUrl}/Patient/${stranger}`, { method: 'PUT', headers, body });
    vi.spyOn(globalThis, 'fetch');
    expect(await syncs(id, true)).toMatchObject({ action: 'absent' });
    expect(verbs(), 'nothing is written').toEqual(['GET']);
    expect(await there(stranger)).toBeDefined();
  });

  test("a patient with the team's identifiers is deleted; a deleted one is kept", async () => {
    save({ identifier: [{ system: 'urn:mrn', value: '7' }] });
    await syncs();
    source.remove('Patient', id);
    expect(await syncs(id, true)).toMatchObject({ action: 'deleted' });
    vi.spyOn(globalThis, 'fetch');
    external.faults.add({ kind: '503', times: 1 });
    expect(await syncs(id, true)).toMatchObject({ action: 'absent', attempts: 2 });
    expect(new Set(verbs())).toEqual(new Set(['GET']));
  });

  test('a source identifier from imported data is not copied, and protects nothing', async () => {
    const foreign = { system: 'https://medplum.com/patient-id', value: 'another-project' };
    save({ identifier: [foreign] });
    await syncs();
    expect((await there())?.identifier).toEqual([{ ...foreign, value: id }]);
    // as an older version wrote it
    await putThere({ identifier: [foreign, { ...foreign, value: id }] });
    source.remove('Patient', id);
    expect(await syncs(id, true)).toMatchObject({ action: 'deleted' });
    expect(await there()).toBeUndefined();
  });

  test('a record that was merged on the target stays while the other one exists', async () => {
    source.save({ resourceType: 'Patient', id: 'the-other' });
    save();
    await syncs();
    const second = { system: 'https://medplum.com/patient-id', value: 'the-other' };
    const { identifier = [] } = (await there()) as Patient;
    await putThere({ identifier: [...identifier, second] });
    save({ active: true });
    expect(await syncs()).toMatchObject({ action: 'updated' });
    expect((await there())?.identifier).toEqual([...identifier, second]);
    source.remove('Patient', id);
    expect(await syncs(id, true)).toMatchObject({ action: 'merged' });
    expect((await there())?.active).toBe(true);
    source.remove('Patient', 'the-other');
    expect(await syncs(id, true)).toMatchObject({ action: 'deleted' });
  });

  test('a copy is deleted even if the target lost its identifier or its tag', async () => {
    for (const removed of [{ identifier: [] }, { meta: {} }]) {
      save();
      await syncs();
      await putThere({ ...(await there()), ...removed });
      source.remove('Patient', id);
      expect(await syncs(id, true)).toMatchObject({ action: 'deleted' });
    }
  });

  test('a resource that this sync did not write is not deleted, and that is an error', async () => {
    await putThere({ gender: 'female' });
    save();
    source.remove('Patient', id);
    await expect(syncs(id, true)).rejects.toMatchObject({ code: 'not-ours' });
    expect(await there()).toMatchObject({ gender: 'female' });
  });

  const linkTo = (other: string): Pick<Patient, 'link'> => ({
    link: [{ other: { reference: `Patient/${other}` }, type: 'refer' }],
  });

  test('a link from another synced patient is removed with the patient it leads to', async () => {
    const other = randomUUID();
    save();
    source.save({ resourceType: 'Patient', id: other, gender: 'male', ...linkTo(id) });
    await syncs(other);
    source.remove('Patient', id);
    expect(await syncs(id, true)).toMatchObject({ action: 'deleted', attempts: 1 });
    expect(await there()).toBeUndefined();
    expect(await there(other)).toMatchObject({ gender: 'male', identifier: [{ value: other }] });
    expect(await there(other)).not.toHaveProperty('link');
    expect(await syncs(other)).toMatchObject({ action: 'unchanged', leftOut: 1 });
  });

  test('a concurrent change of that other patient is not overwritten', async () => {
    const other = randomUUID();
    save();
    source.save({ resourceType: 'Patient', id: other, ...linkTo(id) });
    await syncs(other);
    source.remove('Patient', id);
    const { fetch } = globalThis;
    let changed = false;
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
      if (String(init?.body).includes('"method":"PUT"') && !changed) {
        changed = true;
        source.save({ resourceType: 'Patient', id: other, gender: 'female', ...linkTo(id) });
        await syncs(other);
      }
      return fetch(url, init);
    });
    expect(await syncs(id, true)).toMatchObject({ action: 'deleted', attempts: 2 });
    expect(await there(other)).toMatchObject({ gender: 'female' });
  });

  test.each([
    ['still links to it', true, 2],
    ['does not link to it any more', false, 1],
  ])(
    'a patient that links to it only now, and %s when it is looked for, does not block',
    async (_words, stillLinks, attempts) => {
      const other = randomUUID();
      const third = randomUUID();
      save();
      source.save({ resourceType: 'Patient', id: other, ...linkTo(id) });
      await syncs(other);
      source.remove('Patient', id);
      const { fetch } = globalThis;
      let linked = false;
      vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
        if (linked || !String(init?.body).includes('"method":"DELETE"')) {
          return fetch(url, init);
        }
        linked = true;
        source.save({ resourceType: 'Patient', id: third, ...linkTo(id) });
        await syncs(third);
        const answer = await fetch(url, init);
        source.save({ resourceType: 'Patient', id: third, ...(stillLinks ? linkTo(id) : {}) });
        await syncs(third);
        return answer;
      });
      expect(await syncs(id, true)).toMatchObject({ action: 'deleted', attempts });
      expect(await there()).toBeUndefined();
      expect(await there(third)).not.toHaveProperty('link');
    },
  );

  test('two patients that link to each other are both deleted', async () => {
    const other = randomUUID();
    save(linkTo(other));
    source.save({ resourceType: 'Patient', id: other, ...linkTo(id) });
    await syncs();
    for (const each of [id, other]) {
      source.remove('Patient', each);
    }
    expect(await syncs(id, true)).toMatchObject({ action: 'deleted' });
    expect(await syncs(other, true), 'it went in the same transaction').toMatchObject({
      action: 'absent',
    });
    for (const each of [id, other]) {
      expect(await there(each)).toBeUndefined();
    }
  });

  test('a patient that another client links to is deleted once the link is gone', async () => {
    save();
    await syncs();
    const stranger = { id: randomUUID(), identifier: [{ system: 'urn:x', value: id }] };
    await putThere({ ...stranger, ...linkTo(id) });
    source.remove('Patient', id);
    vi.spyOn(globalThis, 'fetch');
    await expect(syncs(id, true)).rejects.toMatchObject({
      code: 'blocked',
      cause: { status: 409 },
    });
    expect(verbs(), 'it is reported at once').toEqual(['GET', 'DELETE', 'GET', 'GET']);
    expect(await there(stranger.id)).toMatchObject(linkTo(id));
    await putThere(stranger);
    expect(await syncs(id, true)).toMatchObject({ action: 'deleted' });
  });

  test('a patient that an observation refers to stays, and so does the reference', async () => {
    config.types = ['Patient', 'Observation'];
    save();
    await syncs();
    const subject = { reference: `Patient/${id}` };
    source.save({ resourceType: 'Observation', id, status: 'final', code: { text: 'x' }, subject });
    expect(await syncs(id, false, 60_000, 'Observation')).toMatchObject({ action: 'created' });
    source.remove('Patient', id);
    await expect(syncs(id, true)).rejects.toMatchObject({ code: 'blocked' });
    const observation = await (await fetch(`${external.baseUrl}/Observation/${id}`)).json();
    expect(observation, 'no reference is removed to force a deletion').toMatchObject({ subject });
    source.remove('Observation', id);
    expect(await syncs(id, true), 'both go').toMatchObject({ action: 'deleted' });
    expect((await fetch(`${external.baseUrl}/Observation/${id}`)).status).toBe(410);
  });

  test('a reference that is gone on Medplum does not block, even before its own sync', async () => {
    config.types = ['Patient', 'Observation'];
    const other = randomUUID();
    save();
    source.save({ resourceType: 'Patient', id: other });
    const observation = { resourceType: 'Observation', id, status: 'final', code: {} } as const;
    source.save({ ...observation, subject: { reference: `Patient/${id}` } });
    await syncs(id, false, 60_000, 'Observation');
    source.save({ ...observation, subject: { reference: `Patient/${other}` } });
    source.remove('Patient', id);
    expect(await syncs(id, true)).toMatchObject({ action: 'deleted' });
    expect(await (await fetch(`${external.baseUrl}/Observation/${id}`)).json()).toMatchObject({
      subject: { reference: `Patient/${other}` },
    });
  });

  test('what this bot may not read stays, and blocks the deletion', async () => {
    config.types = ['Patient', 'Observation'];
    save();
    const subject = { reference: `Patient/${id}` };
    source.save({ resourceType: 'Observation', id, status: 'final', code: {}, subject });
    await syncs(id, false, 60_000, 'Observation');
    source.expunge('Observation', id); // 404, as for what a policy hides
    source.remove('Patient', id);
    await expect(syncs(id, true)).rejects.toMatchObject({ code: 'blocked' });
    expect(await there()).toBeDefined();
  });

  test('a link of one patient and a reference of the same one: the reference blocks', async () => {
    save();
    const refers = { url: 'urn:x', valueReference: { reference: `Patient/${id}` } };
    const other = { id: randomUUID(), extension: [refers], ...linkTo(id) };
    source.save({ resourceType: 'Patient', ...other });
    await syncs(other.id);
    source.remove('Patient', id);
    await expect(syncs(id, true)).rejects.toMatchObject({ code: 'blocked' });
    expect(await there(other.id)).toMatchObject({ extension: [refers], ...linkTo(id) });
  });

  test('a reference to the second of two patients that go together blocks both', async () => {
    config.types = ['Patient', 'Observation'];
    const second = randomUUID();
    save(linkTo(second));
    source.save({ resourceType: 'Patient', id: second, ...linkTo(id) });
    const focus = [{ reference: `Patient/${second}` }];
    const observation = { resourceType: 'Observation', id, status: 'final', code: {} } as const;
    source.save({ ...observation, focus, subject: { reference: `Patient/${id}` } });
    await syncs(id, false, 60_000, 'Observation');
    source.save({ ...observation, focus });
    source.remove('Patient', id);
    source.remove('Patient', second);
    await expect(syncs(id, true)).rejects.toMatchObject({ code: 'blocked' });
    expect(await there(second)).toBeDefined();
  });

  test('deactivate instead of delete: with If-Match, and undone by the next update', async () => {
    config.onDelete = 'deactivate';
    save({ active: true });
    await syncs();
    source.remove('Patient', id);
    expect(await syncs(id, true)).toMatchObject({ action: 'deactivated', version: '2' });
    expect((await there())?.active).toBe(false);
    expect(await syncs(id, true)).toMatchObject({ action: 'absent' });
    save({ active: true });
    await syncs();
    expect((await there())?.active).toBe(true);
  });

  test('deactivate: a concurrent write of another client is not overwritten', async () => {
    config.onDelete = 'deactivate';
    save({ active: true });
    await syncs();
    source.remove('Patient', id);
    let reads = 0;
    source.before = async () => {
      if (++reads === 1) {
        await putThere({ active: true, gender: 'unknown' });
      }
    };
    expect(await syncs(id, true)).toMatchObject({
      action: 'deactivated',
      attempts: 2,
      version: '3',
    });
    expect(await there()).toMatchObject({ active: false, gender: 'unknown' });
  });

  test('a resource that is not in scope, or no longer, is not on the target', async () => {
    config.inScope = (resource) => (resource as Patient).active === true;
    save({ active: false });
    expect(await syncs()).toMatchObject({ action: 'absent' });
    save({ active: true });
    await syncs();
    expect(await there()).toBeDefined();
    save({ active: false });
    expect(await syncs()).toMatchObject({ action: 'deleted' });
    expect(await there()).toBeUndefined();
  });
});

describe('races and faults', () => {
  test('8 concurrent events of a new patient create one patient', async () => {
    save({ gender: 'female' });
    await Promise.all(Array.from({ length: 8 }, () => syncs()));
    expect(await copies()).toHaveLength(1);
    expect((await there())?.gender).toBe('female');
  });

  test('a change between reading and writing is seen: the sync starts over', async () => {
    save({ gender: 'male' });
    let reads = 0;
    source.before = () => {
      if (++reads === 2) {
        save({ gender: 'other' });
      }
    };
    expect(await syncs()).toMatchObject({ attempts: 2 });
    expect((await there())?.gender).toBe('other');
  });

  test('a deletion while the update is written is seen', async () => {
    save();
    let reads = 0;
    source.before = () => {
      if (++reads === 2) {
        source.remove('Patient', id);
      }
    };
    expect(await syncs()).toMatchObject({ action: 'deleted', attempts: 2 });
    expect(await there()).toBeUndefined();
  });

  test('a delayed create does not bring back a patient that has been deleted since', async () => {
    save();
    const release = holdFirst(
      ({ method }) => method === 'PUT' && source.remove('Patient', id) !== undefined,
    );
    expect(await syncs()).toMatchObject({ action: 'deleted', attempts: 2 });
    expect(await release()).toBe(409);
    expect(await copies()).toEqual([]);
  });

  test('with deactivate, an inactive patient keeps the delayed create out', async () => {
    config.onDelete = 'deactivate';
    save({ active: true });
    const release = holdFirst(
      ({ method }) => method === 'PUT' && source.remove('Patient', id) !== undefined,
    );
    expect(await syncs()).toMatchObject({ action: 'absent' });
    expect(await release()).toBe(409);
    expect(await copies()).toMatchObject([{ id, active: false }]);
    expect(verbs()).not.toContain('DELETE');
  });

  test('what a bot leaves when it dies before that is found later', async () => {
    save();
    holdFirst(({ method }) => method === 'PUT' && source.remove('Patient', id) !== undefined);
    external.faults.add({ kind: '503', method: 'DELETE' });
    await expect(syncs(id, false, 5_000)).rejects.toMatchObject({ cause: { status: 503 } });
    expect(await copies(), 'what was put there for its tombstone').toMatchObject([{ id }]);
  });

  test('a delayed restore does not bring back a patient that has been deleted again', async () => {
    save();
    await syncs();
    source.remove('Patient', id);
    await syncs(id, true);
    save({ gender: 'other' });
    const release = holdFirst(({ method }) => method === 'PUT');
    await syncs();
    source.remove('Patient', id);
    await syncs(id, true);
    expect(await release()).toBe(409);
    expect(await copies()).toEqual([]);
  });

  test('a 412 is a conflict, too', async () => {
    save({ gender: 'male' });
    vi.spyOn(globalThis, 'fetch').mockImplementationOnce(
      async () => new Response('{}', { status: 412 }),
    );
    expect(await syncs()).toMatchObject({ action: 'created', attempts: 2 });
  });

  test('a server that sends no ETag: the fence is the version in the resource', async () => {
    save({ gender: 'male' });
    await syncs();
    save({ gender: 'female' });
    const { fetch } = globalThis;
    const spy = vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
      const answer = await fetch(url, init);
      const headers = { 'content-location': `${String(url)}/_history/2` };
      return new Response(await answer.text(), {
        status: answer.status,
        ...(init?.method === 'PUT' && { headers }),
      });
    });
    expect(await syncs()).toMatchObject({ action: 'updated', version: '2' });
    const headers = spy.mock.calls.find(([, init]) => init?.method === 'PUT')?.[1]?.headers;
    expect(headers).toMatchObject({ 'if-match': 'W/"1"' });
  });

  test.each(['living', 'deleted'])(
    'nothing is written to a server that returns no version of a resource that is %s',
    async (state) => {
      save();
      await syncs();
      if (state === 'deleted') {
        source.remove('Patient', id);
        await syncs(id, true);
      }
      save({ gender: 'female' });
      const { fetch } = globalThis;
      vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
        const answer = await fetch(url, init);
        const text = (await answer.text())
          .replace(/"(versionId|etag)": ?"[^"]*(\\"[^"]*)*",?/g, '')
          .replace(/,}/g, '}');
        return new Response(text, { status: answer.status });
      });
      await expect(syncs()).rejects.toMatchObject({ code: 'unsupported' });
      expect(verbs()).not.toContain('PUT');
    },
  );

  test.each([
    ['W/"12"', '12'],
    ['3', '3'],
    ['W/"aW1/x"', 'aW1/x'],
    [undefined, undefined],
  ])('the version in the ETag %s of a Bundle is %s', (etag, version) => {
    expect(versionInEtag(etag)).toBe(version);
  });

  test('a write of another client between reading and writing is not overwritten', async () => {
    save({ gender: 'male' });
    await syncs();
    save({ gender: 'female' });
    let reads = 0;
    source.before = async () => {
      if (++reads === 1) {
        await putThere({ gender: 'unknown' });
      }
    };
    expect(await syncs()).toMatchObject({ attempts: 2, version: '3' });
    expect((await there())?.gender).toBe('female');
  });

  test('a Medplum that is busy is asked again', async () => {
    save();
    let reads = 0;
    source.before = () => {
      if (++reads < 3) {
        throw new TypeError('fetch failed');
      }
    };
    expect(await syncs()).toMatchObject({ action: 'created', attempts: 3 });
  });

  test('a Medplum that refuses the credentials is not asked again', async () => {
    save();
    source.before = () => {
      throw new OperationOutcomeError(unauthorized);
    };
    await expect(syncs()).rejects.toThrow(`GET Patient/${id} from Medplum: unauthorized`);
    expect(source.requests).toHaveLength(1);
  });

  test.each([
    ['in the diagnostics', 400],
    ['in the diagnostics', 60_000],
    ['in an extension', 1_000],
    ['in an extension', 60_000],
    ['nowhere', 60_000],
  ])(
    'a spent quota: waits as told %s (%i ms) if that fits, and never asks in between',
    async (where, ms) => {
      save();
      const url = 'https://medplum.com/fhir/StructureDefinition/rate-limit-reset';
      source.before = () => {
        if (source.requests.length === 1) {
          const diagnostics =
            where === 'in the diagnostics' ? JSON.stringify({ _msBeforeNext: ms }) : undefined;
          const extension =
            where === 'in an extension' ? [{ url, valueUnsignedInt: ms / 1000 }] : undefined;
          throw new OperationOutcomeError({
            resourceType: 'OperationOutcome',
            id: 'too-many-requests',
            issue: [{ severity: 'error', code: 'throttled', diagnostics }],
            extension,
          });
        }
      };
      if (ms < 60_000) {
        expect(await syncs(id, false, 5_000)).toMatchObject({ action: 'created', attempts: 2 });
        expect(
          vi.mocked(clock.sleep).mock.calls.filter(([, signal]) => !signal)[0]?.[0],
        ).toBeGreaterThanOrEqual(ms);
      } else {
        await expect(syncs(id, false, 25_000)).rejects.toMatchObject({ code: 'throttled' });
        expect(source.requests).toHaveLength(1);
      }
    },
  );

  test('a Medplum that does not answer is given up when its time is up', async () => {
    save();
    let timeIsUp = (): void => undefined; // of the request that is under way
    vi.mocked(clock.sleep).mockImplementation((_ms, signal) =>
      signal ? new Promise((resolve) => (timeIsUp = resolve)) : Promise.resolve(),
    );
    vi.spyOn(source.medplum, 'readResource').mockImplementation(((
      _type: string,
      _id: string,
      options: RequestInit,
    ) => {
      timeIsUp();
      return new Promise((_resolve, reject) => {
        options.signal?.addEventListener('abort', () => reject(new Error('aborted')));
      });
    }) as never);
    await expect(syncs()).rejects.toMatchObject({
      code: 'timeout',
      message: `GET Patient/${id} from Medplum: no-answer`,
    });
    expect(source.medplum.readResource).toHaveBeenCalledTimes(2);
  });

  test('an error that another try cannot help fails at once', async () => {
    save({ birthDate: 'not a date' });
    const sent = vi
      .spyOn(globalThis, 'fetch')
      .mockImplementation(async () => new Response('{}', { status: 403 }));
    await expect(syncs()).rejects.toMatchObject({ code: 'denied', cause: { status: 403 } });
    expect(sent).toHaveBeenCalledTimes(1);
  });
});

describe('faults of the target and of the connection to it', () => {
  // over a real connection
  beforeEach(() => {
    vi.unstubAllGlobals();
  });

  test.each(['503', '429', 'html', 'reset', 'lost'] as const)('%s is survived', async (kind) => {
    // it asks for a second each time
    config.retryForMs = kind === '429' ? 5_000 : config.retryForMs;
    external.faults.add({ kind, times: 1 }, { kind, times: 1, method: 'PUT' });
    save({ gender: 'female' });
    expect((await syncs()).attempts).toBeGreaterThan(1);
    expect(await copies()).toHaveLength(1);
  });

  test('a server that does not answer is given up at the deadline', async () => {
    external.faults.add({ kind: 'hang' });
    save();
    await expect(syncs(id, false, 40)).rejects.toMatchObject({ code: 'timeout' });
  });

  test('while the target is down, three tries are made within two seconds', async () => {
    save();
    for (const kind of ['503', 'reset'] as const) {
      external.faults.add({ kind });
      const sent = vi.spyOn(globalThis, 'fetch');
      vi.mocked(clock.sleep).mockClear();
      await expect(syncs(id, false, 25_000)).rejects.toMatchObject({ code: 'unavailable' });
      expect(sent).toHaveBeenCalledTimes(3);
      const waits = vi
        .mocked(clock.sleep)
        .mock.calls.flatMap(([ms, signal]) => (signal ? [] : [ms]));
      expect(waits.reduce((sum, ms) => sum + ms, 0)).toBeLessThan(2_000);
      sent.mockRestore();
      external.faults.clear();
    }
  });

  test('a request without an answer is tried once more, no more often', async () => {
    external.faults.add({ kind: 'hang' });
    save();
    const sent = vi.spyOn(globalThis, 'fetch');
    vi.mocked(clock.sleep).mockResolvedValue(undefined); // every time limit is over at once
    await expect(syncs(id, false, 25_000)).rejects.toMatchObject({ code: 'timeout' });
    expect(sent).toHaveBeenCalledTimes(2);
  });
});

describe('references among synced types', () => {
  const linkTo = (...ids: string[]): Pick<Patient, 'link'> => ({
    link: ids.map((other) => ({ other: { reference: `Patient/${other}` }, type: 'seealso' })),
  });

  test('a referenced patient that is missing is written in the same transaction', async () => {
    const [second, third] = [randomUUID(), randomUUID()];
    save(linkTo(second));
    source.save({ resourceType: 'Patient', id: second, ...linkTo(third) });
    source.save({ resourceType: 'Patient', id: third, ...linkTo(id, third) });
    expect(await syncs()).toMatchObject({ action: 'created', leftOut: 0 });
    expect(await there()).toMatchObject(linkTo(second));
    expect(await there(second)).toMatchObject(linkTo(third));
    expect(await there(third)).toMatchObject(linkTo(id, third));
  });

  test('a link to an existing patient stays, next to one that is written with it', async () => {
    const [known, fresh] = [randomUUID(), randomUUID()];
    source.save({ resourceType: 'Patient', id: known, gender: 'male' });
    await syncs(known);
    source.save({ resourceType: 'Patient', id: fresh });
    save(linkTo(known, fresh));
    expect(await syncs()).toMatchObject({ action: 'created', version: '1', leftOut: 0 });
    expect((await there())?.link).toEqual(linkTo(known, fresh).link);
    expect((await there(known))?.meta?.versionId).toBe('1');
  });

  test('a delayed transaction does not bring back deleted patients', async () => {
    const other = randomUUID();
    source.save({ resourceType: 'Patient', id: other, ...linkTo(id) });
    save(linkTo(other));
    const release = holdFirst(({ method }) => method === 'POST');
    await syncs();
    source.save({ resourceType: 'Patient', id: other });
    await syncs(other);
    for (const each of [id, other]) {
      source.remove('Patient', each);
      await syncs(each, true);
    }
    expect(await release()).toBe(409);
    expect(await there()).toBeUndefined();
    expect(await there(other)).toBeUndefined();
  });

  test.each(['arrives', 'is lost'])(
    'a dependency does not stay if it has been deleted since; the answer %s',
    async (way) => {
      const other = randomUUID();
      source.save({ resourceType: 'Patient', id: other });
      save(linkTo(other));
      const { fetch } = globalThis;
      let isRemoved = false;
      vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
        if (init?.method !== 'POST' || isRemoved) {
          return fetch(url, init);
        }
        isRemoved = true;
        source.remove('Patient', other);
        expect(await syncs(other, true), 'its own run').toMatchObject({ action: 'absent' });
        const answer = await fetch(url, init);
        if (way === 'arrives') {
          return answer;
        }
        throw new TypeError('fetch failed');
      });
      await syncs();
      expect(await there(other)).toBeUndefined();
      expect(await there()).toBeDefined();
    },
  );

  test('one linked patient is deleted while another one is written', async () => {
    const [known, fresh] = [randomUUID(), randomUUID()];
    source.save({ resourceType: 'Patient', id: known });
    await syncs(known);
    source.save({ resourceType: 'Patient', id: fresh });
    save(linkTo(known, fresh));
    const { fetch } = globalThis;
    let gone = false;
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
      if (init?.method === 'POST' && !gone) {
        gone = true;
        source.remove('Patient', known);
        await syncs(known, true);
      }
      return fetch(url, init);
    });
    expect(await syncs()).toMatchObject({ action: 'created', attempts: 2, leftOut: 1 });
    expect((await there())?.link).toEqual(linkTo(fresh).link);
  });

  test('a dependency in a delayed transaction is not written after it was deleted', async () => {
    const fresh = randomUUID();
    save();
    await syncs();
    source.save({ resourceType: 'Patient', id: fresh });
    save(linkTo(fresh));
    const release = holdFirst(
      ({ method }) => method === 'POST' && source.remove('Patient', fresh) !== undefined,
    );
    expect(await syncs()).toMatchObject({ action: 'unchanged', attempts: 2, leftOut: 1 });
    expect(await release()).toBe(409);
    expect(await there(fresh)).toBeUndefined();
  });

  test('a patient with links that may not be written is not tried in another way', async () => {
    save(linkTo(randomUUID()));
    const { fetch } = globalThis;
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) =>
      init?.method === 'GET' ? fetch(url, init) : new Response('{}', { status: 403 }),
    );
    await expect(syncs()).rejects.toMatchObject({
      code: 'denied',
      cause: { status: 403, method: 'PUT' },
    });
    expect(verbs()).toEqual(['GET', 'PUT']);
  });

  test('a reference to a deleted or unreadable resource is left out and counted', async () => {
    config.inScope = (resource) => (resource as Patient).active !== false;
    const [gone, out, unknown, good] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
    source.save({ resourceType: 'Patient', id: gone });
    source.remove('Patient', gone);
    source.save({ resourceType: 'Patient', id: out, active: false });
    source.save({ resourceType: 'Patient', id: good });
    save({
      ...linkTo(gone, out, unknown, good),
      managingOrganization: { reference: 'Organization/1' },
    });
    expect(await syncs()).toMatchObject({ action: 'created', leftOut: 4 });
    expect((await there())?.link).toEqual(linkTo(good).link);
  });
});
