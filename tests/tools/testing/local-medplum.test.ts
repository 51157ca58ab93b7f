// The Medplum inside a test, as tests of a repository use it.
import type { BotEvent, WithId } from '@medplum/core';
import type { Observation, Patient, Task } from '@medplum/fhirtypes';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { localMedplum } from '../../tools/src/testing/index.ts';
import type { LocalMedplum } from '../../tools/src/testing/index.ts';
import { makeProject } from '../project.ts';
import type { Project } from '../project.ts';

const POLICY = [{ resourceType: 'Observation', readonly: true }, { resourceType: 'Task' }];

const FILES = {
  'src/shared/limits.ts': `export const SYSTOLIC_LIMIT = 140;\n`,
  // Creates a Task for an Observation whose value is too high.
  'src/bots/flag-pressure.ts': `import type { BotEvent, MedplumClient } from '@medplum/core';
import type { Observation } from '@medplum/fhirtypes';
import { SYSTOLIC_LIMIT } from '../shared/limits.ts';

export async function handler(
  medplum: MedplumClient,
  event: BotEvent<Observation>,
): Promise<object> {
  const value = event.input.valueQuantity?.value ?? 0;
  console.log('looked at Observation/' + event.input.id);
  if (value > SYSTOLIC_LIMIT) {
    await medplum.createResource({ resourceType: 'Task', status: 'requested', intent: 'order',
      focus: { reference: 'Observation/' + event.input.id } });
  }
  return { flagged: value > SYSTOLIC_LIMIT };
}
`,
  // Runs on the Tasks that the other one creates.
  'src/bots/accept-task.ts': `import type { BotEvent, MedplumClient } from '@medplum/core';
import type { Task } from '@medplum/fhirtypes';

export async function handler(medplum: MedplumClient, event: BotEvent<Task>): Promise<boolean> {
  await medplum.updateResource({ ...event.input, status: 'accepted' });
  return true;
}
`,
  // Tells what it sees.
  'src/bots/report.ts': `import type { BotEvent, MedplumClient } from '@medplum/core';

export async function handler(medplum: MedplumClient, event: BotEvent): Promise<object> {
  const tasks = await medplum.searchResources('Task', { status: 'accepted' });
  return { tasks: tasks.length, now: new Date().toISOString(), secrets: Object.keys(event.secrets),
    input: event.input, contentType: event.contentType };
}
`,
  // May read Observations, and wants to read Patients.
  'src/bots/curious.ts': `import type { MedplumClient } from '@medplum/core';

export async function handler(medplum: MedplumClient): Promise<number> {
  const found = await medplum.searchResources('Patient');
  return found.length;
}
`,
  // Changes what starts it, each time.
  'src/bots/endless.ts': `import type { BotEvent, MedplumClient } from '@medplum/core';
import type { Group } from '@medplum/fhirtypes';

export async function handler(medplum: MedplumClient, event: BotEvent<Group>): Promise<boolean> {
  await medplum.updateResource({ ...event.input, quantity: (event.input.quantity ?? 0) + 1 });
  return true;
}
`,
};

let project: Project;
let medplum: LocalMedplum | undefined;
const startedIn = process.cwd();

beforeAll(() => {
  project = makeProject(FILES);
  const entry = (name: string, settings: object): object => {
    const common = { name, source: `src/bots/${name}.ts`, dist: `dist/bots/${name}.js` };
    return { ...common, ...settings };
  };
  project.write({
    'medplum.config.json': JSON.stringify({
      identifierSystem: 'urn:medplum-bots:test',
      bots: [
        entry('flag-pressure', {
          subscriptions: [{ criteria: 'Observation', interactions: ['create', 'update'] }],
          accessPolicy: POLICY,
        }),
        entry('accept-task', {
          subscriptions: [{ criteria: 'Task?status=requested', interactions: ['create'] }],
          runtimeVersion: 'vmcontext',
        }),
        entry('report', { cron: '0 6 * * *', secrets: ['REPORT_KEY'] }),
        entry('endless', { subscriptions: [{ criteria: 'Group' }] }),
        entry('curious', {
          subscriptions: [{ criteria: 'Basic' }],
          accessPolicy: POLICY,
        }),
      ],
    }),
  });
  process.chdir(project.root);
});
afterEach(async () => {
  vi.useRealTimers();
  await medplum?.stop();
  medplum = undefined;
});
afterAll(() => {
  process.chdir(startedIn);
  project.remove();
});

const HIGH: Observation = {
  resourceType: 'Observation',
  status: 'final',
  code: { text: 'Systolic blood pressure' },
  valueQuantity: { value: 180, unit: 'mmHg' },
};

