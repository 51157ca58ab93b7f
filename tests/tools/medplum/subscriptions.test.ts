// What makes bots run by themselves: subscriptions with all their conditions, pre-commit bots,
// cron.
import { createHmac } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Bot } from '@medplum/fhirtypes';
import type { WithId } from '@medplum/core';
import { ECHO, eventually, startTestServer, UNKNOWN_ID } from './support.ts';
import type { TestServer } from './support.ts';

let medplum: TestServer;
beforeAll(async () => void (medplum = await startTestServer()));
afterAll(() => medplum.server.stop());

const EXTENSION = 'https://medplum.com/fhir/StructureDefinition';
let subscriptions: string[] = [];
afterEach(async () => {
  for (const id of subscriptions) {
    await medplum.call('DELETE', `fhir/R4/Subscription/${id}`);
  }
  subscriptions = [];
});

async function subscribe(
  bot: string,
  members: Record<string, unknown> = {},
  header?: string[],
): Promise<string> {
  const channel = { type: 'rest-hook', endpoint: `Bot/${bot}`, ...(header ? { header } : {}) };
  const body = {
    resourceType: 'Subscription',
    status: 'active',
    reason: 'test',
    criteria: 'Patient',
    channel,
    ...members,
  };
  const { id } = (await medplum.call('POST', 'fhir/R4/Subscription', body)).body;
  subscriptions.push(id);
  return id;
}
const interaction = (valueCode: string) => ({
  url: `${EXTENSION}/subscription-supported-interaction`,
  valueCode,
});
const create = async (members: object = {}) =>
  (await medplum.call('POST', 'fhir/R4/Patient', { resourceType: 'Patient', ...members })).body;
const put = (body: { id: string }) => medplum.call('PUT', `fhir/R4/Patient/${body.id}`, body);

/** What an echoing bot was told, newest first, once it ran as often as said. */
async function told(bot: string, times: number): Promise<{ input: any; headers: any }[]> {
  const audits = await eventually(
    () => medplum.audits(bot),
    (list) => list.length >= times,
  );
  expect(audits).toHaveLength(times);
  return audits.map(({ outcomeDesc }) => JSON.parse(outcomeDesc!));
}

/** A marker: runs that were going to happen before it have happened once it has. */
async function settled(): Promise<void> {
  const bot = await medplum.bot(ECHO, { name: 'marker' });
  const id = await subscribe(bot, { criteria: 'Basic' });
  await medplum.call('POST', 'fhir/R4/Basic', { resourceType: 'Basic', code: { text: 'x' } });
  await told(bot, 1);
  await medplum.call('DELETE', `fhir/R4/Subscription/${id}`);
}

