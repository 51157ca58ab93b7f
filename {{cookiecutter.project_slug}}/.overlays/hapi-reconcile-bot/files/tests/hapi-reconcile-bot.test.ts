// The reconcile bot: what it repairs, what it leaves alone, and how it goes on where it stopped.
import { readFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { forbidden, OperationOutcomeError, serverError, tooManyRequests } from '@medplum/core';
import type { BotEvent } from '@medplum/core';
import type { Bundle, Patient } from '@medplum/fhirtypes';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { handler, TIME_BUDGET_MS } from '../src/bots/hapi-reconcile-bot.ts';
import { clock } from '../src/shared/retry.ts';
import * as configuration from '../src/shared/sync/config.ts';
import { progressKey } from '../src/shared/sync/progress.ts';
import type { RunResult } from '../src/shared/sync/reconcile.ts';
import { startFhirServer } from '../tools/src/fhir-server/server.ts';
import type { FhirServer } from '../tools/src/fhir-server/server.ts';
import { AUTHORITY, testConfig } from './sync/config.ts';
import { memorySource } from './sync/memory-source.ts';
import type { MemorySource } from './sync/memory-source.ts';

const SYSTEM = 'https://medplum.com/patient-id';

let external: FhirServer;
let source: MemorySource;
let now: number;
let lines: string[];

beforeEach(async () => {
  external = await startFhirServer();
  vi.stubGlobal('fetch', external.fetch);
  now = Date.parse('2026-01-01T00:00:00Z');
  source = memorySource(() => now);
  lines = [];
  vi.spyOn(clock, 'now').mockImplementation(() => now);
  // Waiting takes no time here. The time limit of a request (which has a signal) is reached only
  // after the deadline of the run.
  vi.spyOn(clock, 'sleep').mockImplementation(async (ms, signal) => {
    now += signal ? 0 : ms;
    await (signal && ms > 1 ? new Promise(() => undefined) : undefined);
  });
  vi.spyOn(configuration, 'syncConfig').mockReturnValue(testConfig());
  vi.spyOn(console, 'log').mockImplementation((line: string) => void lines.push(line));
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  await external.stop();
});

function run(
  input: unknown = { resourceType: 'Bot' },
  event: Partial<BotEvent> = {},
): Promise<RunResult> {
  const secrets = { HAPI_BASE_URL: { name: 'HAPI_BASE_URL', valueString: external.baseUrl } };
  return handler(source.medplum, {
    contentType: 'application/fhir+json',
    input,
    secrets,
    ...event,
  } as unknown as BotEvent);
}

function save(id: string, patient: Partial<Patient> = {}): void {
  source.save({ resourceType: 'Patient', id, ...patient } as Patient & { id: string });
}

/** Saves 55 patients, of which Medplum answers 50 at once. */
function saveMoreThanOnePage(): void {
  source.largestPage = 50;
  for (let n = 0; n < 55; n++) {
    save(`p${n}`);
  }
}

async function put(id: string, patient: Partial<Patient>): Promise<void> {
  const body = JSON.stringify({ resourceType: 'Patient', id, ...patient });
  const headers = { 'content-type': 'application/fhir+json' };
  const answer = await fetch(`${external.baseUrl}/Patient/${id}`, { method: 'PUT', headers, body });
  expect(answer.ok).toBe(true);
}

/** The patients on the target, as `id gender`, sorted. */
async function targetPatients(): Promise<string[]> {
  const found: string[] = [];
  for (let url: string | undefined = `${external.baseUrl}/Patient?_count=200`; url;) {
    const answer = await fetch(url, { headers: { 'cache-control': 'no-cache' } });
    const { entry = [], link = [] } = (await answer.json()) as Bundle<Patient>;
    found.push(...entry.map(({ resource }) => `${resource?.id} ${resource?.gender ?? '-'}`));
    url = link.find(({ relation }) => relation === 'next')?.url;
  }
  return found.toSorted();
}

const hours = (n: number): number => n * 60 * 60 * 1000;

describe('changes', () => {
  test('missed creates, updates, deletes and restores, in one complete run', async () => {
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((letter) => `${letter}${randomUUID()}`) as [
      string,
      string,
      string,
      string,
    ];
    save(a, { gender: 'female' });
    save(b, { gender: 'female' });
    save(c, { gender: 'female' });
    expect(await run()).toMatchObject({
      mode: 'changes',
      complete: true,
      counts: { checked: 3, differing: 3, failed: 0 },
    });
    now += hours(10);
    save(a, { gender: 'male' });
    source.remove('Patient', b);
    source.remove('Patient', c);
    save(c, { gender: 'other' });
    save(d);
    expect((await run()).complete).toBe(true);
    expect(await targetPatients()).toEqual([`${a} male`, `${c} other`, `${d} -`]);
    expect(lines).toContainEqual(expect.stringMatching(/^reconcile changes complete checked=4 /));
  });

  test('looks at what changed since, and a while before, not at everything', async () => {
    save('old');
    now += hours(5);
    await run();
    now += hours(5);
    save('new');
    now += hours(0.2);
    expect((await run()).counts.checked).toBe(1);
    now += hours(0.2);
    expect((await run()).counts.checked, 'looks back further than the last run began').toBe(1);
  });

  test('deleted patients are deleted, active or not, even if a cache still has them', async () => {
    save('a', { active: true });
    save('i', { active: false });
    save('n');
    await run();
    ['a', 'i', 'n'].forEach((id) => source.remove('Patient', id, id === 'n'));
    expect((await run()).counts).toMatchObject({ leftover: 3, failed: 0 });
    expect(await targetPatients()).toEqual([]);
    expect((await run()).counts).toMatchObject({ leftover: 0 });
  });

  test('a DELETE that landed late on a restored patient is undone', async () => {
    save('p', { gender: 'female' });
    await run();
    await fetch(`${external.baseUrl}/Patient/p`, { method: 'DELETE' });
    now += hours(0.2);
    await run();
    expect(await targetPatients()).toEqual(['p female']);
  });

  test('a patient whose record number is the id of another one is not a copy of it', async () => {
    save('p');
    save('q', { identifier: [{ system: 'urn:mrn', value: 'p' }] });
    await run();
    expect((await run()).counts).toMatchObject({ checked: 2, differing: 0 });
    expect(await targetPatients()).toEqual(['p -', 'q -']);
  });

  test('records under other ids are kept, even if they carry the same identifiers', async () => {
    save('p', { gender: 'male' });
    const ours = { system: SYSTEM, value: 'p' };
    await put('copy', { identifier: [ours] });
    await put('merged', { identifier: [ours, { system: SYSTEM, value: 'q' }] });
    await put('stranger', { identifier: [{ system: 'urn:x', value: 'p' }] });
    for (const input of [{}, { mode: 'full' }]) {
      expect((await run(input)).counts).toMatchObject({ leftover: 0, unreadable: 0, failed: 0 });
    }
    expect(await targetPatients()).toEqual(['copy -', 'merged -', 'p male', 'stranger -']);
  });

  test('with deactivate, nothing is deleted; inactive patients are not left over', async () => {
    vi.spyOn(configuration, 'syncConfig').mockReturnValue(testConfig({ onDelete: 'deactivate' }));
    save('p', { active: true });
    save('q', { active: true });
    await run();
    source.remove('Patient', 'q');
    expect((await run()).counts).toMatchObject({ leftover: 1, failed: 0 });
    expect(await targetPatients()).toEqual(['p -', 'q -']);
    expect((await run()).counts).toMatchObject({ checked: 2, differing: 0, leftover: 0 });
  });

  test('patients that link to each other', async () => {
    save('a', { link: [{ other: { reference: 'Patient/b' }, type: 'seealso' }] });
    save('b', { link: [{ other: { reference: 'Patient/a' }, type: 'seealso' }] });
    expect((await run()).counts.failed).toBe(0);
    expect(await targetPatients()).toEqual(['a -', 'b -']);
  });

  test('what cannot be repaired is logged, an error, and tried again by each run', async () => {
    save('good');
    save('bad', { gender: 'robot' as never });
    await expect(run()).rejects.toThrow('1 resources could not be synced');
    expect(await targetPatients()).toEqual(['good -']);
    expect(lines).toContainEqual(
      expect.stringMatching(/^SYNC Patient\/bad failed: refused HTTP 4/),
    );
    expect(lines).toContainEqual(
      expect.stringMatching(/^reconcile changes complete .* unreadable=0 postponed=0 failed=1$/),
    );
    for (let n = 0; n < 2; n++) {
      now += hours(100);
      await expect(run()).rejects.toThrow('1 resources');
    }
    save('bad', { gender: 'male' });
    now += hours(100);
    expect((await run()).counts.failed).toBe(0);
    expect(await targetPatients()).toEqual(['bad male', 'good -']);
  });

  test('fifty differences: one search, one transaction; after a conflict, a batch', async () => {
    const sent: string[] = [];
    let otherClientsChange: (() => Promise<void>) | undefined;
    const { fetch } = globalThis;
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
      sent.push(`${init?.method} ${String(url).slice(external.baseUrl.length)}`);
      if (String(url) === external.baseUrl) {
        const change = otherClientsChange;
        otherClientsChange = undefined;
        await change?.();
      }
      return fetch(url, init);
    });
    const many = Array.from({ length: 50 }, (_, n) => `p${n}`);
    for (const gender of ['male', 'female'] as const) {
      many.forEach((id) => save(id, { gender }));
      sent.length = source.requests.length = 0;
      expect((await run()).counts).toMatchObject({ differing: 50, failed: 0 });
      expect(sent).toEqual(['POST /Patient/_search', 'POST ']);
      const asked = source.requests.filter((request) => request.startsWith('GET Patient?_id='));
      expect(asked.map((request) => request.includes('&_elements=id'))).toEqual([false, true]);
    }
    many.forEach((id) => save(id, { gender: 'other' }));
    sent.length = 0;
    otherClientsChange = () => put('p7', { gender: 'unknown' });
    expect((await run()).counts).toMatchObject({ differing: 50, failed: 0 });
    const [search, transaction, change, ...rest] = sent;
    expect([search, transaction, change]).toEqual([
      'POST /Patient/_search',
      'POST ',
      'PUT /Patient/p7',
    ]);
    expect(rest).toEqual(['POST ', 'GET /Patient/p7', 'PUT /Patient/p7']);
    expect(new Set((await targetPatients()).map((patient) => patient.split(' ')[1]))).toEqual(
      new Set(['other']),
    );
  });

  test('tags and labels that were removed are removed from the target', async () => {
    save('p', { meta: { tag: [{ code: 'a' }], security: [{ code: 'R' }] } });
    await run();
    save('p', { meta: { tag: [{ code: 'b' }] } });
    await run();
    const { meta } = (await (await fetch(`${external.baseUrl}/Patient/p`)).json()) as Patient;
    expect(meta?.tag?.map(({ code }) => code).toSorted()).toEqual(['b', 'synced']);
    expect(meta).not.toHaveProperty('security');
  });

  test('an outage ends the run; the next one does what it did not', async () => {
    saveMoreThanOnePage();
    let pages = 0;
    source.before = (request) => {
      pages += request.includes('_sort') ? 1 : 0;
      if (pages === 2) {
        throw new TypeError('fetch failed');
      }
    };
    await expect(run()).rejects.toThrow('GET Patient from Medplum: no-answer');
    expect(await targetPatients()).toHaveLength(50);
    source.before = () => undefined;
    expect((await run()).counts.checked, 'goes on after the first page').toBe(5);
    expect(await targetPatients()).toHaveLength(55);
  });

  test('one run goes through all pages', async () => {
    source.largestPage = 60; // one transaction writes 50
    for (let n = 0; n < 130; n++) {
      save(`p${n}`);
    }
    expect(await run()).toMatchObject({ complete: true, counts: { checked: 130, differing: 130 } });
    expect(await targetPatients()).toHaveLength(130);
  });

  test('a change while its batch is written is not missed', async () => {
    save('p', { gender: 'male' });
    const { fetch } = globalThis;
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
      const answer = await fetch(url, init);
      if (url === external.baseUrl) {
        save('p', { gender: 'female' });
      }
      return answer;
    });
    await run();
    vi.mocked(globalThis.fetch).mockRestore();
    expect(await targetPatients()).toEqual(['p female']);
  });

  test('a search that was completed is not repeated after an outage; the others are', async () => {
    save('p');
    save('q');
    await run();
    now += hours(10);
    save('new');
    source.remove('Patient', 'q');
    source.before = (request) => {
      if (request.includes('_deleted')) {
        throw new TypeError('fetch failed');
      }
    };
    await expect(run()).rejects.toThrow('GET Patient from Medplum: no-answer');
    source.before = () => undefined;
    expect((await run()).counts.checked).toBe(1);
    expect(await targetPatients()).toEqual(['new -', 'p -']);
  });

  test('a transaction that is held up, and lands after the next run, is refused', async () => {
    save('p', { gender: 'female' });
    const { fetch } = globalThis;
    let late: (() => Promise<Response>) | undefined;
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
      if (!late && init?.method === 'POST' && url === external.baseUrl) {
        late = () => fetch(url, { ...init, signal: null });
        throw new TypeError('fetch failed');
      }
      return fetch(url, init);
    });
    expect((await run()).counts, 'each is synced by itself then').toMatchObject({
      differing: 1,
      failed: 0,
    });
    save('p', { gender: 'male' });
    await run();
    expect((await late?.())?.status).toBe(409);
    expect(await targetPatients()).toEqual(['p male']);
  });

  test('stops in time, and continues there', async () => {
    saveMoreThanOnePage();
    source.before = (request) => {
      now += request.includes('_sort') ? TIME_BUDGET_MS - 9_000 : 0;
    };
    expect(await run()).toMatchObject({ complete: false, counts: { checked: 50 } });
    source.before = () => undefined;
    expect(await run()).toMatchObject({ complete: true, counts: { checked: 5 } });
  });
});

