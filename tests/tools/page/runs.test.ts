// What the page's server says about runs, and running a bot from the page.
import type { Bot } from '@medplum/fhirtypes';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LogPart, RunDetails, RunList, RunSummary } from '../../tools/src/page/api-types.ts';
import type { ExecuteRequest } from '../../tools/src/medplum/execute-bot.ts';
import { eventually } from '../medplum/support.ts';
import { openPage } from './support.ts';
import type { PageServer } from './support.ts';

const RUNS_A_PAGE = 50;
const ECHO = `exports.handler = async (medplum, event) => ({ input: event.input, version: 1 });`;

let medplum: PageServer;

beforeAll(async () => {
  medplum = await openPage();
});
afterAll(() => medplum.server.stop());

async function details(id: string): Promise<RunDetails> {
  return (await medplum.page<RunDetails>('GET', `runs/${id}`)).body;
}

async function latest(bot: string): Promise<RunSummary> {
  return (await medplum.runsOf(bot)).runs[0]!;
}

describe('a run', () => {
  test('shows its requests with method, path, status and the call in the bot', async () => {
    const id = await medplum.bot(
      `exports.handler = async (medplum) => {
        await medplum.createResource({ resourceType: 'Patient', active: true });
        await medplum.readResource('Patient', '00000000-0000-4000-8000-000000000000').catch(() => 0);
        await fetch('http://localhost:1/elsewhere?a=b').catch(() => 0);
      };`,
      { name: 'asks' },
    );
    await medplum.execute(id);
    const run = await details((await latest('asks')).id);
    expect(run.timeline).toMatchObject([
      { target: 'Medplum', method: 'POST', path: '/fhir/R4/Patient', status: 201 },
      { target: 'Medplum', method: 'GET', status: 404, clientMethod: 'readResource' },
      { target: 'localhost:1', path: '/elsewhere?a=b', failure: 'ECONNREFUSED' },
    ]);
    // What is not there is often expected.
    expect(run).toMatchObject({ requests: 3, failedRequests: 1, status: 'succeeded' });
  });

  test('that failed shows the message of its error', async () => {
    const id = await medplum.bot(`exports.handler = async () => { throw new Error('no luck'); };`, {
      name: 'fails',
    });
    await medplum.execute(id);
    const summary = await latest('fails');
    expect(summary).toMatchObject({ status: 'failed', error: 'no luck' });
    expect((await details(summary.id)).failure).toMatchObject({ message: 'no luck' });
  });

  test('that did not end in time says what to change', async () => {
    const code = `exports.handler = async () => { for (;;); };`;
    const id = await medplum.bot(code, { name: 'loops' });
    await medplum.call('PATCH', `fhir/R4/Bot/${id}`, [{ op: 'add', path: '/timeout', value: 1 }]);
    await medplum.execute(id);
    const { failure } = await details((await latest('loops')).id);
    expect(failure?.summary).toContain('as in an endless loop');
    expect(failure?.hint).toContain('"timeout" of loops in medplum.config.json');
  });

  test('is visible while the bot runs', async () => {
    const id = await medplum.bot(
      `exports.handler = async () => {
        await require('node:timers/promises').setTimeout(500);
        return 'done';
      };`,
      { name: 'slow' },
    );
    const end = medplum.execute(id);
    const running = await eventually(
      async () => medplum.runsOf('slow'),
      ({ runs }) => runs.length > 0,
    );
    expect(running.runs).toMatchObject([{ status: 'running' }]);
    expect((await details(running.runs[0]!.id)).result).toBeUndefined();
    await end;
    expect(await latest('slow')).toMatchObject({ status: 'succeeded' });
  });

  test('does not show the credentials of its caller', async () => {
    const id = await medplum.bot(ECHO, { name: 'discreet' });
    await medplum.execute(id, { question: 1 });
    const run = await details((await latest('discreet')).id);
    expect(run.event.text).toContain('"question": 1');
    expect(run.event.text.toLowerCase()).not.toContain('authorization');
  });

  test('of a deleted resource names that resource', async () => {
    const id = await medplum.bot(ECHO, { name: 'on-delete' });
    const input = { deletedResource: { resourceType: 'Patient', id: 'abc' } };
    await medplum.page('POST', `bots/${id}/send`, {
      input,
      headers: { 'x-medplum-interaction': 'delete' },
    });
    expect(await latest('on-delete')).toMatchObject({ trigger: 'delete', resource: 'Patient/abc' });
  });

  test('that the server no longer keeps is answered with 404', async () => {
    const { status, body } = await medplum.page<{ message: string }>('GET', 'runs/unknown');
    expect(status).toBe(404);
    expect(body.message).toContain('no longer there');
  });
});

