// Requests where the local Medplum once differed from a real one, or easily could, with the answers
// of a real one.
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LOCAL } from '../../../tools/src/medplum/local-project.ts';
import { startTestServer } from '../support.ts';
import type { TestServer } from '../support.ts';
import { RECORDING } from './record.ts';
import type { RecordedSequence } from './record.ts';
import { SequenceClient } from './sequence-client.ts';

const { sequences } = JSON.parse(readFileSync(RECORDING, 'utf8')) as {
  sequences: RecordedSequence[];
};

let medplum: TestServer;

beforeEach(async () => {
  medplum = await startTestServer();
});
afterEach(() => medplum.server.stop());

test.each(sequences)('answers as recorded: $about', async ({ steps }) => {
  const client = new SequenceClient(medplum.server.baseUrl, {
    project: LOCAL.projectId,
    admin: basic(LOCAL.clientId, LOCAL.clientSecret),
    other: basic(LOCAL.noAdminId, LOCAL.noAdminSecret),
    otherId: LOCAL.noAdminId,
  });
  for (const [index, { request, answer }] of steps.entries()) {
    if (request.afterRuns) {
      await medplum.server.settled();
    }
    expect(await client.send(request, index), `${request.method} ${request.path}`).toEqual(answer);
  }
});

function basic(id: string, secret: string): string {
  return `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`;
}
