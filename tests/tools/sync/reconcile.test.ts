// What the reconciler does where the generated repository's own tests do not look: expired searches, lists of failures
// that grow too long, runs that are continued in another mode, and what counts as a difference.
import type { BotEvent } from '@medplum/core';
import type { Patient, Resource } from '@medplum/fhirtypes';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { handler, TIME_BUDGET_MS } from '../../src/bots/hapi-reconcile-bot.ts';
import { isSame } from '../../src/shared/fhir-compare.ts';
import * as reconciling from '../../src/shared/fhir-reconcile.ts';
import type { SyncContext } from '../../src/shared/fhir-target.ts';
import type { RunResult } from '../../src/shared/reconcile-run.ts';
import { clock } from '../../src/shared/retry.ts';
import * as configuration from '../../src/shared/sync-config.ts';
import { syncConfig } from '../../src/shared/sync-config.ts';
import { memorySource } from '../../tests/memory-source.ts';
import type { MemorySource } from '../../tests/memory-source.ts';
import { startFhirServer } from '../../tools/src/fhir-server/server.ts';
import type { FhirServer } from '../../tools/src/fhir-server/server.ts';

const SYSTEM = 'https://medplum.com/patient-id';
const HOUR = 60 * 60 * 1000;

let external: FhirServer;
let source: MemorySource;
let now: number;

beforeEach(async () => {
  external = await startFhirServer();
  now = Date.parse('2026-01-01T00:00:00Z');
  source = memorySource(() => now);
  vi.spyOn(clock, 'now').mockImplementation(() => now);
  const sleep = clock.sleep;
  vi.spyOn(clock, 'sleep').mockImplementation(async (ms, signal) => {
    now += signal ? 0 : ms;
    await (signal && ms > 1 ? sleep(10_000, signal) : undefined);
  });
  vi.spyOn(console, 'log').mockImplementation(() => undefined);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await external.stop();
});

function run(input: unknown = { resourceType: 'Bot' }): Promise<RunResult> {
  const secrets = { HAPI_BASE_URL: { name: 'HAPI_BASE_URL', valueString: external.baseUrl } };
  return handler(source.medplum, {
    contentType: 'application/fhir+json',
    input,
    secrets,
  } as unknown as BotEvent);
}

function save(id: string, patient: Partial<Patient> = {}): void {
  source.save({ resourceType: 'Patient', id, ...patient } as Patient & { id: string });
}

async function there(id: string): Promise<Patient | undefined> {
  const answer = await fetch(`${external.baseUrl}/Patient/${id}`);
  return answer.ok ? ((await answer.json()) as Patient) : undefined;
}

/** Answers the requests that `which` chooses in the external server's place. */
function answerInstead(
  which: (url: string, init?: RequestInit) => boolean,
  answer: () => Response,
): () => number {
  const { fetch } = globalThis;
  let answered = 0;
  vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
    if (!which(String(url), init)) {
      return fetch(url, init);
    }
    answered++;
    return answer();
  });
  return () => answered;
}

