// A Medplum in memory, the built bots in their sandbox, a real HAPI server, and a network between
// that can fail.
import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import type { Bundle, Patient, Resource } from '@medplum/fhirtypes';
import { memorySource } from '../tests/sync/memory-source.ts';
import type { MemorySource } from '../tests/sync/memory-source.ts';
import { runInSandbox } from '../tools/src/runtime/sandbox.ts';
import type { SandboxResult } from '../tools/src/runtime/sandbox.ts';

export const HAPI = process.env['HAPI_BASE_URL'] ?? '';
export const SYSTEM = 'https://medplum.com/patient-id';

/**
 * What the bots sign their requests with, in runs with a fixed token, and in those that ask for
 * one.
 */
export const TOKEN = 'fixed-token-5k2';
export const CLIENT = { id: 'client-9d1', secret: 'client-secret-3f7' };

/** Everything that any run logged, returned or threw: searched for patients at the end. */
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

export interface World {
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

/** @returns A new world; what is on the HAPI server stays. */
export async function startWorld(): Promise<World> {
  const held: (() => Promise<number>)[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      if (request.url === '/token') {
        world.requests.push('POST /token');
        return void response.end(
          JSON.stringify({ access_token: `${TOKEN}-${world.requests.length}`, expires_in: 300 }),
        );
      }
      const path = (request.url ?? '').replace(/^\/fhir\/?/, '');
      const {
        host: _host,
        connection: _connection,
        'content-length': _length,
        ...headers
      } = request.headers;
      const body = chunks.length > 0 ? Buffer.concat(chunks) : undefined;
      const init = {
        method: request.method ?? 'GET',
        headers: headers as Record<string, string>,
        body,
      };
      const deliver = (): Promise<Response> =>
        fetch(`${HAPI}${path.startsWith('?') || !path ? '' : '/'}${path}`, init);
      world.requests.push(`${request.method} ${path}`);
      if (!request.headers.authorization?.startsWith(`Bearer ${TOKEN}`)) {
        return void response.writeHead(401).end();
      }
      void answer(world.fault(`${request.method} ${path}`), deliver, response).catch(() =>
        response.destroy(),
      );
    });
  });

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
    const headers: Record<string, string> = { 'content-type': 'application/fhir+json' };
    for (const name of ['etag', 'location', 'content-location']) {
      const value = real.headers.get(name);
      if (value) {
        headers[name] = value;
      }
    }
    response.writeHead(real.status, headers).end(text);
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/fhir`;
  const world: World = {
    source: memorySource(),
    variant: 'bots',
    authority: undefined,
    oauth: false,
    requests: [],
    fault: () => undefined,
    release: async () => Promise.all(held.splice(0).map((deliver) => deliver())),
    run: async (bot, event, runtime = 'vmcontext') => {
      const code = readFileSync(`dist/${world.variant}/${bot}.js`, 'utf8');
      const client = { HAPI_CLIENT_ID: CLIENT.id, HAPI_CLIENT_SECRET: CLIENT.secret };
      const access = world.oauth
        ? { HAPI_TOKEN_URL: url.replace('/fhir', '/token'), ...client }
        : {};
      const authority =
        world.authority === undefined ? {} : { HAPI_SOURCE_SYSTEM: world.authority };
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
        medplum: world.source.medplum,
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
  return world;
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