test('two bots, or two targets, do not share their progress', async () => {
  save('p');
  now += hours(10);
  const event = { bot: { reference: 'Bot/one' } };
  expect((await run({}, event)).counts.checked).toBe(1);
  expect((await run({}, event)).counts.checked).toBe(0);
  expect((await run({}, { bot: { reference: 'Bot/two' } })).counts.checked).toBe(1);
  expect(progressKey('Bot/one', 'https://a.example.org', AUTHORITY)).not.toBe(
    progressKey('Bot/one', 'https://b.example.org', AUTHORITY),
  );
});

test('many failures do not keep a run from completing, and none is forgotten', async () => {
  const ms = 45_000; // 15 s, and half a minute for the last page
  const many = Array.from({ length: 8 }, (_, n) => `p${n}`);
  many.forEach((id) => save(id));
  await run();
  now += hours(5);
  many.forEach((id) => source.remove('Patient', id));
  const { fetch } = globalThis;
  const refused = { status: 409, headers: { 'retry-after': '2' } };
  const spy = vi
    .spyOn(globalThis, 'fetch')
    .mockImplementation(async (url, init) =>
      init?.method === 'DELETE' ? new Response('{}', refused) : fetch(url, init),
    );
  for (let n = 0; n < 2; n++) {
    await expect(run({ ms })).rejects.toThrow('8 resources could not be synced');
    now += hours(5); // so that only what failed is left to look at
    save(`new${n}`);
  }
  // though the eight took more time than a run has
  expect(await targetPatients()).toContain('new0 -');
  spy.mockRestore();
  expect((await run()).counts.failed).toBe(0);
  expect(await targetPatients()).toEqual(['new0 -', 'new1 -']);
});

