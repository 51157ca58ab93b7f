// A command that ends at any of its requests, before or after the server carried it out, is
// completed by the next one; a line that breaks and a second run at the same time change nothing
// either.
import type { Basic, Bot, Project, ProjectMembership, Questionnaire } from '@medplum/fhirtypes';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IMPORT, PROJECT, RERUN, ROLLBACK, SECRETS, SETUP } from './harness.ts';
import {
  all,
  command,
  isWrite,
  run,
  snapshot,
  startProxiedMedplum,
  state,
  writeRepository,
} from './harness.ts';
import type { Request, TestBot, ProxiedMedplum } from './harness.ts';
import { runCommand } from '../run-command.ts';

const policy = [{ resourceType: 'Patient', readonly: true }];
const BEFORE: TestBot[] = [
  { name: 'code-bot', subscriptions: [{ criteria: 'Patient' }], accessPolicy: policy },
  {
    name: 'settings-bot',
    timeout: 10,
    subscriptions: [{ criteria: 'Patient' }, { criteria: 'Task' }],
  },
  { name: 'old-name-bot', subscriptions: [{ criteria: 'Patient' }], accessPolicy: policy },
  { name: 'failed-bot' },
  { name: 'lonely-bot', subscriptions: [{ criteria: 'Patient' }], accessPolicy: policy },
  { name: 'gone-bot', subscriptions: [{ criteria: 'Patient' }], accessPolicy: policy },
];
const FAILED: TestBot = { name: 'failed-bot', code: 'exports.handler = async () => 2;\n' };
/**
 * Everything at once: new, code, settings with `$deploy`, criteria, policy added and changed, a
 * rename, a `$deploy` that failed before, a membership that is missing, removals.
 */
const AFTER: TestBot[] = [
  {
    name: 'new-bot',
    subscriptions: [{ criteria: 'Patient' }, { criteria: 'Task', interactions: ['create'] }],
    accessPolicy: policy,
  },
  {
    ...BEFORE[0]!,
    code: 'exports.handler = async () => 2;\n',
    accessPolicy: [{ resourceType: 'Task' }],
  },
  {
    name: 'settings-bot',
    timeout: 20,
    subscriptions: [{ criteria: 'Practitioner' }],
    accessPolicy: policy,
  },
  { ...BEFORE[2]!, name: 'new-name-bot', previousNames: ['old-name-bot'] },
  FAILED,
  BEFORE[4]!,
];

let medplum: ProxiedMedplum;
beforeEach(async () => {
  medplum = await startProxiedMedplum();
});
afterEach(() => medplum.stop());

const botCalled = async (wanted: string): Promise<Bot> =>
  (await all<Bot>(medplum, 'Bot')).find(({ name }) => name === wanted)!;

/** Writes files of resources/: Questionnaires with a title each. */
function writeResources(root: string, titles: Record<string, string>): void {
  rmSync(join(root, 'resources'), { recursive: true, force: true });
  mkdirSync(join(root, 'resources'));
  for (const [name, title] of Object.entries(titles)) {
    const url = `https://example.com/${name}`;
    const resource = { resourceType: 'Questionnaire', status: 'active', url, title };
    writeFileSync(join(root, `resources/${name}.json`), JSON.stringify(resource));
  }
}

/**
 * @returns the repository to be deployed, to a server that has what `BEFORE` and an accident or two
 *   have left
 */
async function prepareDeployment(): Promise<string> {
  const root = writeRepository(BEFORE);
  writeResources(root, { changed: 'before', gone: 'before' });
  expect((await run(medplum, root)).failed).toEqual([]);
  medplum.rule = ({ path }) => (path.endsWith('/$deploy') ? { status: 400 } : undefined);
  const { failed } = await run(
    medplum,
    writeRepository(
      [...BEFORE, FAILED].filter((bot) => bot !== BEFORE[3]),
      root,
    ),
  );
  expect(failed.map(({ name }) => name)).toEqual(['failed-bot']);
  medplum.rule = () => undefined;
  const reference = `Bot/${(await botCalled('lonely-bot')).id}`;
  const members = await all<ProjectMembership>(medplum, 'ProjectMembership');
  const member = members.find(({ profile }) => profile.reference === reference);
  await medplum.server.repository.deleteResource('ProjectMembership', member!.id!);
  writeResources(root, { changed: 'after', added: 'after' });
  return writeRepository(AFTER, root);
}

