// The sync algorithm, against a server with HAPI's manners and faults, and a Medplum that changes at the worst moments.
import { randomUUID } from 'node:crypto';
import { OperationOutcomeError, unauthorized } from '@medplum/core';
import type { OperationOutcome, Patient } from '@medplum/fhirtypes';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { connectExternalServer } from '../src/shared/external-server.ts';
import { sync } from '../src/shared/fhir-sync.ts';
import type { SyncResult } from '../src/shared/fhir-sync.ts';
import { clock } from '../src/shared/retry.ts';
import { syncConfig } from '../src/shared/sync-config.ts';
import type { SyncConfig } from '../src/shared/sync-config.ts';
import { versionIn } from '../src/shared/fhir-target.ts';
import { startFhirServer } from '../tools/src/fhir-server/server.ts';
import type { FhirServer } from '../tools/src/fhir-server/server.ts';
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
  source = memorySource();
  config = syncConfig({});
  id = randomUUID();
  // Waiting takes no time here; only the deadline of a request (which has a signal) is left to the real clock.
  const sleep = clock.sleep;
  vi.spyOn(clock, 'sleep').mockImplementation((ms, signal) => sleep(signal ? ms : 0, signal));
});
afterEach(() => {
  external.faults.clear();
  vi.restoreAllMocks();
});

function syncs(patientId = id, deleted = false, ms = 2_000): Promise<SyncResult> {
  const deadline = clock.now() + ms;
  const secrets = { HAPI_BASE_URL: { name: 'HAPI_BASE_URL', valueString: external.baseUrl } };
  const server = connectExternalServer(secrets, deadline);
  return sync({ medplum: source.medplum, server, config, deadline }, 'Patient', patientId, deleted);
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

/** Holds back the first request like this, and says that nobody answered; gives what delivers it later. */
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
  const response = await fetch(`${external.baseUrl}/Patient?${query}`, { headers: { 'cache-control': 'no-cache' } });
  const { entry = [] } = (await response.json()) as { entry?: { resource: Patient }[] };
  return entry.map(({ resource }) => resource);
}

describe('one resource', () => {
  test('create, update, nothing new, delete, restore', async () => {
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
    for (const change of [() => save(), () => save({ active: true }), () => source.remove('Patient', id)]) {
      change();
      sent.mockClear();
      source.requests.length = 0;
      await syncs();
      expect(sent).toHaveBeenCalledTimes(2);
      expect(source.requests).toEqual([`GET Patient/${id}`, `GET Patient?_id=${id}&_count=1&_elements=id`]);
    }
  });

  test('what Medplum refuses to be: only configured types, and ids', async () => {
    const context = { medplum: source.medplum, server: undefined as never, config, deadline: 0 };
    await expect(sync(context, 'Observation', id)).rejects.toThrow('not a type of');
    await expect(sync(context, 'Patient', 'undefined')).rejects.toThrow('not a FHIR id');
    await expect(sync(context, 'Patient', '')).rejects.toThrow('not a FHIR id');
    expect(source.requests).toEqual([]);
  });
});