test('earlier failures are tried while there is time', async () => {
  const many = Array.from({ length: 15 }, (_, n) => `p${n}`);
  many.forEach((id) => save(id));
  await run();
  many.forEach((id) => source.remove('Patient', id));
  const { fetch } = globalThis;
  const tried = new Set<string>();
  vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
    if (init?.method !== 'DELETE') {
      return fetch(url, init);
    }
    tried.add(String(url));
    return new Response('{}', { status: 409, headers: { 'retry-after': '2' } });
  });
  now += hours(10);
  await expect(run()).rejects.toThrow('15 resources could not be synced');
  tried.clear();
  const began = now;
  await expect(run({ ms: 35_000 })).rejects.toThrow('15 resources could not be synced');
  expect(tried.size).toBeGreaterThan(0);
  expect(now - began).toBeLessThan(10_000);
});

test('earlier failures are not forgotten when a run ends before they are tried', async () => {
  save('bad', { gender: 'robot' as never });
  for (let n = 0; n < 2; n++) {
    await expect(run()).rejects.toThrow('1 resources could not be synced');
    now += hours(10); // so that the lists of the next run but one do not contain it
  }
  save('good');
  source.before = (request) => {
    if (request.startsWith('GET Patient?') && !request.includes('_id=')) {
      source.rateLimits = [
        { name: 'fhirInteractions', remainingUnits: 0, secondsUntilReset: 3_600 },
      ];
    }
  };
  expect(await run()).toMatchObject({ complete: false, counts: { checked: 1 } });
  source.before = () => undefined;
  source.rateLimits = [];
  expect(await run({ report: true })).toMatchObject({ complete: true, failures: { refused: 1 } });
});

