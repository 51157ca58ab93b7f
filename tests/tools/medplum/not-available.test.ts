// What the local server does not have, it says: 501 and one sentence, never a wrong or an empty
// answer.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  OPERATIONS_NOT_AVAILABLE,
  PATHS_NOT_AVAILABLE,
} from '../../tools/src/medplum/not-available.ts';
import { UNKNOWN_ID, startTestServer } from './support.ts';
import type { TestServer } from './support.ts';

let medplum: TestServer;

beforeAll(async () => {
  medplum = await startTestServer();
});
afterAll(() => medplum.server.stop());

async function expectRefusal(method: string, path: string, body?: unknown): Promise<void> {
  const answer = await medplum.call(method, path, body);
  expect(answer.status, path).toBe(501);
  const [issue] = answer.body.issue;
  expect(issue.code).toBe('not-supported');
  expect(issue.details.text).toMatch(/ is not available locally; a real Medplum has it$/);
}

describe('answers 501', () => {
  test.each([...OPERATIONS_NOT_AVAILABLE])('to $%s', async (code) => {
    await expectRefusal('GET', `fhir/R4/Patient/${UNKNOWN_ID}/$${code}`);
    await expectRefusal('POST', `fhir/R4/$${code}`, {});
  });

  test.each(PATHS_NOT_AVAILABLE)('to /%s/', async (path) => {
    await expectRefusal('POST', `${path}/anything`, {});
  });

  test('to value sets and code systems that a real server has from the start', async () => {
    const url = 'http://hl7.org/fhir/ValueSet/administrative-gender';
    await expectRefusal('GET', `fhir/R4/ValueSet/$expand?url=${url}`);
  });

  test('to a streaming bot', async () => {
    const id = await medplum.bot('exports.handler = async () => true;');
    const patch = [{ op: 'add', path: '/streamingEnabled', value: true }];
    await medplum.call('PATCH', `fhir/R4/Bot/${id}`, patch);
    const headers = { Accept: 'text/event-stream' };
    const answer = await medplum.call('POST', `fhir/R4/Bot/${id}/$execute`, {}, headers);
    expect(answer.status).toBe(501);
  });
});

test('an operation that no Medplum has is 404', async () => {
  expect((await medplum.call('POST', 'fhir/R4/Patient/$nope', {})).status).toBe(404);
});

test('docs/runtimes.md lists what is not available', () => {
  const page = readFileSync('docs/runtimes.md', 'utf8');
  const missing = [...OPERATIONS_NOT_AVAILABLE].filter((code) => !page.includes(`\`$${code}\``));
  expect(missing).toEqual([]);
});
