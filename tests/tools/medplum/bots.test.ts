// Bots run from their deployed code: results, failures, limits, rights, and what is recorded of
// each run.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestServer, PROJECT, UNKNOWN_ID } from './support.ts';
import type { TestServer } from './support.ts';

let medplum: TestServer;
beforeAll(async () => void (medplum = await startTestServer()));
afterAll(() => medplum.server.stop());

const handler = (body: string): string =>
  `exports.handler = async (medplum, event) => { ${body} };`;
const text = (body: { issue: { details: { text: string } }[] }): string | undefined =>
  body.issue?.[0]?.details.text;

describe('$execute', () => {
  it.each([
    ['an object', 'return { a: 1 };', 200, { a: 1 }],
    ['a boolean', 'return true;', 200, true],
    ['a list', 'return [1, 2];', 200, [1, 2]],
    ['a string, without quotes', 'return "text";', 200, 'text'],
    ['null, as an empty body', 'return null;', 200, ''],
    ['nothing', 'return;', 200, { resourceType: 'OperationOutcome', id: 'ok' }],
    [
      'an outcome',
      'return { resourceType: "OperationOutcome", id: "not-found", issue: [] };',
      404,
      { id: 'not-found' },
    ],
    [
      'what the client threw',
      `return medplum.readResource("Patient", "${UNKNOWN_ID}");`,
      404,
      { id: 'not-found' },
    ],
  ])('answers with %s', async (_what, body, status, expected) => {
    const answer = await medplum.execute(await medplum.bot(handler(body)));
    expect(answer.status).toBe(status);
    if (typeof expected === 'object' && !Array.isArray(expected)) {
      expect(answer.body).toMatchObject(expected);
    } else {
      expect(answer.body).toEqual(expected);
    }
  });

  it.each([
    ['does not parse', 'this is not javascript;', "Unexpected identifier 'is'"],
    ['has no handler', 'exports.other = 1;', 'exports.handler is not a function'],
    ['throws', handler('throw new Error("boom");'), 'boom'],
    ['throws a string', handler('throw "text";'), 'text'],
    ['ends its process', handler('process.exit(0);'), 'The bot ended its process'],
  ])('answers 400 for code that %s, and the server keeps running', async (_what, code, message) => {
    const id = await medplum.bot(code);
    const answer = await medplum.execute(id);
    expect({ status: answer.status, text: text(answer.body) }).toEqual({
      status: 400,
      text: message,
    });
    expect((await medplum.audits(id)).map(({ outcome }) => outcome)).toEqual(['4']);
    expect((await medplum.anonymous('GET', 'healthcheck')).status).toBe(200);
  });

  it('stops an endless loop at its timeout, and answers others in the meantime', async () => {
    const first = await medplum.bot(handler('for (;;) {}'), { name: 'loop' });
    await medplum.call('PATCH', `fhir/R4/Bot/${first}`, [
      { op: 'add', path: '/timeout', value: 1 },
    ]);
    const later = await medplum.bot(handler('await null; for (;;) {}'), { name: 'late loop' });
    await medplum.call('PATCH', `fhir/R4/Bot/${later}`, [
      { op: 'add', path: '/timeout', value: 1 },
    ]);
    const loops = Promise.all([medplum.execute(first), medplum.execute(later)]);
    const other = await medplum.execute(await medplum.bot(handler('return 1 + 1;')));
    expect(other.body).toBe(2);
    for (const { status, body } of await loops) {
      expect({ status, text: text(body) }).toEqual({
        status: 400,
        text: 'Script execution timed out after 1000ms',
      });
    }
    expect((await medplum.execute(first)).status, 'a new thread took its place').toBe(400);
  });

  it('ends a handler that never returns on awslambda', async () => {
    const id = await medplum.bot(handler('await new Promise(() => {});'), {
      runtimeVersion: 'awslambda',
    });
    await medplum.call('PATCH', `fhir/R4/Bot/${id}`, [{ op: 'add', path: '/timeout', value: 1 }]);
    const { status, body } = await medplum.execute(id);
    expect({ status, text: text(body) }).toEqual({
      status: 400,
      text: 'Task timed out after 1.00 seconds',
    });
  });

  it('runs more bots at once than there are threads', async () => {
    const id = await medplum.bot(
      handler('await require("node:timers/promises").setTimeout(20); return event.input;'),
    );
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) => medplum.execute(id, { n })),
    );
    expect(answers.map(({ body }) => body.n)).toEqual(Array.from({ length: 20 }, (_, n) => n));
  });

  it('finds a bot by identifier, and knows neither unknown ids nor identifiers', async () => {
    const id = await medplum.bot(handler('return { found: true };'));
    const identifier = [{ system: 'urn:bots', value: 'mine' }];
    await medplum.call('PATCH', `fhir/R4/Bot/${id}`, [
      { op: 'add', path: '/identifier', value: identifier },
    ]);
    expect(
      (await medplum.call('POST', 'fhir/R4/Bot/$execute?identifier=urn:bots|mine', {})).body,
    ).toEqual({
      found: true,
    });
    expect(
      (await medplum.call('POST', 'fhir/R4/Bot/$execute?identifier=urn:bots|other', {})).status,
    ).toBe(404);
    expect((await medplum.call('POST', 'fhir/R4/Bot/$execute', {})).status).toBe(400);
    expect((await medplum.execute(UNKNOWN_ID)).status).toBe(404);
  });
});

