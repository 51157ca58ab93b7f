// Every setting of medplum.config.json on its way to the server: webhooks, named policies,
// schedules, environments, and what a plan says about bots that were renamed, removed, or switched
// off.
import type {
  AccessPolicy,
  Bot,
  Cron,
  Project,
  ProjectMembership,
  Subscription,
} from '@medplum/fhirtypes';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Actual } from '../../tools/src/deploy/actual.ts';
import { loadDesired } from '../../tools/src/deploy/desired.ts';
import { plan } from '../../tools/src/deploy/plan.ts';
import type { Stored } from '../../tools/src/deploy/stored.ts';
import {
  NO_ADMIN,
  PROJECT,
  SYSTEM,
  all,
  run,
  signIn,
  startProxiedMedplum,
  writeRepository,
} from './harness.ts';
import type { TestBot, ProxiedMedplum } from './harness.ts';

let medplum: ProxiedMedplum;
beforeEach(async () => {
  medplum = await startProxiedMedplum();
});
afterEach(() => medplum.stop());

const BOT: TestBot = { name: 'sync-bot', subscriptions: [{ criteria: 'Patient' }] };
const bot = async (): Promise<Bot> => (await all<Bot>(medplum, 'Bot'))[0]!;
const membership = async (): Promise<ProjectMembership> => {
  const { id } = await bot();
  const members = await all<ProjectMembership>(medplum, 'ProjectMembership');
  return members.find(({ profile }) => profile.reference === `Bot/${id}`)!;
};
const lineOf = (lines: string[], name: string): string =>
  lines.find((line) => line.slice(2).startsWith(name)) ?? '';

/** A project without bots. */
const NOTHING: Actual = {
  projectId: PROJECT,
  isLocalMedplum: true,
  project: { resourceType: 'Project', features: ['bots', 'cron'] },
  bots: [],
  memberships: [],
  subscriptions: [],
  policies: [],
  crons: [],
  hasCrons: true,
  resources: [],
};
const OPTIONS = { force: false, prune: true, skipFailed: false, forAdmin: false };

async function deployTwice(bots: TestBot[], environment?: string): Promise<void> {
  const root = writeRepository(bots);
  const options = environment === undefined ? {} : { environment };
  expect((await run(medplum, root, options)).failed).toEqual([]);
  expect((await run(medplum, root, options)).writes, 'the second run').toEqual([]);
}

describe('the settings of a bot', () => {
  it('reach the Bot, and leave it when the configuration no longer has them', async () => {
    const accessPolicy = [{ resourceType: 'Patient' }];
    const cdsService = {
      hook: 'patient-view',
      title: 'Notes',
      description: 'Shows notes',
      prefetch: { patient: 'Patient/{{context.patientId}}' },
    };
    await deployTwice([
      {
        ...BOT,
        accessPolicy,
        publicWebhook: true,
        streamingEnabled: true,
        cdsService,
        category: ['x'],
      },
    ]);
    expect(await bot()).toMatchObject({
      publicWebhook: true,
      streamingEnabled: true,
      category: [{ text: 'x' }],
      cdsService: {
        hook: 'patient-view',
        prefetch: [{ key: 'patient', query: 'Patient/{{context.patientId}}' }],
      },
    });
    await deployTwice([{ ...BOT, accessPolicy }]);
    const now = await bot();
    expect(now.publicWebhook, 'no one may call it any more').toBeUndefined();
    expect(now.cdsService).toBeUndefined();
    expect(now.category, 'left alone if it is not named').toEqual([{ text: 'x' }]);
  });

  it('have other values in another environment', async () => {
    const environments = { staging: { timeout: 90, cron: '0 4 * * *' } };
    await deployTwice([{ ...BOT, timeout: 20, environments }]);
    expect(await bot()).toMatchObject({ timeout: 20 });
    await deployTwice([{ ...BOT, timeout: 20, environments }], 'staging');
    const [, staging] = await all<Bot>(medplum, 'Bot');
    expect(staging).toMatchObject({ timeout: 90, cronString: '0 4 * * *' });
  });
});