describe('localMedplum', () => {
  it('waits until the bots have run that a change starts, and those that these start', async () => {
    medplum = await localMedplum({ bots: ['flag-pressure', 'accept-task'] });
    const observation = await medplum.create(HIGH);
    const tasks = await medplum.client.searchResources('Task');
    expect([...tasks]).toMatchObject([
      { status: 'accepted', focus: { reference: `Observation/${observation.id}` } },
    ]);
    await medplum.update({ ...observation, valueQuantity: { value: 120, unit: 'mmHg' } });
    await medplum.delete(observation);
    expect(medplum.runsOf('flag-pressure').map(({ result }) => result)).toEqual([
      { flagged: true },
      { flagged: false },
    ]);
  });

  it('tells of each run what it logged, what it sent, and what came of it', async () => {
    medplum = await localMedplum({ bots: ['flag-pressure'] });
    const { id } = await medplum.create(HIGH);
    expect(medplum.runs).toMatchObject([
      {
        bot: 'flag-pressure',
        cause: 'subscription',
        success: true,
        result: { flagged: true },
        log: `looked at Observation/${id}`,
        input: { resourceType: 'Observation', id },
        requests: [{ method: 'POST', url: `${medplum.baseUrl}fhir/R4/Task`, status: 201 }],
      },
    ]);
    medplum.clearRuns();
    expect(medplum.runs).toEqual([]);
  });

  it('enforces the access policy, and shows where in the sources a bot met it', async () => {
    medplum = await localMedplum({ bots: ['curious'] });
    await medplum.create({ resourceType: 'Basic', code: { text: 'x' } });
    const [run] = medplum.runs;
    expect(run).toMatchObject({ success: false, error: { message: 'Forbidden' } });
    expect(run!.requests).toMatchObject([
      { method: 'GET', status: 403, place: 'src/bots/curious.ts:4:31' },
    ]);

    const asBot = medplum.clientOf('curious');
    await expect(asBot.searchResources('Patient')).rejects.toThrow('Forbidden');
    expect(await asBot.searchResources('Task')).toHaveLength(0);
  });

  it('stops a bot that keeps starting itself, and names it', async () => {
    medplum = await localMedplum({ bots: ['endless'] });
    await expect(
      medplum.create({ resourceType: 'Group', type: 'person', actual: true }),
    ).rejects.toThrow('Bot endless was stopped: it started itself 20 times in a row');
    expect(medplum.runsOf('endless')).toHaveLength(21);
    await medplum.settled();
  });

  it('runs a bot as its schedule does, with the secrets of the test', async () => {
    medplum = await localMedplum({ bots: ['report'], secrets: { REPORT_KEY: 'x' } });
    const run = await medplum.runCron('report');
    expect(run).toMatchObject({
      cause: 'cron',
      result: { tasks: 0, secrets: ['REPORT_KEY'], input: { resourceType: 'Bot' } },
    });
  });

  it('runs a bot with an input of any content type', async () => {
    medplum = await localMedplum({ bots: ['report'], secrets: { REPORT_KEY: 'x' } });
    const text = await medplum.execute('report', 'plain', { contentType: 'text/plain' });
    expect(text.result).toMatchObject({ input: 'plain', contentType: 'text/plain' });
    const json = await medplum.execute('report', { a: 1 });
    expect(json.result).toMatchObject({ input: { a: 1 } });
  });

  it('starts with resources and bundles, for which no bot runs', async () => {
    const patient: Patient = {
      resourceType: 'Patient',
      id: 'b0000000-0000-4000-8000-000000000001',
    };
    medplum = await localMedplum({
      bots: ['flag-pressure'],
      resources: [
        patient,
        HIGH,
        {
          resourceType: 'Bundle',
          type: 'batch',
          entry: [
            {
              fullUrl: 'urn:uuid:0b5c4b36-7a0e-4b8a-9a39-a8f7b5d3c111',
              resource: { resourceType: 'Practitioner' },
              request: { method: 'POST', url: 'Practitioner' },
            },
          ],
        },
        { resourceType: 'Bundle', type: 'collection', entry: [{ resource: HIGH }] },
      ],
    });
    expect(await medplum.client.readResource('Patient', patient.id!)).toMatchObject(patient);
    expect(await medplum.client.searchResources('Observation')).toHaveLength(2);
    expect(await medplum.client.searchResources('Practitioner')).toHaveLength(1);
    expect(medplum.runs).toEqual([]);
  });

  it('has a clock that the test sets, for the server and the bots', async () => {
    medplum = await localMedplum({
      bots: ['report'],
      secrets: { REPORT_KEY: 'x' },
      time: '2030-05-01T10:00:00Z',
    });
    const task = await medplum.create<Task>({
      resourceType: 'Task',
      status: 'requested',
      intent: 'order',
    });
    expect(task.meta?.lastUpdated).toMatch(/^2030-05-01T10:00/);
    expect((await medplum.runCron('report')).result).toMatchObject({
      now: expect.stringMatching(/^2030-05-01T10:00/),
    });
    medplum.setTime('2031-01-01T00:00:00Z');
    expect((await medplum.runCron('report')).result).toMatchObject({
      now: expect.stringMatching(/^2031-01-01T00:00/),
    });
    await medplum.stop();
    expect(new Date().getUTCFullYear()).toBeLessThan(2030);
  });

  it("has vitest's clock where a test sets that", async () => {
    medplum = await localMedplum({ bots: ['report'], secrets: { REPORT_KEY: 'x' } });
    vi.useFakeTimers({ toFake: ['Date'] });
    vi.setSystemTime('2032-02-02T00:00:00Z');
    expect((await medplum.runCron('report')).result).toMatchObject({
      now: expect.stringMatching(/^2032-02-02T00:00/),
    });
  });

  it('is a server of its own each time', async () => {
    const first = await localMedplum();
    medplum = await localMedplum();
    await first.create({ resourceType: 'Patient' });
    expect(await medplum.client.searchResources('Patient')).toHaveLength(0);
    await first.stop();
  });

  it('takes the place of a fake client in the test of a handler', async () => {
    medplum = await localMedplum();
    const { handler } = (await import(`${project.root}/src/bots/flag-pressure.ts`)) as {
      handler(medplum: unknown, event: unknown): Promise<object>;
    };
    const input = (await medplum.create(HIGH)) as WithId<Observation>;
    const event = { input, secrets: {}, bot: {}, contentType: '' } as unknown as BotEvent;
    expect(await handler(medplum.client, event)).toEqual({ flagged: true });
    expect(await medplum.client.searchResources('Task')).toHaveLength(1);
  });

  it.each([
    [
      { bots: ['flag-presure'] },
      'There is no bot "flag-presure" in medplum.config.json. Did you mean',
    ],
    [
      { bots: ['report'] },
      "report needs the secret REPORT_KEY: localMedplum({ secrets: { REPORT_KEY: '…' } }).",
    ],
    [{ resources: [{ resourceType: 'Patient', id: '1' } as const] }, 'Patient/1 cannot be created'],
  ])('says in one line what is wrong with %j', async (options, message) => {
    await expect(localMedplum(options)).rejects.toThrow(message);
  });

  it('deploys what is in the sources now, and says which bot cannot be built', async () => {
    medplum = await localMedplum({ bots: ['flag-pressure'] });
    await medplum.create(HIGH);
    await medplum.stop();
    project.write({ 'src/shared/limits.ts': `export const SYSTOLIC_LIMIT = 200;\n` });
    medplum = await localMedplum({ bots: ['flag-pressure'] });
    await medplum.create(HIGH);
    expect(medplum.runs[0]!.result).toEqual({ flagged: false });
    project.write({ 'src/shared/limits.ts': 'export const SYSTOLIC_LIMIT = ;' });
    await expect(localMedplum({ bots: ['flag-pressure'] })).rejects.toThrow(
      /^flag-pressure cannot be built:\n.*src\/shared\/limits\.ts:1:/,
    );
    project.write({ 'src/shared/limits.ts': FILES['src/shared/limits.ts'] });
  });
});

describe('medplum-bot-tools/testing', () => {
  it('is found and typed from a test of the repository', async () => {
    project.write({
      'tests/report.test.ts': `import { expect, test } from 'vitest';
import { localMedplum } from 'medplum-bot-tools/testing';

test('the report has no tasks', async () => {
  await using medplum = await localMedplum({ bots: ['report'], secrets: { REPORT_KEY: 'x' } });
  const { result } = await medplum.runCron('report');
  expect(result).toMatchObject({ tasks: 0 });
});
`,
    });
    const vitest = 'node_modules/vitest/vitest.mjs';
    const tests = await project.node(vitest, 'run', '--root', '.', '--test-timeout', '60000');
    expect(tests.stdout + tests.stderr).toContain('1 passed');
    // The small repository lacks files that some of the tools need; the test has no error.
    const types = await project.node('node_modules/typescript/bin/tsc');
    expect(types.stdout).not.toContain('report.test.ts');
  });
});
