// The local Medplum server in the state in which the recordings of the real one begin; prints its address, and runs
// until its standard input ends. Two things of that project stand in the recordings as they are: the description of its
// client, and a Binary that one step names by its id.
import { readFileSync } from 'node:fs';
import { LOCAL } from '../../tools/src/medplum/local-project.ts';
import { startMedplumServer } from '../../tools/src/medplum/server.ts';

interface Recording {
  steps: {
    name: string;
    request: { body?: { code?: string; executableCode?: { url: string } } };
    response: { body: unknown };
  }[];
}

const { steps } = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as Recording;
const named = (name: string) => steps.find((step) => step.name === name);
const server = await startMedplumServer();
const { repository } = server;

const described = named('who am I')?.response.body as
  { profile: { description: string } } | undefined;
const client = await repository.readResource('ClientApplication', LOCAL.clientId);
await repository.updateResource({
  ...client,
  ...(described && { description: described.profile.description }),
} as never);

const id = named('PUT with identifier, tag, timeout')?.request.body?.executableCode?.url.replace(
  'Binary/',
  '',
);
if (id) {
  await repository.createResource(
    { resourceType: 'Binary', id, contentType: 'text/javascript' },
    { assignedId: true },
  );
  repository.world.store.contents.set(
    id,
    Buffer.from(named('$deploy: back to echo')!.request.body!.code!),
  );
}

console.log(server.baseUrl);
process.stdin.resume().once('end', () => void server.stop());