describe('the subscriptions of a bot', () => {
  it('have what the configuration says, with the value of a project secret', async () => {
    const project = await medplum.server.repository.readResource<Project>('Project', PROJECT);
    await medplum.server.repository.updateResource({
      ...project,
      secret: [{ name: 'SIGNATURE', valueString: 'topsecret' }],
    });
    const subscription = {
      criteria: 'Patient',
      interactions: ['create'],
      preCommit: true,
      maxAttempts: 3,
      payload: 'application/fhir+json',
      secret: 'SIGNATURE',
      end: '2030-01-01T00:00:00Z',
    };
    const root = writeRepository([{ ...BOT, subscriptions: [subscription] }]);
    const { lines, failed } = await run(medplum, root);
    expect(failed).toEqual([]);
    expect(lines.join('\n')).not.toContain('topsecret');
    const [stored] = await all<Subscription>(medplum, 'Subscription');
    expect(stored).toMatchObject({
      end: '2030-01-01T00:00:00Z',
      channel: { payload: 'application/fhir+json' },
    });
    const values = (stored?.extension ?? []).map(
      ({ url, ...value }) => [url.split('/').at(-1), Object.values(value)[0]] as const,
    );
    expect(values).toEqual([
      ['subscription-supported-interaction', 'create'],
      ['pre-commit-bot', true],
      ['subscription-max-attempts', 3],
      ['subscription-secret', 'topsecret'],
    ]);
    expect((await run(medplum, root)).writes).toEqual([]);
  });

  it('keep their signature if credentials that cannot read secrets deploy them', async () => {
    const project = await medplum.server.repository.readResource<Project>('Project', PROJECT);
    await medplum.server.repository.updateResource({
      ...project,
      secret: [{ name: 'SIGNATURE', valueString: 'topsecret' }],
    });
    const signed = { criteria: 'Patient', secret: 'SIGNATURE' };
    const root = writeRepository([{ ...BOT, subscriptions: [signed] }]);
    expect((await run(medplum, root)).failed).toEqual([]);
    const before = await all<Subscription>(medplum, 'Subscription');
    expect(JSON.stringify(before)).toContain('topsecret');
    writeRepository([BOT], root);
    const { lines } = await run(medplum, root);
    expect(lineOf(lines, 'sync-bot')).toBe('~ sync-bot  subscription (Patient: extension changed)');
    writeRepository([{ ...BOT, subscriptions: [signed] }], root);
    expect((await run(medplum, root)).failed).toEqual([]);

    signIn(medplum, NO_ADMIN);
    expect((await run(medplum, root)).writes, 'an unchanged one').toEqual([]);
    const code = 'exports.handler = async () => 2;\n';
    writeRepository([{ ...BOT, code, subscriptions: [signed] }], root);
    expect((await run(medplum, root)).failed, 'new code').toEqual([]);
    const [{ extension }] = (await all<Subscription>(medplum, 'Subscription')) as [Subscription];
    expect(extension).toEqual(before[0]!.extension);

    const added = { criteria: 'Task', secret: 'SIGNATURE' };
    writeRepository([{ ...BOT, code, subscriptions: [signed, added] }], root);
    const { failed, writes } = await run(medplum, root);
    expect(failed).toEqual([
      {
        name: 'sync-bot',
        message:
          'a subscription is new or changed and signed with SIGNATURE, ' +
          'and only a project admin can read secrets',
      },
    ]);
    expect(writes).toEqual([]);
  });

  it('are switched on again, and the plan says why the server switched them off', async () => {
    const root = writeRepository([BOT]);
    await run(medplum, root);
    const [stored] = await all<Subscription>(medplum, 'Subscription');
    await medplum.server.repository.updateResource({
      ...stored!,
      status: 'error',
      error: 'too many\nfailures',
    });
    const { lines } = await run(medplum, root);
    expect(lineOf(lines, 'sync-bot')).toBe(
      '~ sync-bot  subscription (was off: Patient; error: too many failures)',
    );
    const [now] = await all<Subscription>(medplum, 'Subscription');
    expect(now).toMatchObject({ status: 'active' });
    expect(now).not.toHaveProperty('error');
  });

  it('are adopted if they name the bot by its identifier, which Medplum never runs', async () => {
    await run(medplum, writeRepository([{ ...BOT, subscriptions: [] }]));
    const endpoint = 'Bot?identifier=urn:medplum-bots:test|local/sync-bot';
    await medplum.server.repository.createResource<Subscription>({
      resourceType: 'Subscription',
      status: 'active',
      reason: 'by hand',
      criteria: 'Patient',
      channel: { type: 'rest-hook', endpoint },
    });
    expect((await run(medplum, writeRepository([BOT]))).failed).toEqual([]);
    const subscriptions = await all<Subscription>(medplum, 'Subscription');
    expect(subscriptions.map(({ channel }) => channel?.endpoint)).toEqual([
      `Bot/${(await bot()).id}`,
    ]);
  });
});