test("the team's identifiers cross, and those that go on Medplum go there too; the id that was written back stays", async () => {
  const [ours, mrn, old] = [`https://medplum.com/patient-id ${id}`, 'urn:mrn 7', 'urn:old 1'];
  const named = (...texts: string[]): Patient['identifier'] =>
    texts.map((text) => ({ system: text.split(' ')[0] ?? '', value: text.split(' ')[1] ?? '' }));
  save({ identifier: named(mrn, old, `${config.targetSystem} 1000`) });
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

test('a tag or label that goes on Medplum goes there too', async () => {
  save({ meta: { tag: [{ code: 'a' }, { code: 'b' }], security: [{ code: 'R' }] } });
  await syncs();
  save({ meta: { tag: [{ code: 'b' }] } });
  await syncs();
  expect((await there())?.meta).toMatchObject({ tag: [{ code: 'b' }] });
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

  test.each(['hidden', 'forbidden'] as const)('losing the right to read (%s) empties nothing', async (access) => {
    save();
    await syncs();
    source.access = access;
    source.requests.length = 0;
    await expect(syncs()).rejects.toThrow(/not-found|forbidden/);
    expect(source.requests, 'asking again would not help').toHaveLength(1);
    expect(await there()).toBeDefined();
  });

  test.each([true, false])(
    'what Medplum still reads from its cache goes, whether the event says so: %s',
    async (said) => {
      save();
      await syncs();
      source.remove('Patient', id, true);
      expect(await syncs(id, said)).toMatchObject({ action: 'deleted', attempts: said ? 1 : 2 });
      expect(await there()).toBeUndefined();
    },
  );

  test('what is gone is not brought back from that cache by an update that comes late', async () => {
    save();
    await syncs();
    source.remove('Patient', id, true);
    await syncs(id, true);
    const sent = vi.spyOn(globalThis, 'fetch');
    expect(await syncs()).toMatchObject({ action: 'absent', attempts: 1 });
    expect(sent.mock.calls.map(([, init]) => init?.method)).not.toContain('PUT');
  });

  test('a database that is later than the cache is asked again: neither a new nor a restored patient goes', async () => {
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
    late({ resource: { resourceType: 'Patient', id, meta: { lastUpdated: '2000-01-01T00:00:00Z' } } });
    expect(await syncs(id, true)).toMatchObject({ action: 'created', attempts: 2 });
    expect(await there()).toBeDefined();
  });

  test('a patient that never arrived is not there afterwards, and a stranger still is', async () => {
    const stranger = randomUUID();
    const body = JSON.stringify({ resourceType: 'Patient', id: stranger });
    const headers = { 'content-type': 'application/fhir+json' };
    await fetch(`${external.baseUrl}/Patient/${stranger}`, { method: 'PUT', headers, body });
    vi.spyOn(globalThis, 'fetch');
    expect(await syncs(id, true)).toMatchObject({ action: 'absent' });
    expect(verbs(), 'nothing is written').toEqual(['GET']);
    expect(await there(stranger)).toBeDefined();
  });

  test('a patient with identifiers of its own goes; what is gone already is not touched, also in a second attempt', async () => {
    save({ identifier: [{ system: 'urn:mrn', value: '7' }] });
    await syncs();
    source.remove('Patient', id);
    expect(await syncs(id, true)).toMatchObject({ action: 'deleted' });
    vi.spyOn(globalThis, 'fetch');
    external.faults.add({ kind: '503', times: 1 });
    expect(await syncs(id, true)).toMatchObject({ action: 'absent', attempts: 2 });
    expect(new Set(verbs())).toEqual(new Set(['GET']));
  });

  test('a record that stands for two of ours, because it was merged there, stays', async () => {
    const second = { system: 'https://medplum.com/patient-id', value: 'the-other' };
    save({ identifier: [second] });
    await syncs();
    source.remove('Patient', id);
    expect(await syncs(id, true)).toMatchObject({ action: 'merged' });
    expect(await there()).toBeDefined();
  });

  test('one that was merged there stays merged through an update, and so is not deleted afterwards', async () => {
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
  });

  const linkTo = (other: string): Pick<Patient, 'link'> => ({
    link: [{ other: { reference: `Patient/${other}` }, type: 'refer' }],
  });

  test('a patient that another one of ours links to takes the link along, though it stays on Medplum', async () => {
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

  test('a change of that other one, just before its link goes, is not overwritten', async () => {
    const other = randomUUID();
    save();
    source.save({ resourceType: 'Patient', id: other, ...linkTo(id) });
    await syncs(other);
    source.remove('Patient', id);
    const { fetch } = globalThis;
    let changed = false;
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
      if (init?.method === 'PUT' && !changed) {
        changed = true;
        source.save({ resourceType: 'Patient', id: other, gender: 'female', ...linkTo(id) });
        await syncs(other);
      }
      return fetch(url, init);
    });
    expect(await syncs(id, true)).toMatchObject({ action: 'deleted', attempts: 2 });
    expect(await there(other)).toMatchObject({ gender: 'female' });
  });

  test('two that link to each other both go', async () => {
    const other = randomUUID();
    save(linkTo(other));
    source.save({ resourceType: 'Patient', id: other, ...linkTo(id) });
    await syncs();
    for (const each of [id, other]) {
      source.remove('Patient', each);
    }
    for (const each of [id, other]) {
      expect(await syncs(each, true)).toMatchObject({ action: 'deleted' });
      expect(await there(each)).toBeUndefined();
    }
  });

  test('a patient that a stranger links to is an error until that link goes', async () => {
    save();
    await syncs();
    const stranger = { id: randomUUID(), identifier: [{ system: 'urn:x', value: id }] };
    await putThere({ ...stranger, ...linkTo(id) });
    source.remove('Patient', id);
    await expect(syncs(id, true, 1_000)).rejects.toMatchObject({ status: 409, method: 'DELETE' });
    expect(await there(stranger.id)).toMatchObject(linkTo(id));
    await putThere(stranger);
    expect(await syncs(id, true)).toMatchObject({ action: 'deleted' });
  });

  test('deactivate instead: fenced, and undone by the next update', async () => {
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

  test('deactivate: somebody who wrote meanwhile is not overwritten unseen', async () => {
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
    expect(await syncs(id, true)).toMatchObject({ action: 'deactivated', attempts: 2, version: '3' });
    expect(await there()).toMatchObject({ active: false, gender: 'unknown' });
  });

  test('what is not in scope (any more) is not there', async () => {
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
  test('8 events of a new patient at once make one', async () => {
    save({ gender: 'female' });
    await Promise.all(Array.from({ length: 8 }, () => syncs()));
    expect(await copies()).toHaveLength(1);
    expect((await there())?.gender).toBe('female');
  });

  test('a change between reading and writing is seen: the sync begins anew', async () => {
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

  test('a create that is held up does not bring a patient back that was deleted meanwhile', async () => {
    save();
    const release = holdFirst(({ method }) => method === 'PUT' && source.remove('Patient', id) !== undefined);
    expect(await syncs()).toMatchObject({ action: 'absent', attempts: 2 });
    expect(await release()).toBe(409);
    expect(await copies()).toEqual([]);
  });

  test('with deactivate, what keeps it out is an inactive patient', async () => {
    config.onDelete = 'deactivate';
    save({ active: true });
    const release = holdFirst(({ method }) => method === 'PUT' && source.remove('Patient', id) !== undefined);
    expect(await syncs()).toMatchObject({ action: 'absent' });
    expect(await release()).toBe(409);
    expect(await copies()).toMatchObject([{ id, active: false }]);
    expect(verbs()).not.toContain('DELETE');
  });

  test('a bot that dies before that is done leaves nothing that cannot be found', async () => {
    save();
    holdFirst(({ method }) => method === 'PUT' && source.remove('Patient', id) !== undefined);
    external.faults.add({ kind: '503', method: 'DELETE' });
    await expect(syncs(id, false, 500)).rejects.toMatchObject({ status: 503 });
    expect(await copies(), 'what was put there for its tombstone').toMatchObject([{ id }]);
  });

  test('a restore that is held up does not bring a patient back that was deleted again', async () => {
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
    vi.spyOn(globalThis, 'fetch').mockImplementationOnce(async () => new Response('{}', { status: 412 }));
    expect(await syncs()).toMatchObject({ action: 'created', attempts: 2 });
  });

  test('a server that sends no ETag: the fence is the version in the resource', async () => {
    save({ gender: 'male' });
    await syncs();
    save({ gender: 'female' });
    const { fetch } = globalThis;
    const spy = vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
      const answer = await fetch(url, init);
      return new Response(answer.status === 204 ? null : await answer.text(), { status: answer.status });
    });
    await syncs();
    const headers = spy.mock.calls.find(([, init]) => init?.method === 'PUT')?.[1]?.headers;
    expect(headers).toMatchObject({ 'if-match': 'W/"1"' });
  });

  test.each(['living', 'deleted'])('a server that tells no version of what is %s is not written to', async (state) => {
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
      const text = (await answer.text()).replace(/"(versionId|etag)": ?"[^"]*(\\"[^"]*)*",?/g, '').replace(/,}/g, '}');
      return new Response(text, { status: answer.status });
    });
    await expect(syncs()).rejects.toThrow('tells no versions');
    expect(verbs()).not.toContain('PUT');
  });

  test.each([
    ['W/"12"', '12'],
    ['3', '3'],
    [undefined, undefined],
  ])('the version in the ETag %s of a Bundle is %s', (etag, version) => {
    expect(versionIn(etag)).toBe(version);
  });

  test('a write of somebody else between looking and writing is not overwritten unseen', async () => {
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

  test.each(['503', '429', 'html', 'reset', 'lost'] as const)('%s is survived', async (kind) => {
    external.faults.add({ kind, times: 1 }, { kind, times: 1, method: 'PUT' });
    save({ gender: 'female' });
    expect((await syncs()).attempts).toBeGreaterThan(1);
    expect(await copies()).toHaveLength(1);
  });

  test('a server that hangs is left alone after the deadline', async () => {
    external.faults.add({ kind: 'hang' });
    save();
    await expect(syncs(id, false, 40)).rejects.toMatchObject({ status: 0, codes: ['timeout'] });
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

  test.each(['unauthorized', 'throttled'] as const)(
    'Medplum answers %s: it is told, and asked again where that may help',
    async (code) => {
      save();
      source.before = () => {
        const busy: OperationOutcome = {
          resourceType: 'OperationOutcome',
          issue: [{ severity: 'error', code: 'throttled' }],
        };
        throw new OperationOutcomeError(code === 'throttled' ? busy : unauthorized);
      };
      await expect(syncs(id, false, 300)).rejects.toThrow(`GET Patient/${id} from Medplum: ${code}`);
      expect(source.requests.length > 1).toBe(code === 'throttled');
    },
  );

  test('a Medplum that hangs is left alone after the deadline', async () => {
    save();
    vi.spyOn(source.medplum, 'readResource').mockImplementation(
      ((_type: string, _id: string, options: RequestInit) =>
        new Promise((_resolve, reject) => {
          options.signal?.addEventListener('abort', () => reject(new Error('aborted')));
        })) as never,
    );
    await expect(syncs(id, false, 40)).rejects.toThrow(`GET Patient/${id} from Medplum: no-answer`);
  });

  test('what trying again cannot cure fails at once', async () => {
    save({ birthDate: 'not a date' });
    const sent = vi.spyOn(globalThis, 'fetch').mockImplementation(async () => new Response('{}', { status: 403 }));
    await expect(syncs()).rejects.toMatchObject({ status: 403 });
    expect(sent).toHaveBeenCalledTimes(1);
  });
});

describe('references among synced types', () => {
  const linkTo = (...ids: string[]): Pick<Patient, 'link'> => ({
    link: ids.map((other) => ({ other: { reference: `Patient/${other}` }, type: 'seealso' })),
  });

  test('a target that is not there yet comes along, circles and all', async () => {
    const [second, third] = [randomUUID(), randomUUID()];
    save(linkTo(second));
    source.save({ resourceType: 'Patient', id: second, ...linkTo(third) });
    source.save({ resourceType: 'Patient', id: third, ...linkTo(id, third) });
    expect(await syncs()).toMatchObject({ action: 'created', leftOut: 0 });
    expect(await there()).toMatchObject(linkTo(second));
    expect(await there(second)).toMatchObject(linkTo(third));
    expect(await there(third)).toMatchObject(linkTo(id, third));
  });

  test('one that is there already keeps its link, beside one that comes along', async () => {
    const [known, fresh] = [randomUUID(), randomUUID()];
    source.save({ resourceType: 'Patient', id: known, gender: 'male' });
    await syncs(known);
    source.save({ resourceType: 'Patient', id: fresh });
    save(linkTo(known, fresh));
    expect(await syncs()).toMatchObject({ action: 'created', version: '1', leftOut: 0 });
    expect((await there())?.link).toEqual(linkTo(known, fresh).link);
    expect((await there(known))?.meta?.versionId).toBe('1');
  });

  test('patients in one transaction that is held up do not come back after they were deleted', async () => {
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
    'what came along does not stay if it was deleted meanwhile; the answer %s',
    async (way) => {
      const other = randomUUID();
      source.save({ resourceType: 'Patient', id: other });
      save(linkTo(other));
      const { fetch } = globalThis;
      vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
        if (init?.method !== 'POST') {
          return fetch(url, init);
        }
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

  test('one of those it links to goes while another one comes along', async () => {
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

  test('what was to come along in a transaction that is held up does not come after it was deleted', async () => {
    const fresh = randomUUID();
    save();
    await syncs();
    source.save({ resourceType: 'Patient', id: fresh });
    save(linkTo(fresh));
    const release = holdFirst(({ method }) => method === 'POST' && source.remove('Patient', fresh) !== undefined);
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
    await expect(syncs()).rejects.toMatchObject({ status: 403, method: 'PUT' });
    expect(verbs()).toEqual(['GET', 'PUT']);
  });

  test('a target that is gone, out of scope or unreadable is left out and counted', async () => {
    config.inScope = (resource) => (resource as Patient).active !== false;
    const [gone, out, unknown, good] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
    source.save({ resourceType: 'Patient', id: gone });
    source.remove('Patient', gone);
    source.save({ resourceType: 'Patient', id: out, active: false });
    source.save({ resourceType: 'Patient', id: good });
    save({ ...linkTo(gone, out, unknown, good), managingOrganization: { reference: 'Organization/1' } });
    expect(await syncs()).toMatchObject({ action: 'created', leftOut: 4 });
    expect((await there())?.link).toEqual(linkTo(good).link);
  });
});

describe('identity: identifier', () => {
  beforeEach(() => {
    config.identity = 'identifier';
  });

  test('the server gives the id; it is written back once, and causes no loop', async () => {
    save({ gender: 'female' });
    expect(await syncs()).toMatchObject({ action: 'created' });
    const [copy] = await copies();
    expect(copy?.id).toMatch(/^\d+$/);
    const written = source.current('Patient', id) as Patient;
    expect(written.identifier).toEqual([{ system: config.targetSystem, value: copy?.id }]);
    expect(await syncs()).toMatchObject({ action: 'unchanged' });
    expect((source.current('Patient', id) as Patient).meta?.versionId).toBe(written.meta?.versionId);
    source.save({ ...written, id, gender: 'male' });
    expect(await syncs()).toMatchObject({ action: 'updated' });
    source.remove('Patient', id);
    expect(await syncs(id, true)).toMatchObject({ action: 'deleted' });
    expect(await copies()).toEqual([]);
  });

  test.each([0, 1])('an id of the server that is not true any more is replaced, at place %i', async (place) => {
    const mrn = { system: 'urn:mrn', value: '7' };
    const old = { system: config.targetSystem, value: 'old' };
    save({ identifier: place === 0 ? [old, mrn] : [mrn, old] });
    await syncs();
    const [copy] = await copies();
    const identifiers = (source.current('Patient', id) as Patient).identifier;
    expect(identifiers?.[place]).toEqual({ ...old, value: copy?.id });
    expect(identifiers).toHaveLength(2);
  });

  test('a write-back that Medplum refuses is an error that says so', async () => {
    save();
    source.before = (request) => {
      if (request.startsWith('PATCH')) {
        throw new OperationOutcomeError(unauthorized);
      }
    };
    await expect(syncs(id, false, 300)).rejects.toThrow(`PATCH Patient/${id} on Medplum: unauthorized`);
  });

  test('a change of the patient during the write-back is not lost', async () => {
    save({ gender: 'female', identifier: [{ system: 'urn:mrn', value: '1' }] });
    source.before = (request) => {
      if (request.startsWith('PATCH') && (source.current('Patient', id) as Patient).gender === 'female') {
        save({ gender: 'male', identifier: [{ system: 'urn:mrn', value: '2' }] });
      }
    };
    await syncs();
    const written = source.current('Patient', id) as Patient;
    expect(written.gender).toBe('male');
    expect(written.identifier?.map(({ system }) => system)).toEqual(['urn:mrn', config.targetSystem]);
    expect(await copies()).toMatchObject([{ gender: 'male' }]);
  });

  test('of the duplicates that parallel creates made, the lowest id is left; a merged record stays too', async () => {
    save();
    const identifier = { system: 'https://medplum.com/patient-id', value: id };
    const body = { resourceType: 'Patient', identifier: [identifier] };
    const merged = { ...body, identifier: [identifier, { ...identifier, value: 'another' }] };
    const made: string[] = [];
    for (const each of [body, body, body, merged]) {
      const headers = { 'content-type': 'application/fhir+json' };
      const answer = await fetch(`${external.baseUrl}/Patient`, {
        method: 'POST',
        headers,
        body: JSON.stringify(each),
      });
      made.push(((await answer.json()) as Patient).id ?? '');
    }
    await syncs();
    const left = (await copies()).map((patient) => patient.id);
    expect(left).toHaveLength(2);
    expect(left).toEqual(expect.arrayContaining([made[0], made[3]]));
  });

  test('with deactivate, duplicates are deactivated, once, and nothing is deleted', async () => {
    config.onDelete = 'deactivate';
    save({ active: true });
    const identifier = [{ system: 'https://medplum.com/patient-id', value: id }];
    const body = JSON.stringify({ resourceType: 'Patient', identifier, active: true });
    for (let n = 0; n < 3; n++) {
      const headers = { 'content-type': 'application/fhir+json' };
      await fetch(`${external.baseUrl}/Patient`, { method: 'POST', headers, body });
    }
    await syncs();
    const state = async (): Promise<unknown> => (await copies()).map(({ active, meta }) => [active, meta?.versionId]);
    expect(await state()).toEqual([
      [true, '1'],
      [false, '2'],
      [false, '2'],
    ]);
    await syncs();
    expect(await state()).toHaveLength(3);
    source.remove('Patient', id);
    expect(await syncs(id, true)).toMatchObject({ action: 'deactivated' });
    expect((await copies()).map(({ active }) => active)).toEqual([false, false, false]);
  });

  test('the lowest id is meant as a number, in whatever order the server lists them', async () => {
    save();
    const identifier = [{ system: 'https://medplum.com/patient-id', value: id }];
    const [high, low] = [`${id.slice(0, 30)}-10`, `${id.slice(0, 30)}-9`];
    for (const each of [high, low]) {
      const body = JSON.stringify({ resourceType: 'Patient', id: each, identifier, active: false });
      const headers = { 'content-type': 'application/fhir+json' };
      await fetch(`${external.baseUrl}/Patient/${each}`, { method: 'PUT', headers, body });
    }
    await syncs();
    expect((await copies()).map((patient) => patient.id)).toEqual([low]);
  });

  test('references become conditional, or go along in one transaction', async () => {
    const second = randomUUID();
    save({ link: [{ other: { reference: `Patient/${second}` }, type: 'seealso' }] });
    source.save({
      resourceType: 'Patient',
      id: second,
      link: [{ other: { reference: `Patient/${id}` }, type: 'seealso' }],
    });
    await syncs();
    const [copy] = await copies();
    const reference = copy?.link?.[0]?.other.reference;
    expect(reference).toMatch(/^Patient\/\d+$/);
    const partner = await there(reference?.split('/')[1]);
    expect(partner?.link?.[0]?.other.reference).toBe(`Patient/${copy?.id}`);
    expect(await syncs(second)).toMatchObject({ leftOut: 0 });
  });
});