describe('running a bot', () => {
  test('again uses the same event and the code of now', async () => {
    const id = await medplum.bot(ECHO, { name: 'changes' });
    await medplum.execute(id, { question: 7 });
    const first = await latest('changes');
    const code = ECHO.replace('version: 1', 'version: 2');
    await medplum.call('POST', `fhir/R4/Bot/${id}/$deploy`, { code, filename: 'new.cjs' });
    const again = await medplum.page<{ id: string }>('POST', `runs/${first.id}/again`);
    const run = await eventually(
      async () => details(again.body.id),
      ({ status }) => status !== 'running',
    );
    expect(JSON.parse(run.result!.text)).toEqual({ input: { question: 7 }, version: 2 });
  });

  test('with an event needs an input', async () => {
    const id = await medplum.bot(ECHO, { name: 'needs-input' });
    const { status, body } = await medplum.page('POST', `bots/${id}/send`, {
      contentType: 'text/plain',
    });
    expect({ status, body }).toEqual({
      status: 400,
      body: { message: 'The event needs an "input".' },
    });
  });

  test('that has no membership is refused, as Medplum would never run it', async () => {
    const bot = { resourceType: 'Bot', name: 'lonely', runtimeVersion: 'vmcontext' };
    const { id } = (await medplum.call('POST', 'fhir/R4/Bot', bot)).body as Bot;
    const { status, body } = await medplum.page('POST', `bots/${id}/send`, { input: {} });
    expect(status).toBe(409);
    expect(body).toEqual({ message: 'lonely cannot run: it has no ProjectMembership.' });
  });
});

describe('a thousand runs with 20 MB of log', () => {
  const LOG = Array.from({ length: 400 }, (_, line) => `line ${line} ${'x'.repeat(40)}`).join('\n');

  beforeAll(async () => {
    const id = await medplum.bot(ECHO, { name: 'busy' });
    const bot = (await medplum.call('GET', `fhir/R4/Bot/${id}`)).body as ExecuteRequest['bot'];
    for (let number = 0; number < 1000; number += 1) {
      const input = { resourceType: 'Patient', id: `p-${number}` };
      const request = { bot, cause: 'execute', input, contentType: '', traceId: '' };
      const run = medplum.server.runs.start(request as ExecuteRequest, undefined);
      const success = number % 10 !== 0;
      medplum.server.runs.end(run, { success, log: success ? LOG : 'it broke', value: number });
    }
  });

  test('are listed a page at a time, without logs, events and results', async () => {
    const list = await medplum.runsOf('busy');
    expect(list).toMatchObject({ total: 1000 });
    expect(list.runs).toHaveLength(RUNS_A_PAGE);
    expect(JSON.stringify(list).length).toBeLessThan(40_000);
    const next = (await medplum.page<RunList>('GET', `runs?bot=busy&offset=${RUNS_A_PAGE}`)).body;
    expect(next.runs[0]!.resource).toBe('Patient/p-949');
  });

  test('are filtered by status and resource', async () => {
    const failed = (await medplum.page<RunList>('GET', 'runs?bot=busy&status=failed')).body;
    expect(failed.total).toBe(100);
    const found = (await medplum.page<RunList>('GET', 'runs?resource=patient/P-123')).body;
    expect(found.runs).toMatchObject([{ resource: 'Patient/p-123' }]);
  });

  test('send a log in parts, from its end to its beginning', async () => {
    const whole = Array.from({ length: 30 }, () => LOG).join('\n');
    const { id } = medplum.server.runs.list()[0]!;
    medplum.server.runs.get(id)!.log = whole;
    const parts: LogPart[] = [];
    do {
      const before = parts[0] ? `?before=${parts[0].start}` : '';
      const { body } = await medplum.page<LogPart>('GET', `runs/${id}/log${before}`);
      expect(body.text.length).toBeLessThanOrEqual(100_000);
      parts.unshift(body);
    } while (parts[0]!.start > 0);
    expect(parts.length).toBeGreaterThan(3);
    expect(parts.map(({ text }) => text).join('')).toBe(whole);
  });
});