/** Two versions of a bot, the second one deployed. */
async function prepareRollback(): Promise<string> {
  const root = writeRepository([BEFORE[0]!]);
  await run(medplum, root);
  await run(medplum, writeRepository([AFTER[1]!], root));
  return root;
}

async function prepareRelease(): Promise<string> {
  const root = await prepareRollback();
  expect((await runCommand(root, ROLLBACK, 'code-bot')).code).toBe(0);
  return root;
}

async function prepareSecrets(): Promise<string> {
  const project = await medplum.server.repository.readResource<Project>('Project', PROJECT);
  const secret = ['THEIRS', 'OURS'].map((name) => ({ name, valueString: 'old' }));
  await medplum.server.repository.updateResource({ ...project, secret });
  const root = writeRepository([]);
  writeFileSync(join(root, '.env.local.secrets'), 'OURS=new\nMORE=new\n');
  return root;
}

async function prepareImport(): Promise<string> {
  const { repository } = medplum.server;
  const url = `${medplum.server.baseUrl}healthcheck`;
  const sourceCode = { contentType: 'text/typescript', url, title: 'index.ts' };
  const { id } = await repository.createResource<Bot>({
    resourceType: 'Bot',
    name: 'Legacy Sync',
    sourceCode,
  });
  const channel = { type: 'rest-hook' as const, endpoint: `Bot/${id}` };
  const members = { status: 'active', reason: 'x', criteria: 'Patient' } as const;
  await repository.createResource({ resourceType: 'Subscription', ...members, channel });
  return writeRepository([]);
}

/** A bot that writes the same, however often it runs for a patient. */
async function prepareRerun(): Promise<string> {
  const code = `exports.handler = async (medplum, { input }) => {
    const identifier = [{ system: 'urn:test', value: input.id }];
    await medplum.createResourceIfNoneExist(
      { resourceType: 'Basic', code: { text: 'seen' }, identifier },
      'identifier=urn:test|' + input.id,
    );
  };\n`;
  const root = writeRepository([{ name: 'seen-bot', code }]);
  expect((await run(medplum, root)).failed).toEqual([]);
  await medplum.server.repository.createResource({ resourceType: 'Patient' });
  return root;
}

/** All that a command can have changed. */
async function everything(root: string): Promise<object> {
  const { secret } = await medplum.server.repository.readResource<Project>('Project', PROJECT);
  const read = (file: string): string | undefined => {
    try {
      return readFileSync(join(root, file), 'utf8');
    } catch {
      return undefined;
    }
  };
  const files = ['medplum.config.json', 'src/bots/legacy-sync.ts'].map(read);
  const questionnaires = await all<Questionnaire>(medplum, 'Questionnaire');
  const titles = questionnaires.map(({ url, title }) => `${url} ${title}`).toSorted();
  const seen = (await all<Basic>(medplum, 'Basic')).map(({ identifier }) => identifier);
  return { ...((await state(medplum)) as object), secret, files, titles, seen };
}

