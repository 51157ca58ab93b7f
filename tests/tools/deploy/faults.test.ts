// Each request of a deployment meets each fault. Each time, it is said in one line, what was
// not done is not called done, and the next run completes it.
import type { Questionnaire } from '@medplum/fhirtypes';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { UserError } from '../../tools/src/terminal/user-error.ts';
import { all, run, snapshot, startProxiedMedplum, state, writeRepository } from './harness.ts';
import type { Request, Run, TestBot, ProxyAction, ProxiedMedplum } from './harness.ts';

const policy = [{ resourceType: 'Patient', readonly: true }];

const BEFORE: TestBot[] = [
  {
    name: 'changed-bot',
    subscriptions: [{ criteria: 'Patient' }, { criteria: 'Task' }],
    accessPolicy: policy,
  },
  { name: 'gone-bot', subscriptions: [{ criteria: 'Patient' }] },
];

/** New code, a new policy, a new subscription, a removed one, a new bot, a bot that is gone. */
const AFTER: TestBot[] = [
  {
    name: 'changed-bot',
    code: 'exports.handler = async () => 2;\n',
    subscriptions: [{ criteria: 'Patient' }],
    accessPolicy: [{ resourceType: 'Task' }],
  },
  { name: 'new-bot', subscriptions: [{ criteria: 'Encounter' }], accessPolicy: policy },
];

const REQUESTS: Record<string, (request: Request) => boolean> = {
  'the sign-in': ({ path }) => path === 'oauth2/token',
  'reading the project': ({ method, path }) => method === 'GET' && path.startsWith('Project/'),
  'the searches': ({ method, path }) => method === 'POST' && path === '',
  'finding a resource': ({ method, path }) => method === 'GET' && path.startsWith('Questionnaire'),
  'the upload': ({ path }) => path === 'Binary',
  'creating a policy': ({ method, path }) => method === 'POST' && path === 'AccessPolicy',
  'changing a policy': ({ method, path }) => method === 'PATCH' && path.startsWith('AccessPolicy/'),
  'creating a bot': ({ method, path }) => method === 'POST' && path === 'Bot',
  'changing a bot': ({ method, path }) => method === 'PATCH' && path.startsWith('Bot/'),
  'the membership': ({ method, path }) => method === 'POST' && path === 'ProjectMembership',
  $deploy: ({ path }) => path.endsWith('/$deploy'),
  'creating a subscription': ({ method, path }) => method === 'POST' && path === 'Subscription',
  'switching a subscription off': ({ method, path }) =>
    method === 'PATCH' && path.startsWith('Subscription/'),
  'a removal': ({ method }) => method === 'DELETE',
  'changing a resource': ({ method, path }) =>
    method === 'PATCH' && path.startsWith('Questionnaire/'),
};

interface Fault {
  action: ProxyAction;
  /** How often; always, if left out. */
  times?: number;
}

const SOON = { 'Retry-After': '0' };
const DAY = 24 * 60 * 60 * 1000;
/** A server that asks to wait until a moment by its own clock, which is that long ahead. */
function at(ahead: number): Record<string, string> {
  const now = new Date(Date.now() + ahead).toUTCString();
  return { Date: now, 'Retry-After': now };
}
const outcome = {
  resourceType: 'OperationOutcome',
  issue: [{ severity: 'error', code: 'invalid', details: { text: 'No' } }],
};

const FAULTS: Record<string, Fault> = {
  '400': { action: { status: 400, body: outcome } },
  '403': { action: { status: 403, body: outcome } },
  '500 with a page': { action: { status: 500, text: '<html>Internal error</html>' } },
  '503 without end': { action: { status: 503, text: '', headers: SOON } },
  '202': { action: { status: 202, body: outcome } },
  '204': { action: { status: 204 } },
  'a login page': { action: { status: 200, text: '<html>Sign in</html>' } },
  'nothing at all': { action: { status: 200, text: 'null' } },
  'an empty object': { action: { status: 200, text: '{}' } },
  'another resource': { action: { status: 200, body: { resourceType: 'Patient', id: '1' } } },
  'an empty body': { action: { status: 200, text: '' } },
  '401 without end': { action: { status: 401, body: outcome } },
  '401 once': { action: { status: 401, body: outcome }, times: 1 },
  '429 twice': { action: { status: 429, body: outcome, headers: SOON }, times: 2 },
  '429 by a clock a day ahead': {
    action: { status: 429, body: outcome, headers: at(DAY) },
    times: 1,
  },
  '429 by a clock a day behind': {
    action: { status: 429, body: outcome, headers: at(-DAY) },
    times: 1,
  },
  'a line cut before': { action: 'cut before', times: 1 },
  'a line cut after': { action: 'cut after', times: 1 },
};