test('the next run does what there was no time for', async () => {
  const many = Array.from({ length: 15 }, (_, n) => `p${n}`);
  many.forEach((id) => save(id));
  await run();
  many.forEach((id) => source.remove('Patient', id));
  const { fetch } = globalThis;
  let slow = true;
  vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
    now += slow && init?.method === 'DELETE' ? 2_500 : 0;
    return fetch(url, init);
  });
  expect((await run({ ms: 31_000 })).counts).toMatchObject({
    leftover: 15,
    postponed: 4,
    failed: 0,
  });
  slow = false;
  expect((await run()).counts.failed).toBe(0);
  expect(await targetPatients()).toEqual([]);
});

test('of two concurrent runs one ends, and what the other found is not forgotten', async () => {
  save('bad', { gender: 'robot' as never });
  let second: Promise<unknown> | undefined;
  source.before = (request) => {
    if (request.includes('_deleted') && !second) {
      second = expect(run()).rejects.toThrow('1 resources could not be synced');
      return second as Promise<void>;
    }
    return undefined;
  };
  await expect(run()).rejects.toThrow('Another run of this bot is under way');
  now += hours(10);
  save('bad', { gender: 'male' });
  expect((await run()).counts).toMatchObject({ checked: 1, failed: 0 });
});

test('after a change of the types, all is compared, and old failures stop nothing', async () => {
  save('bad', { gender: 'robot' as never });
  source.save({ resourceType: 'Organization', id: 'clinic' });
  await expect(run()).rejects.toThrow('1 resources could not be synced');
  now += hours(10);
  vi.spyOn(configuration, 'syncConfig').mockReturnValue(testConfig({ types: ['Organization'] }));
  source.before = (request) => {
    if (request.startsWith('GET Patient')) {
      throw new OperationOutcomeError(forbidden);
    }
  };
  expect((await run()).counts).toMatchObject({ checked: 1, differing: 1, failed: 0 });
});

