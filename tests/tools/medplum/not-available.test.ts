// What the local server does not have, it says: 501 and one sentence, never a wrong or an empty
// answer.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  OPERATIONS_NOT_AVAILABLE,
  OPERATIONS_NOT_IN_BUNDLES,
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

const OPERATIONS = [...OPERATIONS_NOT_AVAILABLE, ...OPERATIONS_NOT_IN_BUNDLES];

/** A path of an operation with a type and an id in it. */
function exampleOf(path: string): string {
  return path.replace(':resourceType', 'Patient').replace(':id', UNKNOWN_ID);
}

/** Sends requests in one batch; what each was answered. */
async function inBatch(...requests: [method: string, url: string, body?: object][]) {
  const entry = requests.map(([method, url, resource]) => ({ request: { method, url }, resource }));
  const bundle = { resourceType: 'Bundle', type: 'batch', entry };
  const { body } = await medplum.call('POST', 'fhir/R4', bundle);
  return body.entry as { response: { status: string; outcome?: object }; resource?: object }[];
}

describe('answers 501', () => {
  test.each(OPERATIONS)('to %s', async (path) => {
    await expectRefusal('GET', `fhir/R4/${exampleOf(path)}`);
    await expectRefusal('POST', `fhir/R4/${exampleOf(path)}`, {});
  });

  test('inside a batch too', async () => {
    const url = 'ValueSet/$expand?url=http://hl7.org/fhir/ValueSet/administrative-gender';
    const answers = await inBatch(
      ['POST', exampleOf('Patient/:id/$summary'), { resourceType: 'Parameters' }],
      ['GET', url],
      ['GET', 'Patient'],
    );
    expect(answers.map(({ response }) => response.status)).toEqual(['501', '501', '200']);
    expect(answers[0]!.response.outcome).toMatchObject({
      issue: [{ details: { text: '$summary is not available locally; a real Medplum has it' } }],
    });
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
  expect((await medplum.call('POST', 'fhir/R4/Patient/$submit', {})).status).toBe(404);
});

test('inside a batch, what a real Medplum does not find is 404', async () => {
  const id = await medplum.bot('exports.handler = async () => true;');
  const answers = await inBatch(
    ['POST', `Bot/${id}/$execute`, { resourceType: 'Parameters' }],
    ['GET', 'Patient/$csv?_fields=id'],
    ['POST', '$ai', { resourceType: 'Parameters' }],
  );
  expect(answers.map(({ response }) => response.status)).toEqual(['404', '404', '404']);
});

test('docs/runtimes.md lists what is not available', () => {
  const page = readFileSync('docs/runtimes.md', 'utf8');
  const codes = OPERATIONS.map((path) => path.split('/').at(-1));
  expect(codes.filter((code) => !page.includes(`\`${code}\``))).toEqual([]);
});