describe('the access policy of a bot', () => {
  const createPolicy = (name: string): Promise<AccessPolicy> =>
    medplum.server.repository.createResource<AccessPolicy>({
      resourceType: 'AccessPolicy',
      name,
      resource: [{ resourceType: 'Patient' }],
    });

  it('can be one that the project has, with parameters', async () => {
    const { id } = await createPolicy('Nurses');
    const parameters = { ward: 'A', clinic: { reference: 'Organization/1' } };
    await deployTwice([{ ...BOT, accessPolicy: { policy: 'Nurses', parameters } }]);
    expect((await membership()).access).toEqual([
      {
        policy: { reference: `AccessPolicy/${id}` },
        parameter: [
          { name: 'ward', valueString: 'A' },
          { name: 'clinic', valueReference: { reference: 'Organization/1' } },
        ],
      },
    ]);
    await deployTwice([{ ...BOT, accessPolicy: 'Nurses' }]);
    const { access, accessPolicy } = await membership();
    expect([access, accessPolicy?.reference]).toEqual([undefined, `AccessPolicy/${id}`]);
  });

  it('blocks the bot alone if the project has none, or two, of that name', async () => {
    const root = writeRepository([{ ...BOT, accessPolicy: 'Nurses' }, { name: 'other-bot' }]);
    const first = await run(medplum, root);
    expect(first.changed).toEqual(['other-bot']);
    expect(first.failed).toEqual([
      { name: 'sync-bot', message: 'the project has no access policy with the name "Nurses"' },
    ]);
    await createPolicy('Nurses');
    await createPolicy('Nurses');
    expect((await run(medplum, root)).failed[0]?.message).toContain('several access policies');
  });
});

