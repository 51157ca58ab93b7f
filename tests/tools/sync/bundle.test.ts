// Writes that are made at the same time, sent as one Bundle: each is checked as if it had been sent
// alone.
import type {
  Bundle,
  BundleEntry,
  OperationOutcome,
  OperationOutcomeIssue,
  Patient,
} from '@medplum/fhirtypes';
import { expect, test } from 'vitest';
import type { ExternalServer } from '../../src/shared/external-server.ts';
import { RequestFailure } from '../../src/shared/http-request.ts';
import { inBundle } from '../../src/shared/sync/bundle.ts';
import { deleteOne } from '../../src/shared/sync/delete.ts';
import type { TargetState } from '../../src/shared/sync/target.ts';
import { put } from '../../src/shared/sync/write.ts';

type Answer = (bundle: Bundle) => BundleEntry[];

interface Target extends ExternalServer {
  bundles: Bundle[];
}

/** A target that answers each Bundle with these entries, or fails. */
function targetWith(answer: Answer): Target {
  const bundles: Bundle[] = [];
  async function send<T>(method: string, path: string, body: unknown) {
    expect(`${method} ${path}`).toBe('POST ');
    const bundle = body as Bundle;
    bundles.push(bundle);
    const type = bundle.type === 'batch' ? 'batch-response' : 'transaction-response';
    const result: Bundle = { resourceType: 'Bundle', type, entry: answer(bundle) };
    const details = { isEmpty: false, version: undefined, location: undefined };
    return Promise.resolve({ status: 200, body: result as T, ...details });
  }
  return { baseUrl: 'https://target.example.org/fhir', send, bundles };
}

function failWith(status: number): never {
  throw new RequestFailure({
    status,
    method: 'POST',
    resourceType: 'target.example.org',
    codes: ['HAPI-0550'],
    retryAfter: null,
    isFhir: true,
    location: undefined,
  });
}

const written = (version: string): BundleEntry => ({ response: { status: '200', etag: version } });
const stateOf = (id: string): TargetState => ({
  type: 'Patient',
  id,
  version: '1',
  resource: { resourceType: 'Patient', id },
});

/** Writes patients a, b and c at the same time; what came of each: a version, or a code. */
async function putAll(target: ExternalServer, isAtomic: boolean): Promise<unknown[]> {
  const bundled = inBundle(target, { isAtomic });
  const writes = ['a', 'b', 'c'].map(async (id) => {
    const body: Patient = { resourceType: 'Patient', id };
    return (await put({ target: bundled }, stateOf(id), body)).version;
  });
  const results = await Promise.allSettled(writes);
  return results.map((result) =>
    result.status === 'fulfilled' ? result.value : (result.reason as { code: string }).code,
  );
}

test.each([true, false])(
  'one Bundle, and each gets its own answer (atomic: %s)',
  async (isAtomic) => {
    const target = targetWith(() => ['2', '3', '4'].map(written));
    expect(await putAll(target, isAtomic)).toEqual(['2', '3', '4']);
    expect(target.bundles.map(({ type }) => type)).toEqual(['transaction']);
    expect(target.bundles[0]?.entry?.map(({ request }) => request)).toEqual(
      ['a', 'b', 'c'].map((id) => ({ method: 'PUT', url: `Patient/${id}`, ifMatch: 'W/"1"' })),
    );
  },
);

test.each([
  ['one is missing', ['2', '3'].map(written)],
  ['one is too many', ['2', '3', '4', '5'].map(written)],
])('an answer that cannot be told apart proves no write: %s', async (_what, entries) => {
  expect(
    await putAll(
      targetWith(() => entries),
      false,
    ),
  ).toEqual(Array(3).fill('untrusted'));
});

test('a refused transaction is refused for each, and is not sent again as a batch', async () => {
  const target = targetWith(() => failWith(400));
  expect(await putAll(target, true)).toEqual(Array(3).fill('refused'));
  expect(target.bundles).toHaveLength(1);
});

test('where each counts for itself, a batch follows: what it refuses fails alone', async () => {
  const target = targetWith(({ type }) => {
    const refused = { response: { status: '400 Bad Request' } };
    return type === 'batch' ? [written('2'), refused, written('4')] : failWith(400);
  });
  expect(await putAll(target, false)).toEqual(['2', 'untrusted', '4']);
});

test('an entry with an error in its outcome proves no write, whatever its status is', async () => {
  const issue: OperationOutcomeIssue[] = [{ severity: 'error', code: 'processing' }];
  const outcome: OperationOutcome = { resourceType: 'OperationOutcome', issue };
  const failed = { response: { status: '200', etag: '3', outcome } };
  const target = targetWith(() => [written('2'), failed, written('4')]);
  expect(await putAll(target, false)).toEqual(['2', 'untrusted', '4']);
});

test.each([
  [0, 'unavailable'],
  [401, 'denied'],
])('no batch follows after %i: it would fail as well', async (status, code) => {
  const target = targetWith(() => failWith(status));
  expect(await putAll(target, false)).toEqual(Array(3).fill(code));
  expect(target.bundles).toHaveLength(1);
});

test('a deletion that other resources block is blocked, also in a transaction', async () => {
  const target = inBundle(
    targetWith(() => failWith(409)),
    { isAtomic: true },
  );
  const deletions = ['a', 'b'].map((id) => deleteOne({ target }, stateOf(id)));
  for (const result of await Promise.allSettled(deletions)) {
    expect(result).toMatchObject({
      reason: { code: 'blocked', message: 'DELETE Patient: HTTP 409 (HAPI-0550)' },
    });
  }
});
