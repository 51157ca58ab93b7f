// Every member that an entry of "bots" may have, deployed to the local Medplum: what is stored, or
// the sentence that refuses it.
import type {
  AccessPolicy,
  Bot,
  Project,
  ProjectMembership,
  Subscription,
} from '@medplum/fhirtypes';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bot as botSchema } from '../../tools/src/config/bot.ts';
import { PROJECT, all, run, startProxiedMedplum, writeRepository } from './harness.ts';
import type { ProxiedMedplum } from './harness.ts';

let medplum: ProxiedMedplum;
beforeAll(async () => {
  medplum = await startProxiedMedplum();
  const { repository } = medplum.server;
  const project = await repository.readResource<Project>('Project', PROJECT);
  await repository.updateResource({
    ...project,
    secret: [{ name: 'TOKEN', valueString: 'a value' }],
  });
  await repository.createResource<AccessPolicy>({
    resourceType: 'AccessPolicy',
    name: 'Bots that read',
    resource: [{ resourceType: 'Patient', readonly: true }],
  });
});
afterAll(() => medplum.stop());

interface Stored {
  bot: Partial<Bot>;
  policy: Partial<AccessPolicy> | undefined;
  membership: Partial<ProjectMembership>;
  subscriptions: Partial<Subscription>[];
}
interface Case {
  entry: object;
  /** Members of what the server has afterwards. */
  stored?: { [Part in keyof Stored]?: unknown };
  /** Why the bot is not deployed. */
  refused?: string;
}

const ID = 'b0b0b0b0-0000-4000-8000-000000000001';
const OTHER_ID = 'b0b0b0b0-0000-4000-8000-000000000002';
const POLICY = { accessPolicy: [{ resourceType: 'Patient' }] };
const RULE = {
  resourceType: 'Patient',
  criteria: 'Patient?active=true',
  interaction: ['read', 'search'],
  hiddenFields: ['photo'],
  readonlyFields: ['name'],
  writeConstraint: ['%before.active = %after.active'],
};
const STORED_RULE = {
  ...RULE,
  writeConstraint: [{ language: 'text/fhirpath', expression: '%before.active = %after.active' }],
};
const extension = (name: string, value: object): unknown =>
  expect.arrayContaining([
    expect.objectContaining({ url: expect.stringContaining(name) as string, ...value }),
  ]);

