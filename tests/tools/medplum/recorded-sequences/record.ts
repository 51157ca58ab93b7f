// Sends the sequences to a real Medplum and keeps its answers in sequences.json:
//
//   node record.ts BASE PROJECT CLIENT SECRET OTHER_CLIENT OTHER_SECRET
//
// CLIENT is an admin, OTHER_CLIENT is not. Give them a project of their own: it is emptied between
// sequences.
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { SequenceClient } from './sequence-client.ts';
import type { ComparableAnswer, Login, Step } from './sequence-client.ts';

export interface RecordedSequence {
  about: string;
  steps: { request: Step; answer: ComparableAnswer }[];
}

export const RECORDING = new URL('sequences.json', import.meta.url);

/** As long as a real server may need to run the bots of a sequence. */
const RUNS_MILLISECONDS = 2000;
/** What sequences create; resources that refer to others come first. */
const TYPES = [
  'Subscription',
  'Bot',
  'Observation',
  'Task',
  'Communication',
  'DocumentReference',
  'Appointment',
  'Patient',
  'Organization',
  'AccessPolicy',
];

async function record(baseUrl: string, login: Login): Promise<void> {
  const { server, sequences } = JSON.parse(readFileSync(RECORDING, 'utf8')) as {
    server: string;
    sequences: RecordedSequence[];
  };
  const texts = [];
  for (const { about, steps } of sequences) {
    const client = new SequenceClient(baseUrl, login);
    const lines = [];
    for (const [index, { request }] of steps.entries()) {
      if (request.afterRuns) {
        await wait(RUNS_MILLISECONDS);
      }
      const answer = await client.send(request, index);
      lines.push(`  ${JSON.stringify({ request, answer })}`);
    }
    texts.push(` {"about": ${JSON.stringify(about)}, "steps": [\n${lines.join(',\n')}\n ]}`);
    await deleteAll(baseUrl, login);
  }
  writeFileSync(
    RECORDING,
    `{"server": ${JSON.stringify(server)}, "sequences": [\n${texts.join(',\n')}\n]}\n`,
  );
}

async function deleteAll(baseUrl: string, { admin }: Login): Promise<void> {
  const headers = { Authorization: admin, 'Cache-Control': 'no-cache' };
  for (const type of TYPES) {
    const answer = await fetch(`${baseUrl}fhir/R4/${type}?_count=1000&_elements=id`, { headers });
    const { entry = [] } = (await answer.json()) as { entry?: { resource: { id: string } }[] };
    for (const { resource } of entry) {
      await fetch(`${baseUrl}fhir/R4/${type}/${resource.id}`, { method: 'DELETE', headers });
    }
  }
}

function basic(id: string, secret: string): string {
  return `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`;
}

if (import.meta.main) {
  const [baseUrl, project, client, secret, otherId, otherSecret] = process.argv.slice(
    2,
  ) as string[];
  await record(baseUrl!, {
    project: project!,
    admin: basic(client!, secret!),
    other: basic(otherId!, otherSecret!),
    otherId: otherId!,
  });
}
