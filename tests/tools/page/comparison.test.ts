// How the page pairs what two servers hold, and shows what differs.
import type { Patient } from '@medplum/fhirtypes';
import type { Hono } from 'hono';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ExternalServer } from '../../tools/src/external-server.ts';
import type { Comparison, ComparisonPair } from '../../tools/src/page/api-types.ts';
import { diffJson } from '../../tools/src/page/client/diff.ts';
import { comparisonApi } from '../../tools/src/page/comparison.ts';
import { startTestServer } from '../medplum/support.ts';
import type { TestServer } from '../medplum/support.ts';

const SYSTEM = 'https://example.com/mrn';

let medplum: TestServer;
let api: Hono;
const external: Patient[] = [];
const ids: Record<string, string> = {};

async function ask<T>(path: string): Promise<T> {
  return (await (await api.request(path)).json()) as T;
}

beforeAll(async () => {
  medplum = await startTestServer();
  const store = {
    all: () => external.map((resource) => ({ resource, deleted: false })),
  } as unknown as ExternalServer['store'];
  api = comparisonApi(medplum.server, { store } as ExternalServer);
  for (const family of ['Same', 'Changed', 'Elsewhere', 'Missing']) {
    const identifier = [{ system: SYSTEM, value: family }];
    const patient = { resourceType: 'Patient', name: [{ family }], identifier };
    ids[family] = (await medplum.call('POST', 'fhir/R4/Patient', patient)).body.id;
  }
  const own = (value: string): { system: string; value: string } => ({ system: SYSTEM, value });
  const synced = { system: 'https://medplum.com/patient-id', value: ids['Same']! };
  external.push(
    {
      resourceType: 'Patient',
      id: ids['Same']!,
      identifier: [own('Same'), synced],
      meta: { versionId: '1' },
      name: [{ family: 'Same' }],
    },
    {
      resourceType: 'Patient',
      id: ids['Changed']!,
      identifier: [own('Changed')],
      name: [{ family: 'Altered' }],
    },
    {
      resourceType: 'Patient',
      id: '1000',
      identifier: [own('Elsewhere')],
      name: [{ family: 'Elsewhere' }],
    },
    { resourceType: 'Patient', id: '2000', name: [{ family: 'Stranger' }] },
  );
});
afterAll(() => medplum.server.stop());

describe('two servers', () => {
  test('are compared resource by resource, by id or identifier', async () => {
    const { rows, counts } = await ask<Comparison>('/Patient');
    const states = Object.fromEntries(rows.map(({ title, state }) => [title, state]));
    expect(states).toEqual({
      Same: 'same',
      Changed: 'different',
      Elsewhere: 'same',
      Missing: 'only-medplum',
      Stranger: 'only-external',
    });
    expect(counts).toEqual({ same: 2, different: 1, 'only-medplum': 1, 'only-external': 1 });
    expect(rows.find(({ title }) => title === 'Elsewhere')).toMatchObject({ externalId: '1000' });
  });

  test('can be asked for one state only', async () => {
    const { rows } = await ask<Comparison>('/Patient?state=different');
    expect(rows.map(({ title }) => title)).toEqual(['Changed']);
  });

  test('show both sides of one resource', async () => {
    const { medplum, external: other } = await ask<ComparisonPair>(`/Patient/${ids['Changed']}`);
    expect(diffJson(medplum, other).filter(({ kind }) => kind !== 'same')).toEqual([
      { kind: 'removed', text: '      "family": "Changed"' },
      { kind: 'added', text: '      "family": "Altered"' },
    ]);
  });
});

describe('a difference', () => {
  test('does not depend on the order of members', () => {
    expect(diffJson({ a: 1, b: 2 }, { b: 2, a: 1 }).every(({ kind }) => kind === 'same')).toBe(
      true,
    );
  });

  test('gives back both sides, for any change', () => {
    const cases: [unknown, unknown][] = [
      [undefined, { a: 1 }],
      [{ a: 1 }, undefined],
      [{ list: [1, 2, 3, 4] }, { list: [2, 3, 5, 4] }],
      [
        { a: { b: [1] }, c: 'x' },
        { a: { b: [] }, d: 'x' },
      ],
      [Array.from({ length: 50 }, (_, n) => n), Array.from({ length: 50 }, (_, n) => n * 2)],
    ];
    for (const [before, after] of cases) {
      const lines = diffJson(before, after);
      const side = (without: string): string =>
        lines.flatMap(({ kind, text }) => (kind === without ? [] : text)).join('\n');
      expect(side('added')).toBe(before === undefined ? '' : JSON.stringify(before, null, 2));
      expect(side('removed')).toBe(after === undefined ? '' : JSON.stringify(after, null, 2));
    }
  });
});
