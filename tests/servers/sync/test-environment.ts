// What the tests against a real HAPI server run in: a Medplum in memory, the built bots in their
// sandbox, the HAPI server, and a network between that can fail.
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import type { Bundle, Patient, Resource } from '@medplum/fhirtypes';
import { memorySource } from '../tests/sync/memory-source.ts';
import type { MemorySource } from '../tests/sync/memory-source.ts';
import { runInSandbox } from '../tools/src/runtime/sandbox.ts';
import type { SandboxResult } from '../tools/src/runtime/sandbox-types.ts';
import { answerHeaders, forwardRequest, readBody } from './forward-request.ts'; // of tests/tools

export const HAPI = process.env['HAPI_BASE_URL'] ?? '';
export const SYSTEM = 'https://medplum.com/patient-id';

/**
 * What the bots sign their requests with, in runs with a fixed token, and in those that ask for
 * one.
 */
export const TOKEN = 'fixed-token-5k2';
export const CLIENT = { id: 'client-9d1', secret: 'client-secret-3f7' };

/** Everything that any run logged, returned or threw: at the end, no patient may be in it. */
export const said: string[] = [];

/**
 * What the network does to a request: nothing, or one of these. `hold` cuts the connection and
 * delivers later.
 */
type Fault =
  | 'hold'
  | 'hang'
  | 'lost'
  | 'reset'
  | '401'
  | '503'
  | '429'
  | 'html'
  | 'login page'
  | 'empty 200'
  | 'accepted'
  | 'another resource';

export interface TestEnvironment {
  source: MemorySource;
  /** Which of the built configurations runs: a folder in dist. */
  variant: 'bots' | 'deactivate' | 'types';
  /** HAPI_SOURCE_SYSTEM, for a test that must not meet what others have left. */
  authority: string | undefined;
  /** Whether the bots are given client credentials instead of a token. */
  oauth: boolean;
  /** Each request to HAPI, e.g. `PUT Patient/<id>`. */
  requests: string[];
  /** Decides about each request; undefined lets it pass. */
  fault: (request: string) => Fault | undefined;
  /** Delivers what was held; the answers' statuses. */
  release: () => Promise<number[]>;
  run: (bot: string, event: object, runtime?: 'vmcontext' | 'awslambda') => Promise<SandboxResult>;
  stop: () => Promise<void>;
}

/** @returns A new environment; what is on the HAPI server stays. */
export async function startTestEnvironment(): Promise<TestEnvironment> {
  const held: (() => Promise<number>)[] = [];
  const server = createServer((request, response) => {
    receive(request, response).catch(() => response.destroy());
  });

  async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readBody(request);
    if (request.url === '/token') {
      environment.requests.push('POST /token');
      const token = `${TOKEN}-${environment.requests.length}`;
      response.end(JSON.stringify({ access_token: token, expires_in: 300 }));
      return;
    }
    const path = (request.url ?? '').replace(/^\/fhir\/?/, '');
    const line = `${request.method} ${path}`;
    environment.requests.push(line);
    if (!request.headers.authorization?.startsWith(`Bearer ${TOKEN}`)) {
      response.writeHead(401).end();
      return;
    }
    const address = `${HAPI}${path.startsWith('?') || !path ? '' : '/'}${path}`;
    await answer(environment.fault(line), () => forwardRequest(request, body, address), response);
  }

  async function answer(
    fault: Fault | undefined,
    deliver: () => Promise<Response>,
    response: ServerResponse,
  ): Promise<void> {
    if (fault === 'hold') {
      held.push(async () => (await deliver()).status);
      return void response.destroy();
    }
    if (fault === 'reset') {
      return void response.destroy();
    }
    if (fault === 'hang') {
      return; // until the client gives up
    }
    if (fault === '401' || fault === '503' || fault === '429') {
      return void response.writeHead(Number(fault), { 'retry-after': '0' }).end();
    }
    if (fault === 'html') {
      return void response
        .writeHead(502, { 'content-type': 'text/html' })
        .end('<h1>Bad gateway</h1>');
    }
    if (fault === 'login page') {
      return void response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Sign in</h1>');
    }
    if (fault === 'empty 200' || fault === 'accepted') {
      return void response.writeHead(fault === 'accepted' ? 202 : 200).end();
    }
    if (fault === 'another resource') {
      const other = { resourceType: 'Patient', id: 'someone-else', meta: { versionId: '1' } };
      return void response.writeHead(200, { etag: 'W/"1"' }).end(JSON.stringify(other));
    }
    const real = await deliver();
    const text = await real.text();
    if (fault === 'lost') {
      return void response.destroy();
    }
    response.writeHead(real.status, answerHeaders(real)).end(text);
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/fhir`;
  const environment: TestEnvironment = {
    source: memorySource(),
    variant: 'bots',
    authority: undefined,
    oauth: false,
    requests: [],
    fault: () => undefined,
    release: async () => Promise.all(held.splice(0).map((deliver) => deliver())),
    run: async (bot, event, runtime = 'vmcontext') => {
      const code = readFileSync(`dist/${environment.variant}/${bot}.js`, 'utf8');
      const client = { HAPI_CLIENT_ID: CLIENT.id, HAPI_CLIENT_SECRET: CLIENT.secret };
      const access = environment.oauth
        ? { HAPI_TOKEN_URL: url.replace('/fhir', '/token'), ...client }
        : {};
      const authority =
        environment.authority === undefined ? {} : { HAPI_SOURCE_SYSTEM: environment.authority };
      const given = Object.entries({
        HAPI_BASE_URL: url,
        HAPI_BEARER_TOKEN: TOKEN,
        ...access,
        ...authority,
      });
      const secrets = Object.fromEntries(
        given.map(([name, valueString]) => [name, { name, valueString }]),
      );
      const whole = {
        bot: { reference: 'Bot/1' },
        contentType: 'application/fhir+json',
        secrets,
        input: {},
        ...event,
      };
      const result = await runInSandbox(code, {
        runtime,
        medplum: environment.source.medplum,
        event: whole,
      });
      said.push(...result.log, JSON.stringify(result));
      return result;
    },
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return environment;
}

/** Reads from HAPI, past its cache and the faults. */
export async function read<T extends Resource = Patient>(
  path: string,
): Promise<{ status: number; body: T }> {
  const response = await fetch(`${HAPI}/${path}`, { headers: { 'cache-control': 'no-cache' } });
  return { status: response.status, body: (await response.json()) as T };
}

/** Everything on HAPI that carries this identifier. */
export async function carriers(value: string, system = SYSTEM): Promise<Patient[]> {
  const escaped = value.replace(/[\\,|$]/g, '\\$&');
  const { body } = await read<Bundle<Patient>>(
    `Patient?identifier=${encodeURIComponent(`${system}|${escaped}`)}`,
  );
  return (body.entry ?? []).flatMap(({ resource }) => resource ?? []);
}

/** Puts something on HAPI that the sync did not make. */
export async function stranger(patient: Partial<Patient>): Promise<string> {
  const headers = { 'content-type': 'application/fhir+json' };
  const body = JSON.stringify({ resourceType: 'Patient', ...patient });
  const response = await fetch(`${HAPI}/Patient`, { method: 'POST', headers, body });
  return ((await response.json()) as Patient).id ?? '';
}
