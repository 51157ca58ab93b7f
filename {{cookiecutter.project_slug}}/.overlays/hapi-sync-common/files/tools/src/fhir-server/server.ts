// A FHIR server on this machine that behaves over HTTP like HAPI FHIR JPA 8.8.0 with the settings
// of its starter project, including what is harmful about it. Everything is in memory. What it does
// not have, it refuses with 501.
//
// Faults can be switched on while it runs (see faults.ts):
//   curl -X POST localhost:8080/_faults -d '{"kind": "503", "times": 2}'
// GET lists them, DELETE clears them.
import type { Resource } from '@medplum/fhirtypes';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { loadDefinitions } from './definitions.ts';
import { createDirectFetch } from './direct-fetch.ts';
import { FhirError } from './errors.ts';
import type { Faults } from './faults.ts';
import { Repository } from './repository.ts';
import { isLocalRequest, MAX_BODY_BYTES, readBody } from './request-body.ts';
import { livingResourceOf } from './resource-store.ts';
import { errorResponse, FhirService, render } from './service.ts';
import type { HttpResponse } from './service.ts';

export { KINDS, parseFault } from './faults.ts';

export interface FhirServer {
  /** Without a slash at the end: `http://127.0.0.1:8080/fhir`. */
  baseUrl: string;
  /** What the server holds; deleted resources are left out. */
  store: { all(type: string): Iterable<{ resource: Resource; deleted: boolean }> };
  faults: Faults;
  /**
   * Asks this server as the global `fetch` does, but without a connection. A test file with
   * hundreds of requests takes half the time with `vi.stubGlobal('fetch', server.fetch)`.
   */
  fetch: typeof fetch;
  stop(): Promise<void>;
}

export interface FhirServerOptions {
  /** 0 takes a free one. */
  port?: number;
  host?: string;
  path?: string;
  /** The time in milliseconds since 1970; for tests. */
  now?: () => number;
}

/** How long a client that sends too much may read the response before the connection ends. */
const LINGER_MS = 1000;

/**
 * Starts the server.
 *
 * @throws the error of `listen` where the port is taken (`code` EADDRINUSE)
 */
export async function startFhirServer(options: FhirServerOptions = {}): Promise<FhirServer> {
  const { port = 0, host = '127.0.0.1', path = '/fhir', now = Date.now } = options;
  loadDefinitions();
  const repository = new Repository(now);
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(port, host, resolve);
  });
  const origin = `http://${host}:${(server.address() as AddressInfo).port}`;
  const service = new FhirService(repository, origin, path);

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!isLocalRequest(request)) {
      const text = 'Only programs on this machine may use this server.';
      refuse(request, response, new FhirError(403, text));
      return;
    }
    const body = await readBody(request);
    if (body === undefined) {
      const text =
        `The local FHIR server takes at most ${MAX_BODY_BYTES / 1024 / 1024} MB in one ` +
        'request.';
      refuse(request, response, new FhirError(413, text, { code: 'too-long' }));
      return;
    }
    const { method = '', url = '', headers } = request;
    const outcome = await service.answer({ method, url, headers, body });
    if (outcome === 'cut') {
      request.socket.destroy();
    } else if (outcome !== 'hang') {
      send(response, outcome);
    }
  }

  async function stop(): Promise<void> {
    const closed = new Promise((resolve) => {
      server.close(resolve);
    });
    server.closeAllConnections();
    await closed;
  }

  return {
    baseUrl: origin + path,
    store: { all: (type) => livingResources(repository, type) },
    faults: service.faults,
    fetch: createDirectFetch(service, origin),
    stop,
  };
}

function* livingResources(
  repository: Repository,
  type: string,
): Generator<{ resource: Resource; deleted: boolean }> {
  for (const record of repository.store.all(type)) {
    const resource = livingResourceOf(record);
    if (resource) {
      yield { resource, deleted: false };
    }
  }
}

/** Answers without reading the rest of the request. */
function refuse(request: IncomingMessage, response: ServerResponse, error: FhirError): void {
  const { method = '', headers } = request;
  const refusal = render({ method, headers }, errorResponse(error));
  request.pause();
  send(response, { ...refusal, headers: { ...refusal.headers, Connection: 'close' } });
  setTimeout(() => request.destroy(), LINGER_MS).unref();
}

function send(response: ServerResponse, { status, headers, text }: HttpResponse): void {
  response.writeHead(status, headers);
  response.end(text);
}
