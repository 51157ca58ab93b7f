// A FHIR server on this machine that behaves over HTTP like HAPI FHIR JPA 8.8.0 with the settings
// of its starter project, including what is harmful about it. Everything is in memory. What it does
// not have, it refuses with 501.
//
// Faults can be switched on while it runs (see faults.ts):
//   curl -X POST localhost:8080/_faults -d '{"kind": "503", "times": 2}'
// GET lists them, DELETE clears them.
import type { Resource } from '@medplum/fhirtypes';
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { loadDefinitions } from './definitions.ts';
import { errorOutcome, FhirError } from './errors.ts';
import { faultResponse, Faults, parseFault, pause } from './faults.ts';
import type { Fault } from './faults.ts';
import type { FhirRequest, FhirResponse } from './messages.ts';
import { Repository } from './repository.ts';
import { isLocalRequest, MAX_BODY_BYTES, readBody } from './request-body.ts';
import { livingResourceOf } from './resource-store.ts';
import { createRouter } from './router.ts';
import type { Router } from './router.ts';

export { KINDS, parseFault } from './faults.ts';

export interface FhirServer {
  /** Without a slash at the end: `http://127.0.0.1:8080/fhir`. */
  baseUrl: string;
  /** What the server holds; deleted resources are left out. */
  store: { all(type: string): Iterable<{ resource: Resource; deleted: boolean }> };
  faults: Faults;
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
  const faults = new Faults();
  const route = createRouter(repository);
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(port, host, resolve);
  });
  const origin = `http://${host}:${(server.address() as AddressInfo).port}`;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!isLocalRequest(request)) {
      return refuse(
        request,
        response,
        new FhirError(403, 'Only programs on this machine may use this server.'),
      );
    }
    const body = await readBody(request);
    if (body === undefined) {
      const text =
        `The local FHIR server takes at most ${MAX_BODY_BYTES / 1024 / 1024} MB in one ` +
        'request.';
      return refuse(request, response, new FhirError(413, text, { code: 'too-long' }));
    }
    const { method = '', url = '', headers } = request;
    if (url === '/_faults') {
      return send(request, response, controlFaults(faults, method, body));
    }
    if (url !== path && !url.startsWith(`${path}/`) && !url.startsWith(`${path}?`)) {
      return send(
        request,
        response,
        errorResponse(new FhirError(404, `The FHIR server is at ${origin}${path}.`)),
      );
    }
    const fhirRequest = { method, headers, body, baseUrl: origin + path };
    return answerWithFaults(request, response, {
      fhirRequest,
      url: url.slice(path.length),
      route,
      faults,
    });
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
    faults,
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

interface Work {
  fhirRequest: FhirRequest;
  url: string;
  route: Router;
  faults: Faults;
}

async function answerWithFaults(
  request: IncomingMessage,
  response: ServerResponse,
  { fhirRequest, url, route, faults }: Work,
): Promise<void> {
  const fault = faults.take(fhirRequest.method);
  if (fault?.kind === 'hang') {
    return;
  }
  if (fault?.kind === 'reset') {
    request.socket.destroy();
    return;
  }
  if (fault?.kind === 'held') {
    await pause(fault.ms ?? 5000);
  }
  const failure = fault && faultResponse(fault);
  const result = failure ?? (await perform(route, withLatency(fhirRequest, fault), url));
  if (fault?.kind === 'lost') {
    request.socket.destroy();
    return;
  }
  send(request, response, result);
}

function withLatency(request: FhirRequest, fault: Fault | undefined): FhirRequest {
  if (fault?.kind !== 'latency') {
    return request;
  }
  return { ...request, beforeWrite: () => pause(fault.ms ?? 500) };
}

async function perform(route: Router, request: FhirRequest, url: string): Promise<FhirResponse> {
  try {
    return await route(request, url);
  } catch (error) {
    return errorResponse(error instanceof FhirError ? error : new FhirError(500, String(error)));
  }
}

function errorResponse(error: FhirError): FhirResponse {
  return { status: error.status, headers: error.headers, body: errorOutcome(error) };
}

function controlFaults(faults: Faults, method: string, body: string): FhirResponse {
  try {
    if (method === 'POST') {
      const given: unknown = JSON.parse(body);
      faults.add(...[given].flat().map(parseFault));
    }
    if (method === 'DELETE') {
      faults.clear();
    }
    return { status: 200, body: { faults: faults.list() } };
  } catch (error) {
    return { status: 400, body: { error: (error as Error).message } };
  }
}

/** Answers without reading the rest of the request. */
function refuse(request: IncomingMessage, response: ServerResponse, error: FhirError): void {
  const { status, headers, body } = errorResponse(error);
  request.pause();
  send(request, response, { status, headers: { ...headers, Connection: 'close' }, body });
  setTimeout(() => request.destroy(), LINGER_MS).unref();
}

function send(
  request: IncomingMessage,
  response: ServerResponse,
  { status, headers, body }: FhirResponse,
): void {
  const json = typeof body === 'object' ? JSON.stringify(body) : '';
  const html = typeof body === 'string' ? body : htmlFor(request, json);
  const text = html || json;
  const contentType = html ? 'text/html;charset=utf-8' : 'application/fhir+json;charset=utf-8';
  response.writeHead(status, {
    ...(text && { 'Content-Type': contentType }),
    ...(!html && { 'X-Request-ID': request.headers['x-request-id'] ?? randomUUID() }),
    'Content-Length': Buffer.byteLength(text),
    ...headers,
  });
  response.end(request.method === 'HEAD' ? '' : text);
}

/** HAPI shows everything as a web page to a client that accepts one. */
function htmlFor(request: IncomingMessage, json: string): string {
  const acceptsHtml = request.headers.accept?.includes('text/html') ?? false;
  return json && acceptsHtml
    ? `<html><body><pre>${json.replaceAll('<', '&lt;')}</pre></body></html>`
    : '';
}