describe('a run', () => {
  it('has the secrets of the project and the rights of the bot, not of the caller', async () => {
    await medplum.call('POST', `admin/projects/${PROJECT}/secrets`, [
      { name: 'KEY', valueString: 'value' },
    ]);
    const entry = { resourceType: 'Patient', readonly: true };
    const policy = await medplum.call('POST', 'fhir/R4/AccessPolicy', {
      resourceType: 'AccessPolicy',
      resource: [entry],
    });
    const code = handler(`
      const tried = [
        medplum.searchResources('Patient'),
        medplum.createResource({ resourceType: 'Patient' }),
      ];
      const outcomes = tried.map((one) => one.then(() => 'ok', (error) => error.outcome.id));
      return { results: await Promise.all(outcomes), key: event.secrets.KEY.valueString };`);
    const id = await medplum.bot(code, {
      accessPolicy: { reference: `AccessPolicy/${policy.body.id}` },
    });
    expect((await medplum.execute(id)).body).toEqual({
      results: ['ok', 'forbidden'],
      key: 'value',
    });
  });

  it('leaves one AuditEvent with the end of its log, where the bot wants one', async () => {
    const id = await medplum.bot(
      handler(`for (let n = 0; n < 2000; n++) console.log('line ' + n); return true;`),
    );
    await medplum.execute(id);
    const [audit] = await medplum.audits(id);
    expect(audit!.outcome).toBe('0');
    expect(audit!.outcomeDesc).toHaveLength(10 * 1024);
    expect(audit!.outcomeDesc).toMatch(/line 1999$/);
    await medplum.call('PATCH', `fhir/R4/Bot/${id}`, [
      { op: 'add', path: '/auditEventTrigger', value: 'on-error' },
    ]);
    await medplum.execute(id);
    expect(await medplum.audits(id)).toHaveLength(1);
  });
});

describe('$deploy', () => {
  it('stores new code as a new Binary and keeps what else is on the Bot', async () => {
    const id = await medplum.bot(handler('return 1;'));
    const tag = [{ system: 'urn:t', code: 'mine' }];
    await medplum.call('PATCH', `fhir/R4/Bot/${id}`, [
      { op: 'add', path: '/meta/tag', value: tag },
    ]);
    await medplum.call('POST', `fhir/R4/Bot/${id}/$deploy`, {
      code: handler('return 2;'),
      filename: 'b.cjs',
    });
    const bot = (await medplum.call('GET', `fhir/R4/Bot/${id}`)).body;
    expect(bot.meta.tag).toEqual(tag);
    expect(bot.executableCode.title).toBe('b.cjs');
    expect((await medplum.execute(id)).body).toBe(2);
    expect((await medplum.call('POST', `fhir/R4/Bot/${id}/$deploy`, {})).status).toBe(200);
  });

  it('warns about a bot without a membership, as it has the rights of its caller', async () => {
    const body = { resourceType: 'Bot', name: 'plain', runtimeVersion: 'vmcontext' };
    const { id } = (await medplum.call('POST', 'fhir/R4/Bot', body)).body;
    const code = handler('return { me: (await medplum.get("auth/me")).profile.resourceType };');
    const deployed = await medplum.call('POST', `fhir/R4/Bot/${id}/$deploy`, { code });
    expect(deployed.body.issue[1]).toMatchObject({ severity: 'warning' });
    expect((await medplum.execute(id)).body).toEqual({ me: 'ClientApplication' });
  });
});