describe('a full comparison', () => {
  test.each([400, 404, 410])(
    'begins its search there again where it has expired (%i)',
    async (status) => {
      for (let n = 0; n < 450; n++) {
        save(`p${n}`);
      }
      await run();
      source.expunge('Patient', 'p3');
      source.remove('Patient', 'p449');
      let expired = false;
      const isNextPage = (url: string): boolean =>
        url.includes('_getpages') && !expired && (expired = true);
      const answered = answerInstead(isNextPage, () => new Response('{}', { status }));
      const result = await run({ mode: 'full' });
      expect(answered()).toBe(1);
      expect(result).toMatchObject({ complete: true, counts: { unreadable: 1, failed: 0 } });
      expect(await there('p449')).toBeUndefined();
      expect(await there('p3')).toBeDefined();
    },
  );

  test.each([
    ['its first page', 404, false],
    ['a later page', 403, true],
  ])('ends with an error where %s is refused with %i', async (_what, status, later) => {
    for (let n = 0; n < 450; n++) {
      save(`p${n}`);
    }
    await run();
    const isRefused = (url: string): boolean =>
      url.includes(later ? '_getpages' : '_elements=identifier');
    const answered = answerInstead(isRefused, () => new Response('{}', { status }));
    await expect(run({ mode: 'full' })).rejects.toMatchObject({ status });
    expect(answered()).toBe(1);
  });

  test('follows next pages that stand below the type, under another name of the server', async () => {
    save('p');
    await run();
    const page = (next: string[], ...ids: string[]): Response => {
      const entry = ids.map((id) => ({
        resource: { resourceType: 'Patient', id, identifier: [{ system: SYSTEM, value: id }] },
      }));
      const link = next.map((url) => ({ relation: 'next', url }));
      return new Response(
        JSON.stringify({ resourceType: 'Bundle', type: 'searchset', entry, link }),
      );
    };
    const asked: string[] = [];
    answerInstead(
      (url) => /Patient\?(identifier|after)=/.test(url) && Boolean(asked.push(url)),
      () =>
        asked.length === 1
          ? page(['http://inside:8080/fhir/Patient?after=1&x=2'], 'p')
          : page([], 'gone'),
    );
    expect(await run({ mode: 'full' })).toMatchObject({ complete: true, counts: { checked: 2 } });
    expect(asked[1]).toBe(`${external.baseUrl}/Patient?after=1&x=2`);
  });

  test('asks Medplum for no more than 50 at once', async () => {
    for (let n = 0; n < 120; n++) {
      save(`p${n}`);
    }
    await run();
    source.requests.length = 0;
    await run({ mode: 'full' });
    const asked = source.requests.flatMap((request) => /\?_id=([^&]+)/.exec(request)?.[1] ?? []);
    expect(asked.length).toBeGreaterThan(5);
    expect(Math.max(...asked.map((ids) => ids.split(',').length))).toBe(50);
  });

  test('sees what changed on either side since the last one', async () => {
    save('p', { gender: 'male' });
    save('q');
    await run({ mode: 'full' });
    save('p', { gender: 'female' });
    source.remove('Patient', 'q');
    save('new');
    const { counts } = await run({ mode: 'full' });
    expect(counts).toMatchObject({ differing: 2, leftover: 1, failed: 0 });
    expect([(await there('p'))?.gender, await there('q'), (await there('new'))?.id]).toEqual([
      'female',
      undefined,
      'new',
    ]);
  });

  test('that ran out of time is continued by the next run by the clock, and then changes are looked at again', async () => {
    for (let n = 0; n < 450; n++) {
      save(`p${n}`);
    }
    now += 5 * HOUR;
    source.before = (request) => {
      now += request.includes('_sort') ? TIME_BUDGET_MS - 10_000 : 0;
    };
    expect(await run({ mode: 'full' })).toMatchObject({
      mode: 'full',
      complete: false,
      counts: { checked: 400 },
    });
    source.before = () => undefined;
    expect(await run({ mode: 'full', dryRun: true }), 'a dry run is its own').toMatchObject({
      counts: { checked: 450 },
    });
    expect(await run()).toMatchObject({ mode: 'full', complete: true, counts: { checked: 50 } });
    now += 5 * HOUR;
    save('new');
    expect(await run()).toMatchObject({ mode: 'changes', complete: true, counts: { checked: 1 } });
  });

  test('that is asked for while a run of changes is under way looks at everything', async () => {
    save('old');
    await run();
    now += 5 * HOUR;
    for (let n = 0; n < 450; n++) {
      save(`p${n}`);
    }
    source.before = (request) => {
      now += request.includes('_sort') ? TIME_BUDGET_MS - 10_000 : 0;
    };
    expect(await run()).toMatchObject({ mode: 'changes', complete: false });
    source.before = () => undefined;
    expect(await run({ mode: 'full' })).toMatchObject({
      mode: 'full',
      complete: true,
      counts: { checked: 451 },
    });
  });

  test('with identity "identifier" finds nothing to do after all was done, and one copy too many', async () => {
    vi.spyOn(configuration, 'syncConfig').mockReturnValue({
      ...syncConfig({}),
      identity: 'identifier',
    });
    save('a', { link: [{ other: { reference: 'Patient/b' }, type: 'seealso' }] });
    save('b');
    expect((await run({ mode: 'full' })).counts).toMatchObject({ differing: 2, failed: 0 });
    expect((await run({ mode: 'full' })).counts).toMatchObject({
      checked: 2,
      differing: 0,
      duplicates: 0,
    });
    const copy = { resourceType: 'Patient', identifier: [{ system: SYSTEM, value: 'b' }] };
    const headers = { 'content-type': 'application/fhir+json' };
    await fetch(`${external.baseUrl}/Patient`, {
      method: 'POST',
      headers,
      body: JSON.stringify(copy),
    });
    expect((await run({ mode: 'full' })).counts).toMatchObject({
      duplicates: 1,
      differing: 0,
      failed: 0,
    });
    expect((await run({ mode: 'full' })).counts).toMatchObject({ duplicates: 0, differing: 0 });
  });
});