describe('a process that is killed at any of its requests', () => {
  it.each<[string, () => Promise<string>, number, string, ...string[]]>([
    ['npm run setup:bots', prepareDeployment, 40, SETUP, '--prune', '--concurrency', '1'],
    ['npm run rollback', prepareRollback, 6, ROLLBACK, 'code-bot'],
    ['npm run rollback -- --release', prepareRelease, 3, ROLLBACK, 'code-bot', '--release'],
    ['npm run secrets', prepareSecrets, 4, SECRETS, 'push', '.env.local.secrets'],
    ['npm run import', prepareImport, 4, IMPORT, 'Legacy Sync'],
    ['npm run rerun', prepareRerun, 5, RERUN, 'seen-bot', '--query', 'Patient'],
  ])(
    '%s leaves what the next one completes',
    { timeout: 300_000 },
    async (_, prepare, atLeast, script, ...args) => {
      const root = await prepare();
      const config = readFileSync(join(root, 'medplum.config.json'), 'utf8');
      const reset = snapshot(medplum);
      reset();
      expect(await runCommand(root, script, ...args)).toMatchObject({ code: 0, stderr: '' });
      const sent = [...medplum.requests];
      expect(sent.length).toBeGreaterThanOrEqual(atLeast);
      const wanted = await everything(root);
      const deployed = (requests: Request[]): number =>
        new Set(requests.map(({ path }) => path).filter((path) => path.endsWith('/$deploy'))).size;
      for (const request of sent) {
        const { number, method, path } = request;
        for (const side of sidesOf(request, script)) {
          const place = `${side} request ${number}, ${method} ${path.replace(/[0-9a-f-]{36}/, 'ID')}`;
          reset();
          writeFileSync(join(root, 'medplum.config.json'), config);
          medplum.rule = (next) => (next.number === number ? side : undefined);
          const { pid, done } = command(root, script, ...args);
          medplum.cutting = () => process.kill(pid, 'SIGKILL');
          expect((await done).code, place).toBeNull();
          medplum.rule = () => undefined;
          await complete(root, script, args, place);
          expect(await everything(root), place).toEqual(wanted);
          const arrived = medplum.requests.filter(
            (request) => request.number !== number || side === 'cut after',
          );
          expect(deployed(arrived), `${place}: bots that were deployed`).toBe(deployed(sent));
        }
      }
    },
  );
});

/**
 * Where the process is killed: before the server carries a request out, and after it. For a request
 * that only reads both are the same. `setup:bots` writes no files, so that before a request is the
 * same as after the one before it.
 */
function sidesOf(request: Request, script: string): ('cut before' | 'cut after')[] {
  const isSame = !isWrite(request) || (script === SETUP && request.number > 1);
  return isSame ? ['cut after'] : ['cut before', 'cut after'];
}

/** The same command again. */
async function complete(
  root: string,
  script: string,
  args: string[],
  place: string,
): Promise<void> {
  if (script !== SETUP) {
    expect(await runCommand(root, script, ...args), place).toMatchObject({ code: 0, stderr: '' });
    return;
  }
  // In this process, since that is quicker.
  expect((await run(medplum, root, { prune: true, concurrency: 1 })).failed, place).toEqual([]);
  expect((await run(medplum, root, { prune: true })).writes, place).toEqual([]);
}

/** What one clean run leaves; then the server is as before it. */
async function cleanRun(root: string): Promise<unknown> {
  const reset = snapshot(medplum);
  expect((await run(medplum, root, { prune: true })).failed).toEqual([]);
  const wanted = await everything(root);
  reset();
  return wanted;
}

describe('two runs at the same time', () => {
  it('end in the same state, or one says that the other was first', async () => {
    const root = await prepareDeployment();
    const wanted = await cleanRun(root);
    const both = await Promise.all([
      run(medplum, root, { prune: true, concurrency: 1 }),
      run(medplum, root, { prune: true }),
    ]);
    const word = /changed by another client.*run it again$|not as it should be.*run it again$/;
    for (const { message } of both.flatMap(({ failed }) => failed)) {
      expect(message).toMatch(word);
    }
    expect((await run(medplum, root, { prune: true })).failed).toEqual([]);
    expect(await everything(root)).toEqual(wanted);
    expect((await run(medplum, root, { prune: true })).writes).toEqual([]);
  });
});

describe('a line that breaks', () => {
  it.each(['cut before', 'cut after'] as const)(
    'once at every request (%s the server carried it out) changes nothing',
    async (cut) => {
      const root = await prepareDeployment();
      const wanted = await cleanRun(root);
      const broken = new Set<string>();
      medplum.rule = ({ method, path, body }) => {
        const request = `${method} ${path} ${path === 'oauth2/token' ? '' : body}`;
        if (broken.has(request)) {
          return undefined;
        }
        broken.add(request);
        return cut;
      };
      expect((await run(medplum, root, { prune: true })).failed).toEqual([]);
      expect(broken.size).toBeGreaterThan(30);
      medplum.rule = () => undefined;
      expect(await everything(root)).toEqual(wanted);
    },
  );
});