test('the progress is a Basic of its own; one that a dying run left empty is filled', async () => {
  const value = progressKey(undefined, external.baseUrl, AUTHORITY);
  const identifier = { system: 'urn:medplum-bots:reconcile-progress', value };
  source.save({ resourceType: 'Basic', id: 'ours', code: {}, identifier: [identifier] } as never);
  const theirs = {
    resourceType: 'Basic',
    id: 'theirs',
    code: {},
    identifier: [{ system: 'urn:x', value: 'y' }],
  };
  source.save(theirs as never);
  save('p');
  now += hours(10);
  expect((await run()).counts.checked).toBe(1);
  expect(JSON.stringify(source.current('Basic', 'ours'))).toContain('watermark');
  expect(source.current('Basic', 'theirs')).toMatchObject(theirs);
  expect(source.current('Basic', 'theirs')).not.toHaveProperty('extension');
  expect((await run()).counts.checked).toBe(0);
});

test.each(['search', 'createResourceIfNoneExist', 'updateResource'] as const)(
  "of Medplum's own words nothing gets into the error or the log (%s)",
  async (refused) => {
    vi.spyOn(source.medplum, refused).mockRejectedValue(
      new OperationOutcomeError(serverError(new Error('Ada Lovelace 1815-12-10'))),
    );
    const error = await run().catch((thrown: Error) => thrown);
    expect(error).toMatchObject({
      message: expect.stringMatching(/^(GET|PUT) Basic \w+ Medplum: [a-z-]+$/),
    });
    expect(JSON.stringify([error, (error as Error).stack, lines])).not.toMatch(/Lovelace|1815/);
  },
);