test('of copies that the server gave ids, the lowest by number stays, as with the sync bot', async () => {
  vi.spyOn(configuration, 'syncConfig').mockReturnValue({
    ...syncConfig({}),
    identity: 'identifier',
  });
  save('a');
  for (const id of ['x-10', 'x-9']) {
    const copy = { resourceType: 'Patient', id, identifier: [{ system: SYSTEM, value: 'a' }] };
    const headers = { 'content-type': 'application/fhir+json' };
    await fetch(`${external.baseUrl}/Patient/${id}`, {
      method: 'PUT',
      headers,
      body: JSON.stringify(copy),
    });
  }
  expect((await run()).counts).toMatchObject({ duplicates: 1, failed: 0 });
  expect([await there('x-10'), (await there('x-9'))?.id]).toEqual([undefined, 'x-9']);
});

test('a link to a copy that goes points to the one that stays', async () => {
  vi.spyOn(configuration, 'syncConfig').mockReturnValue({
    ...syncConfig({}),
    identity: 'identifier',
  });
  save('a');
  save('b', { link: [{ other: { reference: 'Patient/a' }, type: 'seealso' }] });
  await run();
  const idOf = (id: string): string | undefined =>
    (source.current('Patient', id) as Patient).identifier?.find(({ system }) => system !== SYSTEM)
      ?.value;
  const [a, b] = [idOf('a') ?? '', idOf('b') ?? ''];
  const headers = { 'content-type': 'application/fhir+json' };
  const put = (patient: Patient & { id: string }): Promise<Response> =>
    fetch(`${external.baseUrl}/Patient/${patient.id}`, {
      method: 'PUT',
      headers,
      body: JSON.stringify(patient),
    });
  await put({ resourceType: 'Patient', id: 'copy', identifier: [{ system: SYSTEM, value: 'a' }] });
  await put({
    resourceType: 'Patient',
    ...(await there(b)),
    id: b,
    link: [{ other: { reference: 'Patient/copy' }, type: 'seealso' }],
  });
  expect((await run()).counts).toMatchObject({ differing: 0, duplicates: 1, failed: 0 });
  expect(await there('copy')).toBeUndefined();
  expect((await there(b))?.link?.[0]?.other.reference).toBe(`Patient/${a}`);
});

