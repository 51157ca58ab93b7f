// What the reconciler does where the generated repository's own tests do not look: expired
// searches, lists of failures that grow too long, runs that are continued in another mode, and what
// counts as a difference.
import type { BotEvent } from '@medplum/core';
import type { Observation, Patient, Resource } from '@medplum/fhirtypes';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { handler, TIME_BUDGET_MS } from '../../src/bots/hapi-reconcile-bot.ts';
import { clock } from '../../src/shared/retry.ts';
import * as batches from '../../src/shared/sync/batch.ts';
import { isSame } from '../../src/shared/sync/compare.ts';
import * as configuration from '../../src/shared/sync/config.ts';
import type { RunResult } from '../../src/shared/sync/reconcile.ts';
import { copyOf } from '../../src/shared/sync/rules.ts';
import { testConfig } from '../../tests/sync/config.ts';
import { memorySource } from '../../tests/sync/memory-source.ts';
import type { MemorySource } from '../../tests/sync/memory-source.ts';
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
  vi.spyOn(configuration, 'syncConfig').mockReturnValue(testConfig());
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

function saveObservation(id: string, subject: string): void {
  const observation = { resourceType: 'Observation', id, status: 'final', code: {} } as const;
  source.save({ ...observation, subject: { reference: subject } } as Observation & { id: string });
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
    ['its first page', 500, false],
    ['a later page', 403, true],
  ])(
    'fails where %s is refused with %i, and the next run looks at the same changes again',
    async (_what, status, later) => {
      for (let n = 0; n < 450; n++) {
        save(`p${n}`);
      }
      now += 5 * HOUR;
      await run();
      now += 5 * HOUR;
      save('new');
      now += 5 * HOUR;
      const isRefused = (url: string): boolean => url.includes(later ? '_getpages' : '_tag=');
      const answered = answerInstead(isRefused, () => new Response('{}', { status }));
      const { failures } = await run({ mode: 'full', report: true });
      expect(failures['list']).toBe(answered());
      expect(answered()).toBeGreaterThan(0);
      vi.mocked(globalThis.fetch).mockRestore();
      now += 5 * HOUR;
      expect((await run()).counts.checked).toBe(1);
    },
  );

  test('does not take a Bundle of another type for an empty list', async () => {
    save('p');
    await run();
    const bundle = JSON.stringify({ resourceType: 'Bundle', type: 'batch-response' });
    answerInstead(
      (url) => url.includes('_tag='),
      () => new Response(bundle),
    );
    expect((await run({ mode: 'full', report: true })).failures).toEqual({ list: 1 });
  });

  test('does not follow a page that leads to itself', async () => {
    save('p');
    await run();
    const link = [{ relation: 'next', url: `${external.baseUrl}?page=2` }];
    const bundle = JSON.stringify({ resourceType: 'Bundle', type: 'searchset', link });
    const answered = answerInstead(
      (url) => /_tag=|page=2/.test(url),
      () => new Response(bundle),
    );
    expect((await run({ mode: 'full', report: true })).failures).toEqual({ list: 1 });
    expect(answered()).toBe(2);
  });

  test('ends at once where the target accepts the credentials no longer (401)', async () => {
    save('p');
    await run();
    const answered = answerInstead(
      (url) => url.includes('_tag='),
      () => new Response('{}', { status: 401 }),
    );
    await expect(run({ mode: 'full' })).rejects.toMatchObject({
      code: 'denied',
      cause: { status: 401 },
    });
    expect(answered()).toBe(1);
  });

  test('follows next pages below the type, under another name of the server', async () => {
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

  test('that ran out of time is continued by the next scheduled run, before changes', async () => {
    for (let n = 0; n < 450; n++) {
      save(`p${n}`);
    }
    now += 5 * HOUR;
    source.before = (request) => {
      now += request.includes('_sort') ? TIME_BUDGET_MS - 9_000 : 0;
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

  test('runs by itself as often as the configuration says, counted from the last one', async () => {
    const config = testConfig({ fullRunEveryHours: 24 });
    vi.spyOn(configuration, 'syncConfig').mockReturnValue(config);
    save('p', { gender: 'male' });
    expect(await run()).toMatchObject({ mode: 'full', counts: { differing: 1 } });
    now += 5 * HOUR;
    await run();
    await fetch(`${external.baseUrl}/Patient/p`, { method: 'DELETE' }); // no event tells of that
    now += 18 * HOUR;
    expect(await run()).toMatchObject({ mode: 'changes', counts: { differing: 0 } });
    now += 2 * HOUR;
    expect(await run()).toMatchObject({ mode: 'full', counts: { differing: 1 } });
    expect(await there('p')).toMatchObject({ gender: 'male' });
    now += 23 * HOUR;
    await run({ mode: 'full' });
    now += 2 * HOUR;
    expect(await run(), 'one by hand counts, too').toMatchObject({ mode: 'changes' });
  });

  test('that is due waits for the run that is under way', async () => {
    for (let n = 0; n < 450; n++) {
      save(`p${n}`);
    }
    await run();
    now += 25 * HOUR;
    for (let n = 0; n < 450; n++) {
      save(`p${n}`, { gender: 'other' });
    }
    source.before = (request) => {
      now += request.includes('_sort') ? TIME_BUDGET_MS - 9_000 : 0;
    };
    expect(await run()).toMatchObject({ mode: 'changes', complete: false });
    source.before = () => undefined;
    const config = testConfig({ fullRunEveryHours: 24 });
    vi.spyOn(configuration, 'syncConfig').mockReturnValue(config);
    expect(await run()).toMatchObject({ mode: 'changes', complete: true });
    expect(await run()).toMatchObject({ mode: 'full', complete: true });
  });

  test('that is asked for while a run of changes is under way looks at everything', async () => {
    save('old');
    await run();
    now += 5 * HOUR;
    for (let n = 0; n < 450; n++) {
      save(`p${n}`);
    }
    source.before = (request) => {
      now += request.includes('_sort') ? TIME_BUDGET_MS - 9_000 : 0;
    };
    expect(await run()).toMatchObject({ mode: 'changes', complete: false });
    source.before = () => undefined;
    expect(await run({ mode: 'full' })).toMatchObject({
      mode: 'full',
      complete: true,
      counts: { checked: 451 },
    });
  });
});

test('what a change refers to is written with it if it was deleted on the target', async () => {
  const config = testConfig({ types: ['Patient', 'Observation'] });
  vi.spyOn(configuration, 'syncConfig').mockReturnValue(config);
  save('p');
  for (let n = 0; n < 2; n++) {
    await run();
    now += 10 * HOUR; // so that the lists of the last run do not contain the patient
  }
  await fetch(`${external.baseUrl}/Patient/p`, { method: 'DELETE' });
  saveObservation('o', 'Patient/p');
  expect((await run()).counts).toMatchObject({ checked: 1, differing: 1 });
  const observation = await fetch(`${external.baseUrl}/Observation/o`);
  expect(await observation.json()).toMatchObject({ subject: { reference: 'Patient/p' } });
  expect(await there('p')).toBeDefined();
});

test('a reference to what Medplum lacks is no difference once it is a logical one', async () => {
  const config = testConfig({ types: ['Patient', 'Observation'] });
  vi.spyOn(configuration, 'syncConfig').mockReturnValue(config);
  saveObservation('o', 'Patient/gone');
  expect((await run({ mode: 'full' })).counts).toMatchObject({ differing: 1, failed: 0 });
  expect((await run({ mode: 'full', dryRun: true })).counts).toMatchObject({ differing: 0 });
});

describe('what cannot be repaired', () => {
  test('ends the run if it is too much to keep; the next one forgets nothing', async () => {
    for (let n = 0; n < 1300; n++) {
      save(`p${n}`);
    }
    let works = false;
    vi.spyOn(batches, 'syncBatch').mockImplementation(async (_context, _type, ids) => {
      const outcome = works ? {} : { code: 'refused' };
      return new Map(ids.map((id) => [id, { found: 'same' as const, ...outcome }]));
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

  test('ends the run after 20 outages in a row; the next run goes on with the others', async () => {
    for (let n = 0; n < 30; n++) {
      save(`p${n}`);
    }
    const tried = new Set<string>();
    const isBundle = (url: string, init?: RequestInit): boolean =>
      init?.method === 'POST' && url === external.baseUrl;
    answerInstead(
      (url, init) => isBundle(url, init) || (init?.method === 'PUT' && Boolean(tried.add(url))),
      () => new Response('{}', { status: 503 }),
    );
    expect(await run({ report: true })).toMatchObject({
      complete: false,
      counts: { failed: 20, postponed: 10 },
    });
    expect(tried.size).toBe(20);
    vi.mocked(globalThis.fetch).mockRestore();
    expect(await run()).toMatchObject({ complete: true, counts: { failed: 0, postponed: 0 } });
    expect(await there('p29')).toBeDefined();
  });

  test('is reported at once if something refers to it, and tried by each run', async () => {
    save('p');
    await run();
    source.remove('Patient', 'p');
    const tries = answerInstead(
      (_url, init) => init?.method === 'DELETE',
      () => new Response('{}', { status: 409 }),
    );
    const before = now;
    for (let n = 1; n <= 2; n++) {
      await expect(run()).rejects.toThrow('1 resources could not be synced');
      expect(tries(), 'three more, in case that what refers to it has just gone').toBe(4 * n);
    }
    expect(now).toBe(before);
  });

  test.each([
    ['all credentials are refused', 401, 1],
    ['this one may not be deleted', 403, 2],
    ['the target is broken for this one only', 500, 2],
  ])('%s (%i): %i are tried', async (_what, status, tried) => {
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
    await expect(run()).rejects.toThrow(
      status === 401 ? 'HTTP 401' : '2 resources could not be synced',
    );
    expect(urls.size).toBe(tried);
  });
});

describe('a difference', () => {
  const here: Resource = {
    resourceType: 'Patient',
    id: 'p',
    meta: {
      tag: [{ code: 'a' }, { code: 'b', system: 'urn:b' }],
      profile: ['urn:p', 'urn:q'],
      versionId: '1',
    },
    text: {
      status: 'generated',
      div: '<div xmlns="http://www.w3.org/1999/xhtml">A&nbsp;b <img alt="x" src="y"/></div>',
    },
    name: [{ family: 'A' }, { family: 'B' }],
    photo: [{ contentType: 'image/png', data: 'aGVs bG8=' }],
    link: [{ other: { reference: 'Patient/b' }, type: 'seealso' }],
  };

  test('in the entities of narrative is none', () => {
    const text = (content: string): Patient => ({
      ...copied,
      text: { status: 'generated', div: `<div>${content}</div>` },
    });
    expect(isSame(text('&alpha;&rarr;&Uuml;&ndash;'), text('α→Ü–'))).toBe(true);
    expect(isSame(text('&alpha;'), text('β'))).toBe(false);
  });
  const config = testConfig();
  const { medplum } = memorySource();
  const copied = copyOf({ config, medplum }, here, undefined, () => true).body as Patient;
  const { meta } = copied;
  const [a, b, ours] = meta?.tag ?? [];

  test.each<[string, Partial<Patient>, boolean]>([
    ['nothing', {}, true],
    [
      'what the server adds',
      { meta: { ...meta, versionId: '9', lastUpdated: '2026-01-01', source: '#1' } },
      true,
    ],
    ['tags in another order', { meta: { ...meta, tag: [ours!, b!, a!] } }, true],
    ['the words of a tag', { meta: { ...meta, tag: [{ ...a, display: 'A' }, b!, ours!] } }, true],
    [
      'the system of a tag that has none here',
      { meta: { ...meta, tag: [{ ...a, system: 'urn:s' }, b!, ours!] } },
      true,
    ],
    [
      'the system of a tag',
      { meta: { ...meta, tag: [a!, { ...b, system: 'urn:s' }, ours!] } },
      false,
    ],
    ['a tag without a code', { meta: { ...meta, tag: [a!, b!, ours!, { display: 'x' }] } }, true],
    ['profiles in another order', { meta: { ...meta, profile: ['urn:q', 'urn:p'] } }, true],
    ['a tag', { meta: { ...meta, tag: [a!, ours!] } }, false],
    ['the tag of the sync', { meta: { ...meta, tag: [a!, b!] } }, false],
    [
      'a tag twice, once with its words',
      { meta: { ...meta, tag: [a!, { ...a, display: 'A', version: '1' }, b!, ours!] } },
      true,
    ],
    ['a profile twice', { meta: { ...meta, profile: ['urn:p', 'urn:q', 'urn:p'] } }, true],
    [
      'extensions beside no value at all',
      { name: [{ family: 'A', _given: [{ id: 'x' }] }, { family: 'B' }] } as never,
      true,
    ],
    [
      'extensions beside a value',
      { name: [{ family: 'A', given: ['C'], _given: [{ id: 'x' }] }, { family: 'B' }] } as never,
      false,
    ],
    ['a tag more', { meta: { ...meta, tag: [a!, b!, ours!, { code: 'c' }] } }, false],
    ['a security label', { meta: { ...meta, security: [{ code: 'R' }] } }, false],
    ['names in another order', { name: [{ family: 'B' }, { family: 'A' }] }, false],
    ['a link', { link: [{ other: { reference: 'Patient/c' }, type: 'seealso' }] }, false],
    [
      'whitespace in base64 data',
      { photo: [{ contentType: 'image/png', data: 'aGVsbG8=' }] },
      true,
    ],
    ['base64 data', { photo: [{ contentType: 'image/png', data: 'aGVsbG9v' }] }, false],
    [
      'how narrative is spelt',
      {
        text: {
          status: 'generated',
          div:
            "<div xmlns='http://www.w3.org/1999/xhtml'>A\u00a0b\n" +
            "<img src='y' alt='x'></img></div>",
        },
      },
      true,
    ],
    [
      'what narrative says',
      {
        text: {
          status: 'generated',
          div: '<div xmlns="http://www.w3.org/1999/xhtml">A&nbsp;c</div>',
        },
      },
      false,
    ],
    [
      'a comment in narrative, and its characters',
      {
        text: {
          status: 'generated',
          div:
            '<div xmlns="http://www.w3.org/1999/xhtml">&#x41;&#160;b  <!-- x -->' +
            '<img alt="x" src="y"/></div>',
        },
      },
      true,
    ],
  ])('in %s', (_what, change, same) => {
    expect(isSame(copied, { ...copied, ...change })).toBe(same);
  });

  test('in security labels, in any order', () => {
    const labels = [{ code: 'R' }, { code: 'V' }];
    const secure = (security: typeof labels): Patient => ({
      ...copied,
      meta: { ...meta, security },
    });
    expect(isSame(secure(labels), secure(labels.toReversed()))).toBe(true);
    expect(isSame(secure(labels), secure([labels[0]!]))).toBe(false);
  });
});
