// What the FHIR server refuses before it looks at a resource: other machines' pages, large bodies,
// odd paths, and what a real HAPI has but this server does not.
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import type { IncomingMessage } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readBody } from '../../tools/src/fhir-server/request-body.ts';
import { startTestServer } from './support.ts';
import type { TestServer } from './support.ts';

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.stop());

/** Sends the head of a request and none of its body. */
function sendHead(...headers: string[]): Promise<string> {
  const { hostname, port, host } = new URL(server.baseUrl);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname);
    let answer = '';
    socket.on('data', (data) => (answer += data.toString()));
    socket.on('close', () => resolve(answer));
    socket.on('error', reject);
    const lines = [
      'POST /fhir/Patient HTTP/1.1',
      ...headers.map((line) => line.replace('HOST', host)),
    ];
    socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  });
}

describe('a request is refused before its body is read', () => {
  const LENGTH = 'Content-Length: 300000000';

  it.each([
    ['another host', '403', ['Host: attacker.example', LENGTH]],
    ['a page of another origin', '403', ['Host: HOST', 'Origin: https://attacker.example', LENGTH]],
    ['300 MB', '413', ['Host: HOST', LENGTH]],
  ])('%s', async (_name, status, headers) => {
    const answer = await sendHead(...headers);
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(answer).toContain('OperationOutcome');
  });

  it('as soon as a body without a length is too large', async () => {
    let sent = 0;
    const chunks = Readable.from(
      (function* () {
        for (; sent < 100; sent++) {
          yield Buffer.alloc(10);
        }
      })(),
    );
    const headers = { 'transfer-encoding': 'chunked' };
    const request = Object.assign(chunks, { headers }) as unknown as IncomingMessage;
    expect(await readBody(request, 50)).toBeUndefined();
    expect(sent).toBeLessThan(30);
  });
});

describe('odd paths get an OperationOutcome', () => {
  it.each([
    ['DELETE', 'Patient/%00', 400],
    ['GET', 'Patient/%', 400],
    ['GET', 'Patient/%zz', 400],
    ['GET', 'Patient/%ff', 400],
    ['GET', 'Patient/a%2Fb', 400],
    ['GET', 'Patient//1', 400],
    ['GET', 'Patient/constructor', 404],
    ['GET', '__proto__/1', 400],
    ['GET', 'constructor', 404],
    ['DELETE', 'Patient/toString', 200],
    ['GET', 'Patient?constructor=1', 400],
    ['GET', 'Patient?name=%', 500],
  ])('%s %s', async (method, path, status) => {
    const answer = await server.call(method, `fhir/${path}`);
    expect([answer.status, answer.body?.resourceType]).toEqual([status, 'OperationOutcome']);
  });

  it('members named like those of every object are unknown elements', async () => {
    const body =
      '{"resourceType":"Patient","constructor":{"a":1},"__proto__":{"active":true},"toString":5}';
    const created = await server.call('POST', 'fhir/Patient', body);
    expect([created.status, Object.keys(created.body)]).toEqual([
      201,
      ['resourceType', 'id', 'meta'],
    ]);
  });
});

describe('what a real HAPI has and this server does not is refused with 501', () => {
  it.each([
    ['PATCH', 'Patient/1'],
    ['GET', 'Patient/1/$everything'],
    ['POST', 'Patient/$validate'],
    ['GET', 'Patient/_history'],
    ['GET', '_history'],
    ['GET', 'Patient?_filter=name%20co%20x'],
    ['GET', 'Patient?_list=x'],
    ['GET', 'Patient?gender:in=x'],
    ['GET', 'Observation?code-value-quantity=x$gt5'],
    ['GET', 'Patient?_format=xml'],
  ])('%s %s', async (method, path) => {
    const answer = await server.call(method, `fhir/${path}`, method === 'GET' ? undefined : '{}');
    expect(answer.status).toBe(501);
    expect(answer.body.issue[0].diagnostics).toContain('is not available on the local FHIR server');
  });

  it('XML in a request', async () => {
    const headers = { 'Content-Type': 'application/fhir+xml' };
    expect((await server.call('POST', 'fhir/Patient', '<Patient/>', headers)).status).toBe(501);
  });
});