describe('what cannot be repaired', () => {
  test('ends the run if it is too much to keep; the next one forgets nothing', async () => {
    for (let n = 0; n < 1300; n++) {
      save(`p${n}`);
    }
    let works = false;
    vi.spyOn(reconciling, 'reconcile').mockImplementation(async (_context, type, ids) => {
      const failed = works ? [] : ids.map((id) => `${type}/${id}`);
      const none = { differing: 0, leftover: 0, duplicates: 0, unreadable: 0 };
      return { counts: { checked: ids.length, ...none, failed: failed.length }, failed };
    });
    await expect(run()).rejects.toThrow('More than 1000 resources cannot be synced: see the log');
    works = true;
    expect(await run()).toMatchObject({ complete: true, counts: { checked: 1300, failed: 0 } });
  });

  test('is tried again after an outage later in the same run', async () => {
    for (let n = 0; n < 450; n++) {
      save(`p${n}`, n === 7 ? { gender: 'robot' as never } : {});
    }
    let pages = 0;
    source.before = (request) => {
      pages += request.includes('_sort') ? 1 : 0;
      if (pages === 2) {
        throw new TypeError('fetch failed');
      }
    };
    await expect(run()).rejects.toThrow('GET Patient from Medplum: no-answer');
    source.before = () => undefined;
    await expect(run()).rejects.toThrow('1 resources could not be synced');
  });

  test('is tried for three seconds, more than once', async () => {
    save('p');
    await run();
    source.remove('Patient', 'p');
    const tries = answerInstead(
      (_url, init) => init?.method === 'DELETE',
      () => new Response('{}', { status: 409 }),
    );
    const before = now;
    await expect(run()).rejects.toThrow('1 resources could not be synced');
    expect(tries()).toBeGreaterThan(1);
    expect(now - before).toBeLessThanOrEqual(3_000);
  });

  test.each([401, 403, 503])(
    'is not looked for any further where the server answers %i',
    async (status) => {
      save('p');
      save('q');
      await run();
      source.remove('Patient', 'p');
      source.remove('Patient', 'q');
      const urls = new Set<string>();
      answerInstead(
        (url, init) => init?.method === 'DELETE' && Boolean(urls.add(url)),
        () => new Response('{}', { status }),
      );
      await expect(run()).rejects.toMatchObject({ status });
      expect(urls.size).toBe(1);
    },
  );
});

describe('a difference', () => {
  const context = (identity: 'medplum-id' | 'identifier'): SyncContext =>
    ({ config: { ...syncConfig({}), identity } }) as unknown as SyncContext;
  const here: Resource = {
    resourceType: 'Patient',
    id: 'p',
    meta: { tag: [{ code: 'a' }, { code: 'b' }], profile: ['urn:p', 'urn:q'], versionId: '1' },
    name: [{ family: 'A' }, { family: 'B' }],
    link: [{ other: { reference: 'Patient/b' }, type: 'seealso' }],
  };
  const copied: Patient = { ...here, identifier: [{ system: SYSTEM, value: 'p' }] };
  const { meta } = copied;

  test.each<[string, Partial<Patient>, boolean]>([
    ['nothing', {}, true],
    [
      'what the server adds',
      { meta: { ...meta, versionId: '9', lastUpdated: '2026-01-01', source: '#1' } },
      true,
    ],
    ['tags in another order', { meta: { ...meta, tag: [{ code: 'b' }, { code: 'a' }] } }, true],
    [
      'the words of a tag',
      { meta: { ...meta, tag: [{ code: 'a', display: 'A' }, { code: 'b' }] } },
      true,
    ],
    [
      'the system of a tag',
      { meta: { ...meta, tag: [{ code: 'a', system: 'urn:s' }, { code: 'b' }] } },
      false,
    ],
    ['profiles in another order', { meta: { ...meta, profile: ['urn:q', 'urn:p'] } }, true],
    ['a tag', { meta: { ...meta, tag: [{ code: 'a' }] } }, false],
    ['a security label', { meta: { ...meta, security: [{ code: 'R' }] } }, false],
    ['names in another order', { name: [{ family: 'B' }, { family: 'A' }] }, false],
    ['a link', { link: [{ other: { reference: 'Patient/c' }, type: 'seealso' }] }, false],
  ])('in %s', (_what, change, same) => {
    expect(isSame(context('medplum-id'), here, { ...copied, ...change })).toBe(same);
  });

  test('in security labels, whatever their order, and not in what references are called by a server that gives ids', () => {
    const labels = [{ code: 'R' }, { code: 'V' }];
    const secure = (security: typeof labels): Patient => ({
      ...copied,
      meta: { ...meta, security },
    });
    expect(isSame(context('medplum-id'), secure(labels), secure(labels.toReversed()))).toBe(true);
    const there = {
      ...copied,
      id: '77',
      link: [{ other: { reference: 'Patient/78' }, type: 'seealso' as const }],
    };
    expect(isSame(context('identifier'), here, there)).toBe(true);
    expect(
      isSame(context('identifier'), here, { ...there, link: [{ other: {}, type: 'refer' }] }),
    ).toBe(false);
  });
});