test('a Medplum that hangs is left alone in time', async () => {
  vi.mocked(clock.sleep).mockImplementation(
    async () => void (await new Promise((resolve) => setTimeout(resolve, 20))),
  );
  for (const hangs of ['search', 'updateResource'] as const) {
    vi.spyOn(source.medplum, hangs).mockImplementation(((...given: unknown[]) => {
      const { signal } = given.at(-1) as { signal: AbortSignal };
      return new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(new Error('aborted'))),
      );
    }) as never);
    await expect(run()).rejects.toThrow(/^(GET|PUT) Basic \w+ Medplum: no-answer$/);
    vi.mocked(source.medplum[hangs]).mockRestore();
  }
});

describe('references', () => {
  const link: Patient['link'] = [{ other: { reference: 'Patient/b' }, type: 'seealso' }];

  test('a patient that another client links to is deleted once the link is gone', async () => {
    save('b');
    await run();
    await put('stranger', { link });
    source.remove('Patient', 'b');
    await expect(run()).rejects.toThrow('1 resources could not be synced');
    expect(lines).toContainEqual(
      expect.stringMatching(/^SYNC Patient\/b failed: blocked HTTP 409 processing/),
    );
    await put('stranger', {});
    now += hours(10);
    expect((await run()).counts.failed).toBe(0);
    expect(await targetPatients()).toEqual(['stranger -']);
  });

  test('a link that was left out is copied by a full comparison after a restore', async () => {
    save('b');
    source.remove('Patient', 'b');
    save('a', { link });
    now += hours(5);
    await run();
    now += hours(5);
    save('b');
    expect(await run()).toMatchObject({ counts: { differing: 1 } });
    expect(await run({ mode: 'full' })).toMatchObject({ counts: { differing: 1, failed: 0 } });
    const answer = await fetch(`${external.baseUrl}/Patient/a`);
    expect(((await answer.json()) as Patient).link).toEqual(link);
    expect(await run({ mode: 'full' })).toMatchObject({ counts: { differing: 0 } });
  });
});

describe('full', () => {
  test('finds what was expunged, is unreadable, or was changed on the target', async () => {
    save('same', { gender: 'male', meta: { tag: [{ code: 'b' }, { code: 'a' }] } });
    save('changed-there', { gender: 'male' });
    save('expunged');
    save('deleted-long-ago');
    await run();
    await put('changed-there', {
      gender: 'female',
      identifier: [{ system: SYSTEM, value: 'changed-there' }],
    });
    await put('stranger', { identifier: [{ system: 'urn:x', value: 'p' }] });
    source.remove('Patient', 'deleted-long-ago');
    source.expunge('Patient', 'expunged');
    const result = await run({ mode: 'full' });
    expect(result).toMatchObject({
      mode: 'full',
      complete: true,
      counts: { differing: 1, unreadable: 1, failed: 0 },
    });
    expect(await targetPatients()).toEqual([
      'changed-there male',
      'expunged -',
      'same male',
      'stranger -',
    ]);
    expect(lines).toContainEqual('SYNC Patient/expunged failed: not-found');
  });

  test('losing the right to read deletes nothing', async () => {
    save('p');
    await run();
    source.access = 'hidden';
    expect((await run({ mode: 'full' })).counts).toMatchObject({ unreadable: 1 });
    expect(await targetPatients()).toEqual(['p -']);
  });

  test('a dry run counts, and changes nothing on either side', async () => {
    save('same');
    save('deleted');
    await run();
    save('missing');
    source.remove('Patient', 'deleted');
    await put('orphan', { identifier: [{ system: SYSTEM, value: 'orphan' }] });
    const before = [await targetPatients(), source.requests.length];
    const counts = { differing: 1, leftover: 2, failed: 0 };
    expect(await run({ mode: 'full', dryRun: true })).toMatchObject({
      dryRun: true,
      complete: true,
      counts,
    });
    expect(await targetPatients()).toEqual(before[0]);
    expect(
      source.requests.slice(before[1] as number).filter((request) => !request.startsWith('GET')),
    ).toEqual([]);
  });

  test.each([
    ['by the clock', undefined],
    ['by hand', { mode: 'full' }],
  ])('an unfinished full run is continued before anything else: %s', async (_how, input) => {
    saveMoreThanOnePage();
    source.before = (request) => {
      now += request.includes('_sort') ? TIME_BUDGET_MS - 9_000 : 0;
    };
    await run({ mode: 'full' });
    source.before = () => undefined;
    expect(await run(input)).toMatchObject({
      mode: 'full',
      complete: true,
      counts: { checked: 5 },
    });
  });
});