describe('the schedules of a bot', () => {
  const jobs = [
    { name: 'night', cron: '0 3 * * *', parameters: { full: true, limit: 10 } },
    { name: 'noon', cron: '0 12 * * *', active: false },
  ];

  const cron = (name: string, members: Partial<Cron>): Cron & { id: string } => ({
    resourceType: 'Cron',
    id: name,
    active: true,
    cronString: '0 3 * * *',
    targetReference: { reference: 'Bot/b' },
    onBehalfOf: { reference: 'ProjectMembership/m' },
    meta: { tag: [{ system: `${SYSTEM}/cron`, code: `local/sync-bot/${name}` }] },
    ...members,
  });

  it('are Cron resources that run with the rights of the bot', () => {
    const desired = loadDesired(writeRepository([{ ...BOT, cronJobs: jobs }]), 'local');
    const { steps } = plan(desired, NOTHING, OPTIONS).changes[0]!;
    const types = steps.map((step) => (step.type === 'write' ? step.resourceType : step.type));
    expect(types.indexOf('Cron')).toBeGreaterThan(types.indexOf('ProjectMembership'));
    const crons = steps.filter((step) => step.type === 'write' && step.resourceType === 'Cron');
    expect(crons).toHaveLength(2);
    expect(crons[0]).toMatchObject({
      fields: {
        active: true,
        cronString: '0 3 * * *',
        targetReference: { reference: 'Bot/local/sync-bot' },
        onBehalfOf: { reference: 'ProjectMembership/local/sync-bot' },
        parameter: [
          { name: 'full', valueBoolean: true },
          { name: 'limit', valueInteger: 10 },
        ],
      },
    });
  });

  it('are changed in place, and removed with --prune', () => {
    const cronJobs = [{ name: 'night', cron: '0 4 * * *' }];
    const desired = loadDesired(writeRepository([{ ...BOT, cronJobs }]), 'local');
    const identifier = [{ system: SYSTEM, value: 'local/sync-bot' }];
    const actual: Actual = {
      ...NOTHING,
      bots: [{ resourceType: 'Bot', id: 'b', identifier }],
      memberships: [
        {
          resourceType: 'ProjectMembership',
          id: 'm',
          project: { reference: `Project/${PROJECT}` },
          user: { reference: 'Bot/b' },
          profile: { reference: 'Bot/b' },
        },
      ],
      crons: [cron('night', {}), cron('noon', {})],
    };
    const { steps, reasons } = plan(desired, actual, OPTIONS).changes[0]!;
    expect(reasons).toContainEqual({ type: 'cron-changed', job: 'night', members: ['cronString'] });
    expect(reasons).toContainEqual({ type: 'cron-unwanted', job: 'noon', removed: true });
    const written = steps.filter((step) => step.type === 'write' && step.resourceType === 'Cron');
    expect(written).toMatchObject([
      { existing: { id: 'night' }, fields: { cronString: '0 4 * * *' } },
    ]);
    expect(steps.at(-1)).toMatchObject({ type: 'remove', existing: { id: 'noon' } });
  });

  const stored = {
    bots: [
      {
        resourceType: 'Bot' as const,
        id: 'b',
        identifier: [{ system: SYSTEM, value: 'local/sync-bot' }],
      },
    ],
    project: undefined,
    memberships: undefined,
  };
  const night = { name: 'night', cron: '0 3 * * *' };
  const planWithoutAdmin = (cronJobs: object[], actual: Partial<Actual>, forAdmin = false) => {
    const desired = loadDesired(writeRepository([{ ...BOT, cronJobs }]), 'local');
    const options = { ...OPTIONS, forAdmin };
    return plan(desired, { ...NOTHING, ...stored, ...actual }, options).changes[0]!;
  };

  it('stay as they are for credentials that do not see the membership', () => {
    const { steps } = planWithoutAdmin([night], { crons: [cron('night', {})] });
    const types = steps.flatMap((step) => (step.type === 'write' ? step.resourceType : []));
    expect(types).not.toContain('Cron');
  });

  it('are not created by credentials that do not see the membership', () => {
    expect(planWithoutAdmin([night], {})).toMatchObject({
      action: 'blocked',
      reasons: [{ type: 'cron-needs-admin', jobs: ['night'] }],
    });
    expect(planWithoutAdmin([night], {}, true)).toMatchObject({
      action: 'change',
      reasons: expect.arrayContaining([expect.objectContaining({ type: 'cron-new' })]),
    });
    const given = { ...night, onBehalfOf: 'ProjectMembership/m' };
    expect(planWithoutAdmin([given], {}).action).toBe('change');
  });

  it('block the bot if the credentials may not read them, with this reason', () => {
    expect(planWithoutAdmin([night], { crons: undefined }).reasons).toEqual([
      { type: 'cron-forbidden' },
    ]);
  });

  it('block the bot on a server that has no such resources', async () => {
    const { failed } = await run(medplum, writeRepository([{ ...BOT, cronJobs: jobs }]));
    expect(failed.map(({ message }) => message)).toEqual([
      'this server has no Cron resources: "cronJobs" needs Medplum 5.2',
    ]);
  });
});

