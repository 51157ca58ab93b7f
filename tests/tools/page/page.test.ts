// What the page's server lets in and out, and what it pushes.
import { request } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BotList, ServerLog } from '../../tools/src/page/api-types.ts';
import { openPage } from './support.ts';
import { BOT, makeProject } from '../project.ts';
import type { PageServer } from './support.ts';

let medplum: PageServer;

beforeAll(async () => {
  medplum = await openPage();
});
afterAll(() => medplum.server.stop());

/** The status of a request with these headers, which `fetch` would not let through. */
async function statusOf(
  method: string,
  path: string,
  headers: Record<string, string>,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request(new URL(path, medplum.server.baseUrl), { method, headers }, (response) => {
      response.resume();
      resolve(response.statusCode!);
    });
    sent.on('error', reject);
    sent.end(method === 'POST' ? '{"resourceType":"Patient"}' : undefined);
  });
}

test('the document runs no inline script and loads nothing from elsewhere', async () => {
  const response = await fetch(medplum.server.baseUrl);
  const policy = response.headers.get('content-security-policy')!;
  expect(policy).not.toContain('unsafe');
  expect(policy).toContain("default-src 'none'");
  expect(policy).toContain("script-src 'self'");
  expect(await response.text()).not.toMatch(/https?:\/\//);
});

test('the script and the style are served', async () => {
  for (const [file, type] of [
    ['page.js', 'text/javascript'],
    ['page.css', 'text/css'],
  ] as const) {
    const response = await fetch(`${medplum.server.baseUrl}_local/${file}`);
    expect(response.status, file).toBe(200);
    expect(response.headers.get('content-type'), file).toContain(type);
  }
});

test('pages of other sites get nothing', async () => {
  const { host } = new URL(medplum.server.baseUrl);
  const evil = { Host: host, Origin: 'https://evil.example' };
  expect(await statusOf('POST', '_local/resources', evil)).toBe(403);
  expect(await statusOf('GET', '_local/runs', { Host: 'evil.example' })).toBe(403);
  expect(await statusOf('GET', '_local/runs', { Host: host })).toBe(200);
});

test('a run is pushed when it starts and when it ends', async () => {
  const id = await medplum.bot(
    `exports.handler = async () => {
      await require('node:timers/promises').setTimeout(400);
    };`,
    { name: 'pushed' },
  );
  const response = await fetch(`${medplum.server.baseUrl}_local/events`);
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  void medplum.execute(id);
  let text = '';
  while (!/event: run\ndata: .*"succeeded"/.test(text)) {
    text += (await reader.read()).value ?? '';
  }
  await reader.cancel();
  expect(text).toMatch(/event: hello\ndata: .*"server"/);
  expect(text).toMatch(/event: run\ndata: .*"pushed".*"running"/);
});

test('a bot is listed with its triggers, rights and what keeps it from running', async () => {
  const policy = await medplum.call('POST', 'fhir/R4/AccessPolicy', {
    resourceType: 'AccessPolicy',
    resource: [{ resourceType: 'Patient', readonly: true }, { resourceType: 'Task' }],
  });
  const accessPolicy = { reference: `AccessPolicy/${policy.body.id}` };
  const id = await medplum.bot(`exports.handler = async () => true;`, {
    name: 'listed',
    accessPolicy,
  });
  await medplum.call('POST', 'fhir/R4/Subscription', {
    resourceType: 'Subscription',
    status: 'active',
    reason: 'test',
    criteria: 'Patient?active=true',
    channel: { type: 'rest-hook', endpoint: `Bot/${id}` },
    extension: [
      {
        url: 'https://medplum.com/fhir/StructureDefinition/subscription-supported-interaction',
        valueCode: 'create',
      },
    ],
  });
  await medplum.execute(id);
  const { bots } = (await medplum.page<BotList>('GET', 'bots')).body;
  expect(bots.find(({ name }) => name === 'listed')).toMatchObject({
    id,
    hasMembership: true,
    subscriptions: [{ criteria: 'Patient?active=true', interactions: ['create'], active: true }],
    policy: [
      { resourceType: 'Patient', readonly: true },
      { resourceType: 'Task', readonly: false },
    ],
    runs: { total: 1, failed: 0, running: 0 },
  });
  const configured = bots.find(({ name }) => name === 'hapi-sync-bot');
  expect(configured).toMatchObject({ source: 'src/bots/hapi-sync-bot.ts' });
  expect(configured).not.toHaveProperty('id');
  expect(configured!.secrets).toContainEqual({
    name: 'HAPI_BASE_URL',
    optional: false,
    present: false,
  });
});

test('a bot is listed with its schedules, and which of them do not run here', async () => {
  const startedIn = process.cwd();
  const repeat = { period: 2, dayOfWeek: ['mon', 'wed'] };
  const project = makeProject({ 'src/bots/clock.ts': BOT });
  project.configure(['clock'], {
    cronTiming: { repeat },
    cronJobs: [
      { name: 'nightly', cron: '0 3 * * *' },
      { name: 'paused', cron: '0 4 * * *', active: false },
    ],
  });
  process.chdir(project.root);
  try {
    const bot = await medplum.bot('exports.handler = async () => true;', { name: 'clock' });
    await medplum.call('PATCH', `fhir/R4/Bot/${bot}`, [
      { op: 'add', path: '/cronTiming', value: { repeat: { ...repeat, periodUnit: 'd' } } },
    ]);
    const { bots } = (await medplum.page<BotList>('GET', 'bots')).body;
    expect(bots.find(({ name }) => name === 'clock')?.schedules).toEqual([
      { pattern: '0 */12 * * 1,3', nextRun: expect.stringMatching(/^\d{4}-/) },
      { name: 'nightly', pattern: '0 3 * * *', problem: 'needs Medplum 5.2; not run locally' },
      { name: 'paused', pattern: '0 4 * * *', problem: 'switched off' },
    ]);
  } finally {
    process.chdir(startedIn);
    project.remove();
  }
});

test('the page knows whether bots can send e-mails', async () => {
  const { body } = await medplum.page<ServerLog>('GET', 'server-log');
  expect(body.canSendEmail).toBe(false);
});

test('e-mails and requests that only a real Medplum answers are shown', async () => {
  const emails = await openPage({ features: ['email'] });
  await emails.call('GET', 'fhir/R4/Patient/$export');
  const email = { to: { name: 'A', address: 'a@example.com' }, subject: 'Hello', text: 'Hi' };
  await emails.call('POST', 'email/v1/send', email, { 'Content-Type': 'application/json' });
  const { body } = await emails.page<ServerLog>('GET', 'server-log');
  await emails.server.stop();
  expect(body.canSendEmail).toBe(true);
  expect(body.emails).toMatchObject([{ to: 'a@example.com', subject: 'Hello', text: 'Hi' }]);
  expect(body.refused).toMatchObject([
    {
      method: 'GET',
      path: '/fhir/R4/Patient/$export',
      message: expect.stringContaining('not available locally') as string,
    },
  ]);
});