describe('one resource never stops the others', () => {
  const POISON = 'poison';

  /** A target that fails for every request with the poison; a batch is answered entry by entry. */
  function poisoned(status: number): void {
    const { fetch } = globalThis;
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
      const isBundle = String(url) === external.baseUrl;
      const body = typeof init?.body === 'string' ? init.body : '';
      if (!body.includes(POISON)) {
        return fetch(url, init);
      }
      if (!isBundle || body.includes('"type":"transaction"')) {
        return new Response('{}', { status });
      }
      const bundle = JSON.parse(body) as Bundle;
      const healthy = bundle.entry?.filter((entry) => !JSON.stringify(entry).includes(POISON));
      const answer = await fetch(url, {
        ...init,
        body: JSON.stringify({ ...bundle, entry: healthy }),
      });
      const { entry = [] } = (await answer.json()) as Bundle;
      const all = bundle.entry?.map((entryOf) =>
        JSON.stringify(entryOf).includes(POISON)
          ? { response: { status: String(status) } }
          : entry.shift(),
      );
      return Response.json({ resourceType: 'Bundle', type: 'batch-response', entry: all });
    });
  }

  test.each([
    [500, 'unavailable'],
    [503, 'unavailable'],
    [400, 'refused'],
    [403, 'denied'],
    [409, 'unsupported'],
  ])('the target always answers %i to one of them', async (status, code) => {
    poisoned(status);
    save('a');
    save('b', { name: [{ text: POISON }] });
    save('c');
    const { complete, failures } = await run({ report: true });
    expect({ complete, failures }).toEqual({ complete: true, failures: { [code]: 1 } });
    expect(await targetPatients()).toEqual(['a -', 'c -']);
    save('d');
    await expect(run()).rejects.toThrow('1 resources could not be synced');
    expect(await targetPatients()).toEqual(['a -', 'c -', 'd -']);
  });

  test('with many of them, each run gets further', async () => {
    poisoned(500);
    for (let n = 0; n < 90; n++) {
      save(`p${n}`, n < 40 ? { name: [{ text: POISON }] } : {});
    }
    for (let n = 0; n < 2; n++) {
      await expect(run()).rejects.toThrow('could not be synced');
    }
    expect(await targetPatients()).toHaveLength(50);
  });

  test('a bug in the code for one of them is its failure', async () => {
    const inScope = ({ id }: { id?: string }): boolean => {
      if (id === 'b') {
        throw new TypeError('Cannot read properties of undefined');
      }
      return true;
    };
    vi.spyOn(configuration, 'syncConfig').mockReturnValue(testConfig({ inScope }));
    ['a', 'b', 'c'].forEach((id) => save(id));
    const result = await run({ report: true });
    expect(result).toMatchObject({ counts: { failed: 1 }, failures: { bug: 1 } });
    expect(await targetPatients()).toEqual(['a -', 'c -']);
  });

  test('a url that belongs to Medplum, half an emoji, a reference to itself', async () => {
    vi.spyOn(configuration, 'syncConfig').mockReturnValue(
      testConfig({ types: ['Patient', 'Questionnaire'] }),
    );
    const url = 'https://medplum.com/questionnaires/1';
    source.save({ resourceType: 'Questionnaire', id: 'q', status: 'active', url, title: 'Kept' });
    save('half', { name: [{ text: '\ud83d' }] });
    save('itself', { link: [{ other: { reference: 'Patient/itself' }, type: 'seealso' }] });
    save('good');
    await run({ report: true });
    expect((await targetPatients()).map((patient) => patient.split(' ')[0])).toEqual(
      expect.arrayContaining(['good', 'itself']),
    );
    expect(await (await fetch(`${external.baseUrl}/Questionnaire/q`)).json()).toMatchObject({
      url,
      title: 'Kept',
    });
  });

  test('a type that is not supported does not stop the others', async () => {
    const types = ['Provenance', 'Patient'] as unknown as ['Patient'];
    vi.spyOn(configuration, 'syncConfig').mockReturnValue(testConfig({ types }));
    save('p');
    expect(await run({ report: true })).toMatchObject({ complete: true, failures: { list: 1 } });
    expect(await targetPatients()).toEqual(['p -']);
  });

  test('a search that the target refuses does not stop the others', async () => {
    vi.spyOn(configuration, 'syncConfig').mockReturnValue(
      testConfig({ types: ['Patient', 'Organization'] }),
    );
    save('p');
    await run();
    source.remove('Patient', 'p');
    const { fetch } = globalThis;
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) =>
      String(url).includes('Organization?')
        ? new Response('{}', { status: 400 })
        : fetch(url, init),
    );
    expect(await run({ mode: 'full', report: true })).toMatchObject({
      complete: true,
      failures: { list: 2 },
    });
    expect(await targetPatients()).toEqual([]);
  });

  test('a target without history does not stop the others, only restores', async () => {
    save('restored');
    await run();
    source.remove('Patient', 'restored');
    await run();
    save('restored');
    save('new');
    const { fetch } = globalThis;
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
      if (String(url).includes('_history')) {
        return new Response('', { status: 501 });
      }
      const answer = await fetch(url, init);
      return answer.status === 410 ? new Response(await answer.text(), { status: 410 }) : answer;
    });
    expect(await run({ report: true })).toMatchObject({
      complete: true,
      failures: { unsupported: 1 },
    });
    expect(await targetPatients()).toEqual(['new -']);
  });

  test('a target that answers searches wrongly is read resource by resource', async () => {
    save('p', { gender: 'male' });
    const { fetch } = globalThis;
    const stranger = { resourceType: 'Patient', id: 'someone-else' };
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) =>
      String(url).endsWith('/_search')
        ? Response.json({
            resourceType: 'Bundle',
            type: 'searchset',
            entry: [{ resource: stranger }],
          })
        : fetch(url, init),
    );
    const dry = await run({ mode: 'full', dryRun: true, report: true });
    expect(dry.failures, 'nothing is counted from a lie').toEqual({ list: 1 });
    expect((await run()).counts).toMatchObject({ checked: 1, failed: 0 });
    expect(await targetPatients()).toEqual(['p male']);
  });

  test('a target that is down ends the run at once, and nothing is forgotten', async () => {
    for (let n = 0; n < 60; n++) {
      save(`p${n}`);
    }
    const { fetch } = globalThis;
    const sent = vi
      .spyOn(globalThis, 'fetch')
      .mockRejectedValue(Object.assign(new TypeError(), { code: 'ECONNREFUSED' }));
    await expect(run()).rejects.toMatchObject({ code: 'unavailable' });
    expect(sent.mock.calls.length).toBeLessThan(15);
    sent.mockImplementation(fetch);
    expect((await run()).counts).toMatchObject({ checked: 60, failed: 0 });
    expect(await targetPatients()).toHaveLength(60);
  });
});