describe('a subscription', () => {
  it('tells of create, update and delete, not of a PUT that changes nothing', async () => {
    const bot = await medplum.bot(ECHO);
    const id = await subscribe(bot, {}, ['X-Reason: a test']);
    const patient = await create({ active: true });
    await told(bot, 1);
    const changed = (await put({ ...patient, active: false })).body;
    await told(bot, 2);
    await put(changed);
    await medplum.call('DELETE', `fhir/R4/Patient/${patient.id}`);
    const [deleted, updated, created] = await told(bot, 3);
    expect(created!.input).toMatchObject({ id: patient.id, active: true });
    expect(updated!.input).toMatchObject({ id: patient.id, active: false });
    expect(deleted!.input.deletedResource).toMatchObject({ id: patient.id, active: false });
    expect(deleted!.headers).toMatchObject({
      'X-Medplum-Subscription': id,
      'X-Medplum-Interaction': 'delete',
      'X-Medplum-Deleted-Resource': `Patient/${patient.id}`,
      'X-Reason': 'a test',
    });
  });

  it('fires for a restored resource as an update', async () => {
    const bot = await medplum.bot(ECHO);
    const patient = await create();
    await medplum.call('DELETE', `fhir/R4/Patient/${patient.id}`);
    await subscribe(bot);
    await put(patient);
    const [restored] = await told(bot, 1);
    expect(restored!.headers['X-Medplum-Interaction']).toBe('update');
  });

  it('signs what it sends', async () => {
    const bot = await medplum.bot(ECHO);
    const url = 'https://www.medplum.com/fhir/StructureDefinition/subscription-secret';
    await subscribe(bot, { extension: [{ url, valueString: 'topsecret' }] });
    await create();
    const [event] = await told(bot, 1);
    const expected = createHmac('sha256', 'topsecret')
      .update(JSON.stringify(event!.input))
      .digest('hex');
    expect(event!.headers['X-Signature']).toBe(expected);
  });

  it('fires only for its interactions, criteria and expression', async () => {
    const bot = await medplum.bot(ECHO);
    await subscribe(bot, { criteria: 'Patient?gender=other', extension: [interaction('create')] });
    const url = `${EXTENSION}/fhir-path-criteria-expression`;
    const expression = { url, valueString: '%previous.active != %current.active' };
    await subscribe(bot, { extension: [interaction('update'), expression] });
    const male = await create({ gender: 'male', active: true });
    const other = await create({ gender: 'other' });
    const [first] = await told(bot, 1);
    expect(first!.input.id).toBe(other.id);
    await put({ ...male, gender: 'female' });
    await put({ ...male, active: false });
    const [second] = await told(bot, 2);
    expect(second!.input).toMatchObject({ id: male.id, active: false });
    await medplum.call('DELETE', `fhir/R4/Patient/${male.id}`);
    await settled();
    await told(bot, 2);
  });

  it.each([
    ['whose criteria name no type', { criteria: '???' }],
    ['whose criteria name an unknown type', { criteria: 'Foo?bar=1' }],
    ['whose criteria have an unknown parameter', { criteria: 'Patient?nope=1' }],
    [
      'whose expression does not evaluate',
      { extension: [{ url: `${EXTENSION}/fhir-path-criteria-expression`, valueString: '((' }] },
    ],
    ['that is off', { status: 'off' }],
  ])('%s is accepted and never fires', async (_what, fields) => {
    const bot = await medplum.bot(ECHO);
    await subscribe(bot, fields);
    await create();
    await settled();
    await told(bot, 0);
  });

  it('of a bot without a membership, or of no bot, never runs; a warning says so', async () => {
    const warnings: string[] = [];
    medplum.server.events.on('warning', (line) => warnings.push(line));
    const { id } = (
      await medplum.call('POST', 'fhir/R4/Bot', {
        resourceType: 'Bot',
        name: 'alone',
        runtimeVersion: 'vmcontext',
      })
    ).body;
    await medplum.call('POST', `fhir/R4/Bot/${id}/$deploy`, { code: ECHO });
    await subscribe(id);
    await subscribe(UNKNOWN_ID);
    await create();
    await settled();
    await told(id, 0);
    expect(warnings.join()).toContain('Bot alone did not run: it has no ProjectMembership');
    expect(warnings.join()).toContain('which does not exist');
  });

  it('does not run a bot again that throws', async () => {
    const bot = await medplum.bot(
      `exports.handler = async () => { console.log('about to fail'); throw new Error('boom'); };`,
    );
    await subscribe(bot);
    await create();
    const [audit] = await eventually(
      () => medplum.audits(bot),
      (list) => list.length > 0,
    );
    expect(audit!.outcome).toBe('4');
    expect(audit!.outcomeDesc).toMatch(/^about to fail\nUnhandled error: boom\nError: boom\n/);
    await settled();
    expect(await medplum.audits(bot)).toHaveLength(1);
  });

  it('among several runs all of them, at the same time', async () => {
    // Each waits for the patient that the other one makes: one after the other would never end
    // well.
    const code = (own: string, others: string): string => `exports.handler = async (medplum) => {
      await medplum.createResource({ resourceType: 'Basic', code: { text: '${own}' } });
      for (let n = 0; n < 200; n++) {
        const all = await medplum.searchResources('Basic', '_count=1000', { cache: 'reload' });
        if (all.some((one) => one.code.text === '${others}')) return true;
        await require('node:timers/promises').setTimeout(20);
      }
      throw new Error('alone');
    };`;
    const [first, second] = [
      await medplum.bot(code('one', 'two')),
      await medplum.bot(code('two', 'one')),
    ];
    await subscribe(first);
    await subscribe(second);
    await create();
    for (const bot of [first, second]) {
      const [audit] = await eventually(
        () => medplum.audits(bot),
        (list) => list.length > 0,
      );
      expect(audit!.outcome).toBe('0');
    }
  });
});