/** Faults that pass must not be noticed. */
const PASSING = [
  '401 once',
  '429 twice',
  '429 by a clock a day ahead',
  '429 by a clock a day behind',
  'a line cut before',
  'a line cut after',
];

let medplum: ProxiedMedplum;
let root: string;
let reset: () => void;
let wanted: unknown;

/** What counts about a project: bots with all that belongs to them, and the resource. */
async function everything(): Promise<unknown> {
  const questionnaires = await all<Questionnaire>(medplum, 'Questionnaire');
  return [await state(medplum), questionnaires.map(({ title, meta }) => [title, meta?.tag])];
}

function writeResource(title: string): void {
  const resource = { resourceType: 'Questionnaire', status: 'active', url: 'urn:test:q', title };
  mkdirSync(join(root, 'resources'), { recursive: true });
  writeFileSync(join(root, 'resources/q.json'), JSON.stringify(resource));
}

/** A deployment with everything that is planned, one bot after the other. */
const deployAll = (): Promise<Run> => run(medplum, root, { prune: true, concurrency: 1 });

beforeAll(async () => {
  medplum = await startProxiedMedplum();
  root = writeRepository(BEFORE);
  writeResource('before');
  expect((await run(medplum, root)).failed).toEqual([]);
  writeRepository(AFTER, root);
  writeResource('after');
  reset = snapshot(medplum);
  expect((await deployAll()).failed).toEqual([]);
  wanted = await everything();
});
afterAll(() => medplum.stop());

const CASES = Object.keys(REQUESTS).flatMap((request) =>
  Object.keys(FAULTS).map((fault) => ({ request, fault })),
);

describe('the table of faults', () => {
  it('has at least 120 cases', () => {
    expect(CASES.length).toBeGreaterThanOrEqual(120);
  });

  it.each(CASES)('$fault at $request', { timeout: 120_000 }, async ({ request, fault }) => {
    reset();
    const { action, times = Number.POSITIVE_INFINITY } = FAULTS[fault]!;
    let met = 0;
    medplum.rule = (sent) => (REQUESTS[request]!(sent) && met++ < times ? action : undefined);
    const messages = await deployAll().then(
      ({ failed }) => failed.map(({ message }) => message),
      (error: Error) => {
        expect(error, error.stack).toBeInstanceOf(UserError);
        return error.message.split('\n');
      },
    );
    expect(met, 'the fault was met').toBeGreaterThan(0);
    for (const message of messages) {
      expect(message).toMatch(/^\S[^\n]{10,}$/);
      expect(message).not.toMatch(/undefined|TypeError|Cannot read|\[object/);
    }
    if (messages.length === 0) {
      expect(await everything(), 'what was called done').toEqual(wanted);
    }
    // A 401 at the sign-in is an answer: these credentials are wrong.
    const isRefusal = fault === '401 once' && request === 'the sign-in';
    if (PASSING.includes(fault) && !isRefusal) {
      expect(messages).toEqual([]);
    }
    medplum.rule = () => undefined;
    expect((await deployAll()).failed, 'the next run').toEqual([]);
    expect(await everything()).toEqual(wanted);
  });
});

describe('a clock that is wrong', () => {
  afterEach(() => void vi.useRealTimers());

  it.each([
    ['ahead', DAY],
    ['behind', -DAY],
  ])('and a day %s changes nothing, then or when it is right again', async (_, offset) => {
    reset();
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + offset });
    expect((await deployAll()).failed).toEqual([]);
    expect(await everything()).toEqual(wanted);
    vi.useRealTimers();
    expect((await deployAll()).writes).toEqual([]);
    expect(await everything()).toEqual(wanted);
  });
});

describe('four deployments at the same time', () => {
  it('end in the same state, or say that another client was first', async () => {
    reset();
    const runs = await Promise.all([deployAll(), deployAll(), deployAll(), deployAll()]);
    for (const { message } of runs.flatMap(({ failed }) => failed)) {
      expect(message).toMatch(/another client|not as it should be|was answered with 4/);
    }
    expect((await deployAll()).failed).toEqual([]);
    expect(await everything()).toEqual(wanted);
  });
});