describe("Medplum's quota", () => {
  test('when it is nearly spent, the run waits until it is renewed', async () => {
    save('p');
    source.rateLimits = [{ name: 'fhirInteractions', remainingUnits: 100, secondsUntilReset: 30 }];
    const began = now;
    expect((await run()).complete).toBe(true);
    expect(now - began).toBeGreaterThanOrEqual(30_000);
  });

  test('if there is no time to wait, the run ends, and the next one goes on', async () => {
    save('p');
    source.rateLimits = [{ name: 'fhirInteractions', remainingUnits: 100, secondsUntilReset: 50 }];
    const ended = { complete: false, counts: { checked: 0 }, quotaMs: 50_000 };
    expect(await run({ ms: 40_000 })).toMatchObject(ended);
    source.rateLimits = [];
    expect(await run()).toMatchObject({ complete: true, counts: { checked: 1 } });
  });

  test('when it is spent, the run ends at the first refusal', async () => {
    ['p', 'q'].forEach((id) => save(id));
    source.before = (request) => {
      if (request.startsWith('GET Patient?_id')) {
        throw new OperationOutcomeError(tooManyRequests);
      }
    };
    await expect(run()).rejects.toMatchObject({ code: 'throttled' });
    expect(source.requests.filter((request) => request.startsWith('GET Patient?_id'))).toHaveLength(
      1,
    );
  });
});

test('the bot has more time than a run takes', () => {
  const { bots } = JSON.parse(readFileSync('medplum.config.json', 'utf8')) as {
    bots: { name: string; timeout: number }[];
  };
  const bot = bots.find(({ name }) => name === 'hapi-reconcile-bot');
  expect(TIME_BUDGET_MS).toBeLessThan((bot?.timeout ?? 10) * 1000);
});