describe('a pre-commit bot', () => {
  const extension = [{ url: `${EXTENSION}/pre-commit-bot`, valueBoolean: true }];
  it('can refuse and change what is written, and gets the resource itself on delete', async () => {
    const bot = await medplum.bot(`exports.handler = async (medplum, event) => {
      console.log(JSON.stringify({ input: event.input, headers: event.headers }));
      if (event.input.gender === 'unknown') throw new Error('vetoed');
      return { ...event.input, gender: 'female' };
    };`);
    await subscribe(bot, { extension });
    const refused = await medplum.call('POST', 'fhir/R4/Patient', {
      resourceType: 'Patient',
      gender: 'unknown',
    });
    expect({ status: refused.status, text: refused.body.issue[0].details.text }).toEqual({
      status: 400,
      text: 'vetoed',
    });
    const made = await create();
    expect(made.gender).toBe('female');
    await medplum.call('DELETE', `fhir/R4/Patient/${made.id}`);
    const [audit] = await medplum.audits(bot);
    const { input, headers } = JSON.parse(audit!.outcomeDesc!);
    expect(input).toMatchObject({ resourceType: 'Patient', id: made.id });
    expect(headers).toEqual({ 'X-Medplum-Deleted-Resource': `Patient/${made.id}` });
  });

  it('that is off is not asked', async () => {
    const bot = await medplum.bot(`exports.handler = async () => { throw new Error('vetoed'); };`);
    await subscribe(bot, { extension, status: 'off' });
    expect(
      (await medplum.call('POST', 'fhir/R4/Patient', { resourceType: 'Patient' })).status,
    ).toBe(201);
  });

  it('does not let several conditional writes through while it thinks', async () => {
    const wait = `await require('node:timers/promises').setTimeout(30);`;
    await subscribe(await medplum.bot(`exports.handler = async () => { ${wait} };`), { extension });
    const body = { resourceType: 'Patient', identifier: [{ system: 'urn:test', value: 'slow' }] };
    const write = () => medplum.call('PUT', 'fhir/R4/Patient?identifier=urn:test|slow', body);
    const answers = await Promise.all([write(), write(), write()]);
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 200, 201]);
  });
});

describe('more than 1,000 active subscriptions', () => {
  it('are not looked at', async () => {
    const { repository } = medplum.server;
    const channel = { type: 'rest-hook' as const, endpoint: `Bot/${UNKNOWN_ID}` };
    const filler = {
      resourceType: 'Subscription' as const,
      status: 'active' as const,
      reason: 'x',
      criteria: 'Task',
      channel,
    };
    for (let n = 0; n < 1000; n++) {
      subscriptions.push((await repository.createResource(filler)).id);
    }
    const bot = await medplum.bot(ECHO);
    await subscribe(bot);
    const patient = await create();
    await medplum.call('DELETE', `fhir/R4/Subscription/${subscriptions[0]}`);
    await put({ ...patient, active: true });
    const [only] = await told(bot, 1);
    expect(only!.headers['X-Medplum-Interaction']).toBe('update');
  });
});

describe('cron', () => {
  it('gives the bot itself as input, without a requester', async () => {
    const id = await medplum.bot(ECHO);
    await medplum.call('PATCH', `fhir/R4/Bot/${id}`, [
      { op: 'add', path: '/cronString', value: '*/5 * * * *' },
    ]);
    await medplum.server.runCron(
      await medplum.server.repository.readResource<WithId<Bot>>('Bot', id),
    );
    const [event] = await told(id, 1);
    expect(event!.input).toMatchObject({ resourceType: 'Bot', id });
    expect(event!.headers).toBeUndefined();
  });

  it.each(['not a cron', '* * * * * *', '99 * * * *', '@daily'])(
    'ignores %j',
    async (cronString) => {
      const id = await medplum.bot(ECHO);
      const answer = await medplum.call('PATCH', `fhir/R4/Bot/${id}`, [
        { op: 'add', path: '/cronString', value: cronString },
      ]);
      expect(answer.status).toBe(200);
      expect((await medplum.anonymous('GET', 'healthcheck')).status).toBe(200);
    },
  );
});
