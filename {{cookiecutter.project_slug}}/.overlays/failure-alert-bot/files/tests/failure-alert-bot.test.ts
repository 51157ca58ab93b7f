// failure-alert-bot on a local Medplum: what it reports, how often, and that it says nothing about
// patients.
import type { AuditEvent, Task } from '@medplum/fhirtypes';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { localMedplum } from 'medplum-bot-tools/testing';
import type { LocalMedplum } from 'medplum-bot-tools/testing';

const BOT = 'failure-alert-bot';

let medplum: LocalMedplum;
let webhook: Server | undefined;
afterEach(async () => {
  await medplum.stop();
  webhook?.close();
  webhook = undefined;
});

/** The AuditEvent that Medplum writes for a run. */
function runOf(bot: string, outcome: '0' | '4'): AuditEvent {
  return {
    resourceType: 'AuditEvent',
    type: { system: 'https://medplum.com/CodeSystem/audit-event', code: 'execute' },
    recorded: new Date().toISOString(),
    agent: [{ requestor: true }],
    source: { observer: { reference: 'Bot/1', display: bot } },
    entity: [{ what: { reference: 'Patient/ada' } }],
    outcome,
    outcomeDesc: 'Error: no bed for Ada Lovelace',
  };
}

/** Starts a Medplum with three failed runs and a good one, two minutes ago. */
async function start(secrets: Record<string, string> = {}): Promise<void> {
  medplum = await localMedplum({
    bots: [BOT],
    secrets,
    resources: [
      runOf('sync-bot', '4'),
      runOf('sync-bot', '4'),
      runOf('mail-bot', '4'),
      runOf('good-bot', '0'),
    ],
  });
  passMinutes(2);
}

function passMinutes(minutes: number): void {
  medplum.setTime(new Date(Date.now() + minutes * 60_000));
}

async function tasks(): Promise<Task[]> {
  return medplum.client.searchResources('Task');
}

/** Starts a server that notes what it is sent, and answers with a status. */
async function startWebhook(status: () => number): Promise<[url: string, messages: string[]]> {
  const messages: string[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (part) => (body += part));
    request.on('end', () => {
      messages.push(`${request.headers.authorization} ${body}`);
      response.writeHead(status()).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  webhook = server;
  return [`http://127.0.0.1:${(server.address() as AddressInfo).port}/alert`, messages];
}

test('one Task counts the failed runs of each bot, without patients', async () => {
  await start();
  const run = await medplum.runCron(BOT);
  expect(run).toMatchObject({ success: true, result: { reported: 3, to: 'task' } });
  const [task, ...others] = await tasks();
  expect(others).toEqual([]);
  expect(task?.description).toMatch(
    /^3 runs of bots failed\nsync-bot: 2, last at \S+\nmail-bot: 1, last at \S+$/,
  );
  expect(JSON.stringify(task) + run.log).not.toMatch(/\bada\b|Lovelace/i);
});

test('a failure is reported once, and the next report has the new ones only', async () => {
  await start();
  await medplum.runCron(BOT);
  expect((await medplum.runCron(BOT)).result).toEqual({ reported: 0 });
  await medplum.create(runOf('late-bot', '4'));
  passMinutes(2);
  expect((await medplum.runCron(BOT)).result).toEqual({ reported: 1, to: 'task' });
  const descriptions = (await tasks()).map(({ description }) => description);
  expect(descriptions).toHaveLength(2);
  expect(descriptions.filter((text) => text?.includes('late-bot'))).toEqual([
    expect.stringMatching(/^1 run of a bot failed\nlate-bot: 1, last at /),
  ]);
});

test('what failed more than a day ago is not reported', async () => {
  await start();
  passMinutes(25 * 60);
  expect((await medplum.runCron(BOT)).result).toEqual({ reported: 0 });
});

test('a webhook gets one message in place of the Task', async () => {
  const [url, messages] = await startWebhook(() => 200);
  await start({ ALERT_WEBHOOK_URL: url, ALERT_WEBHOOK_TOKEN: 'token' });
  const run = await medplum.runCron(BOT);
  expect(run.result).toEqual({ reported: 3, to: 'webhook' });
  await medplum.runCron(BOT);
  expect(messages).toHaveLength(1);
  expect(messages[0]).toContain('Bearer token {"text":"3 runs of bots failed');
  expect(messages[0]).not.toMatch(/\bada\b|Lovelace/i);
  expect(await tasks()).toHaveLength(0);
});

test('a message that the webhook refuses is sent again by the next run', async () => {
  const statuses = [400, 200];
  const [url, messages] = await startWebhook(() => statuses.shift() ?? 200);
  await start({ ALERT_WEBHOOK_URL: url });
  expect((await medplum.runCron(BOT)).success).toBe(false);
  expect((await medplum.runCron(BOT)).result).toEqual({ reported: 3, to: 'webhook' });
  expect(messages).toHaveLength(2);
});