const CASES: Record<string, Case[]> = {
  name: [{ entry: {}, stored: { bot: { name: 'name-0' } } }],
  source: [{ entry: {}, stored: { bot: { executableCode: expect.anything() as unknown } } }],
  dist: [{ entry: {}, stored: { bot: { executableCode: expect.anything() as unknown } } }],
  // Of a server that has no such Bot: see settings.test.ts.
  id: [{ entry: { id: ID }, stored: { bot: { id: ID } } }],
  previousNames: [{ entry: { previousNames: ['earlier'] }, stored: { bot: {} } }],
  description: [{ entry: { description: 'Reads' }, stored: { bot: { description: 'Reads' } } }],
  runtimeVersion: [
    { entry: { runtimeVersion: 'vmcontext' }, stored: { bot: { runtimeVersion: 'vmcontext' } } },
    { entry: { runtimeVersion: 'fission' }, refused: 'Fission bots are not enabled' },
  ],
  portable: [{ entry: { portable: true }, stored: { bot: {} } }],
  acceptedPackages: [{ entry: { acceptedPackages: ['stripe'] }, stored: { bot: {} } }],
  maxBytes: [{ entry: { maxBytes: 5000 }, stored: { bot: {} } }],
  timeout: [{ entry: { timeout: 30 }, stored: { bot: { timeout: 30 } } }],
  cron: [{ entry: { cron: '0 4 * * *' }, stored: { bot: { cronString: '0 4 * * *' } } }],
  cronTiming: [
    {
      entry: { cronTiming: { repeat: { period: 2, dayOfWeek: ['mon'] } } },
      stored: {
        bot: { cronTiming: { repeat: { period: 2, periodUnit: 'd', dayOfWeek: ['mon'] } } },
      },
    },
  ],
  cronJobs: [
    {
      entry: { cronJobs: [{ name: 'night', cron: '0 3 * * *' }] },
      refused: 'this server has no Cron resources: "cronJobs" needs Medplum 5.2',
    },
  ],
  auditEventTrigger: [
    { entry: { auditEventTrigger: 'never' }, stored: { bot: { auditEventTrigger: 'never' } } },
  ],
  auditEventDestination: [
    {
      entry: { auditEventDestination: ['log'] },
      stored: { bot: { auditEventDestination: ['log'] } },
    },
  ],
  runAsUser: [{ entry: { runAsUser: true }, stored: { bot: { runAsUser: true } } }],
  publicWebhook: [
    { entry: { publicWebhook: true, ...POLICY }, stored: { bot: { publicWebhook: true } } },
  ],
  system: [{ entry: { system: true }, stored: { bot: { system: true } } }],
  rawBody: [{ entry: { rawBody: true }, refused: 'Invalid additional property "rawBody"' }],
  streamingEnabled: [
    { entry: { streamingEnabled: true }, stored: { bot: { streamingEnabled: true } } },
  ],
  category: [{ entry: { category: ['x'] }, stored: { bot: { category: [{ text: 'x' }] } } }],
  cdsService: [
    {
      entry: { cdsService: { hook: 'patient-view', title: 'Notes', description: 'Shows notes' } },
      stored: { bot: { cdsService: { hook: 'patient-view', title: 'Notes' } } },
    },
  ],
  subscriptions: [
    {
      entry: {
        subscriptions: [
          {
            criteria: 'Task?status=ready',
            interactions: ['create'],
            preCommit: true,
            payload: 'application/fhir+json',
            headers: ['X-Reason: arrival'],
            secret: 'TOKEN',
            end: '2030-01-01T00:00:00Z',
            maxAttempts: 3,
            expression: 'Task.status = "ready"',
          },
        ],
      },
      stored: {
        subscriptions: [
          {
            criteria: 'Task?status=ready',
            end: '2030-01-01T00:00:00Z',
            channel: { payload: 'application/fhir+json', header: ['X-Reason: arrival'] },
            extension: extension('pre-commit-bot', {}),
          },
        ],
      },
    },
    {
      entry: { subscriptions: [{ criteria: 'Task', secret: 'NOWHERE' }] },
      refused: 'NOWHERE',
    },
  ],
  accessPolicy: [
    { entry: { accessPolicy: [RULE] }, stored: { policy: { resource: [STORED_RULE] } } },
    {
      entry: {
        accessPolicy: {
          resources: [RULE],
          compartment: '%patient',
          ipAccessRules: [{ value: '*', action: 'allow' }],
          parameters: { patient: 'Patient/1' },
        },
      },
      stored: {
        policy: {
          resource: [STORED_RULE],
          compartment: { reference: '%patient' },
          ipAccessRule: [{ value: '*', action: 'allow' }],
        },
        membership: { access: [{ parameter: [{ name: 'patient' }] }] },
      },
    },
    { entry: { accessPolicy: 'Bots that read' }, stored: { policy: { name: 'Bots that read' } } },
    {
      entry: { accessPolicy: { policy: 'Bots that read', parameters: { patient: 'Patient/1' } } },
      stored: {
        policy: { name: 'Bots that read' },
        membership: { access: [{ parameter: [{ name: 'patient' }] }] },
      },
    },
    {
      entry: { accessPolicy: 'Bots that fly' },
      refused: 'the project has no access policy with the name "Bots that fly"',
    },
  ],
  secrets: [
    { entry: { secrets: ['TOKEN', { name: 'OTHER', optional: true }] }, stored: { bot: {} } },
    { entry: { secrets: ['OTHER'] }, refused: 'OTHER' },
  ],
  environments: [
    {
      entry: { timeout: 30, environments: { local: { timeout: 60 } } },
      stored: { bot: { timeout: 60 } },
    },
    {
      entry: {
        timeout: 30,
        environments: { local: { timeout: null }, production: { timeout: 5 } },
      },
      stored: { bot: expect.not.objectContaining({ timeout: 30 }) as unknown },
    },
    {
      entry: { id: ID, environments: { local: { id: OTHER_ID } } },
      stored: { bot: { id: OTHER_ID } },
    },
  ],
};

test('there is a case for every member', () => {
  expect(Object.keys(CASES).toSorted()).toEqual(Object.keys(botSchema.shape).toSorted());
});

const LIST = Object.entries(CASES).flatMap(([member, cases]) =>
  cases.map((settings, index) => ({ name: `${member}-${index}`, ...settings })),
);

test.each(LIST)('$name', async ({ name, entry, stored, refused }) => {
  const root = writeRepository([{ name, ...entry }]);
  const { failed } = await run(medplum, root).catch((error: Error) => ({
    failed: [{ message: error.message }],
  }));
  const messages = failed.map(({ message }) => message);
  if (refused !== undefined) {
    expect(messages).toEqual([expect.stringContaining(refused)]);
    return;
  }
  expect(messages).toEqual([]);
  expect(await storedFor(name)).toMatchObject(stored ?? {});
  expect((await run(medplum, root)).writes, 'the second run').toEqual([]);
});

async function storedFor(name: string): Promise<Stored> {
  const bot = (await all<Bot>(medplum, 'Bot')).find((found) => found.name === name)!;
  const reference = `Bot/${bot.id}`;
  const members = await all<ProjectMembership>(medplum, 'ProjectMembership');
  const membership = members.find(({ profile }) => profile.reference === reference)!;
  const policies = await all<AccessPolicy>(medplum, 'AccessPolicy');
  const policy = policies.find(({ id }) =>
    JSON.stringify(membership).includes(`AccessPolicy/${id}`),
  );
  const subscriptions = await all<Subscription>(medplum, 'Subscription');
  return {
    bot,
    membership,
    policy,
    subscriptions: subscriptions.filter(({ channel }) => channel.endpoint === reference),
  };
}