describe('the "id" of a bot', () => {
  const ID = 'b0b0b0b0-0000-4000-8000-000000000001';
  const OTHER_ID = 'b0b0b0b0-0000-4000-8000-000000000002';
  const withIdentifier = (id: string): Stored<Bot> => ({
    resourceType: 'Bot',
    id,
    identifier: [{ system: SYSTEM, value: 'local/sync-bot' }],
  });
  const reasonsFor = (actual: Partial<Actual>): unknown => {
    const desired = loadDesired(writeRepository([{ ...BOT, id: ID }]), 'local');
    return plan(desired, { ...NOTHING, isLocalMedplum: false, ...actual }, OPTIONS).changes[0]!
      .reasons;
  };

  it('has to exist on a real server', () => {
    expect(reasonsFor({ bots: [] })).toEqual([{ type: 'id-unknown', id: ID }]);
    expect(reasonsFor({ bots: [withIdentifier(OTHER_ID)] })).toEqual([
      { type: 'id-mismatch', id: ID, foundId: OTHER_ID, identifier: 'local/sync-bot' },
    ]);
  });

  it('becomes the id of the new bot on the local Medplum', async () => {
    const { changed } = await run(medplum, writeRepository([{ ...BOT, id: ID }]));
    expect(changed).toEqual(['sync-bot']);
    expect((await bot()).id).toBe(ID);
  });

  it('does not count on the local Medplum if the bot exists there already', async () => {
    await run(medplum, writeRepository([BOT]));
    const { id } = await bot();
    const { failed, writes } = await run(medplum, writeRepository([{ ...BOT, id: ID }]));
    expect(failed).toEqual([]);
    expect(writes).toEqual([]);
    expect((await bot()).id).toBe(id);
  });

  it('does not hide a previous name on the local Medplum', async () => {
    await run(medplum, writeRepository([{ ...BOT, name: 'old-bot' }]));
    const { id } = (await all<Bot>(medplum, 'Bot'))[0]!;
    const renamed = { ...BOT, id: ID, previousNames: ['old-bot'] };
    const { lines } = await run(medplum, writeRepository([renamed]));
    expect(lineOf(lines, 'sync-bot')).toContain('renamed (was old-bot)');
    expect((await bot()).id).toBe(id);
  });
});

describe('a bot that the configuration no longer has', () => {
  it('is reported as still running, with what starts it', async () => {
    await run(medplum, writeRepository([{ ...BOT, cron: '0 3 * * *' }]));
    const { lines } = await run(medplum, writeRepository([]));
    expect(lineOf(lines, 'sync-bot')).toContain(
      'it is still running, started by Patient; cron 0 3 * * *; --prune removes it',
    );
  });

  it('is recognised in a new one with the same code and triggers', async () => {
    const code = 'exports.handler = async () => 7;\n';
    await run(medplum, writeRepository([{ ...BOT, code }]));
    const root = writeRepository([{ ...BOT, name: 'patient-bot', code }]);
    const { lines, changes } = await run(medplum, root);
    expect(lineOf(lines, 'sync-bot')).toContain(
      'if it is patient-bot now, add its old name to "previousNames" of patient-bot',
    );
    expect(changes.find(({ name }) => name === 'sync-bot')?.reasons).toMatchObject([
      { type: 'not-configured', renamedTo: 'patient-bot', removal: { type: 'prune' } },
    ]);
  });
});

describe('a bot whose file was renamed', () => {
  const shared = { 'src/shared/word.ts': 'export const WORD = 1;' };
  const bundleOf = (name: string): string =>
    `var ${name}_exports = {};\nexports.handler = async () => 7;\n`;

  it.each([
    ['the same', '// greets\n', 'patient-bot'],
    ['another', '// greets twice\n', undefined],
  ])('is recognised by its source, %s', async (_, sourceText, renamedTo) => {
    const before = { ...BOT, shared, code: bundleOf('sync_bot'), sourceText: '// greets\n' };
    await run(medplum, writeRepository([before]));
    const after = { ...before, name: 'patient-bot', code: bundleOf('patient_bot'), sourceText };
    const { changes } = await run(medplum, writeRepository([after]));
    expect(changes.find(({ name }) => name === 'sync-bot')?.reasons).toMatchObject([
      { type: 'not-configured', renamedTo },
    ]);
  });
});

describe('with skipFailed', () => {
  it('deploys the other bots, and names the one that lacks a secret or a bundle', async () => {
    const root = writeRepository([
      { ...BOT, secrets: ['TOKEN'] },
      { name: 'broken-bot', buildErrors: ['src/bots/broken-bot.ts exports no handler'] },
      { name: 'good-bot' },
    ]);
    await expect(run(medplum, root)).rejects.toThrow(
      'broken-bot could not be built: src/bots/broken-bot.ts exports no handler',
    );
    const { changed, failed } = await run(medplum, root, { skipFailed: true });
    expect(changed).toEqual(['good-bot']);
    expect(failed.map(({ name }) => name)).toEqual(['sync-bot', 'broken-bot']);
    expect(failed[0]?.message).toBe('the project has no secret TOKEN');
  });
});
