// An external FHIR server on this machine, with the manners of HAPI FHIR JPA 8.8.0 over HTTP, the harmful ones too.
// Not here: PATCH, XML, `_history` of a whole type. Faults are switched on while it runs (faults.ts has all of them):
//   curl -X POST localhost:8080/_faults -d '{"kind": "503", "times": 2}'          (GET lists them, DELETE ends them)
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createFaults, parseFault, pause } from './faults.ts';
import type { Fault, Faults } from './faults.ts';
import { processBundle } from './bundles.ts';
import { del, post, put, read } from './operations.ts';
import type { FhirRequest, Reply } from './operations.ts';
import { createFhirRecords } from './records.ts';
import type { FhirRecords } from './records.ts';
import { FhirError, isResourceType } from './resources.ts';
import { createFhirSearch, history } from './search.ts';
import { loadDefinitions } from '../medplum/search.ts';
import type { Store } from '../medplum/store.ts';

export { KINDS, parseFault } from './faults.ts';

export interface FhirServer {
  /** Without a slash at the end: `http://127.0.0.1:8080/fhir`. */
  baseUrl: string;
  store: Store;
  faults: Faults;
  stop(): Promise<void>;
}

export interface FhirServerOptions {
  /** 0: a free one. */
  port?: number;
  host?: string;
  path?: string;
  /** Milliseconds; for tests. */
  now?: () => number;
}

/**
 * Starts the server; everything is in memory.
 *
 * @returns its address, its content, its faults
 * @throws the error of `listen` where the port is taken (`code` EADDRINUSE)
 */
export async function startFhirServer(options: FhirServerOptions = {}): Promise<FhirServer> {
  const { port = 0, host = '127.0.0.1', path = '/fhir', now = Date.now } = options;
  loadDefinitions();
  const records = createFhirRecords(now);
  const faults = createFaults();
  const route = createRouter(records);
  const server = createServer(
    (request, response) => void answer(request, response).catch(() => response.destroy()),
  );
  await new Promise<void>(
    (resolve, reject) => void server.once('error', reject).listen(port, host, resolve),
  );
  const origin = `http://${host}:${(server.address() as AddressInfo).port}`;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method = '', url = '', headers } = request;
    const body = Buffer.concat(chunks).toString();
    const reply = (given: Reply): void => send(request, response, given);
    // A web page of elsewhere that is open in the same browser must not read or write here, whatever its name points to.
    const foreign = headers.origin && URL.parse(headers.origin)?.host !== headers.host;
    if (foreign || !/^(localhost|127\.0\.0\.1|\[::1])(:\d+)?$/.test(headers.host ?? ''))
      return reply({ status: 403 });
    if (url === '/_faults') return reply(control(faults, method, body));
    if (!url.startsWith(path)) return reply({ status: 404 });
    const fault = faults.take(method);
    if (fault?.kind === 'hang') return;
    if (fault?.kind === 'reset') return void request.socket.destroy();
    if (fault?.kind === 'held') await pause(fault.ms ?? 5000);
    const wait = fault?.kind === 'latency' && { wait: (): Promise<void> => pause(fault.ms ?? 500) };
    const given =
      failure(fault) ??
      (await safely(
        route,
        { method, headers, body, base: origin + path, ...wait },
        url.slice(path.length),
      ));
    if (fault?.kind === 'lost') return void request.socket.destroy();
    reply(given);
  }

  async function stop(): Promise<void> {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }
  return { baseUrl: origin + path, store: records.store, faults, stop };
}

type Router = (request: FhirRequest, url: string) => Promise<Reply>;

function createRouter(records: FhirRecords): Router {
  const { search, page } = createFhirSearch(records);
  return async function route(request, url) {
    const method = request.method === 'HEAD' ? 'GET' : request.method;
    const [path = '', text = ''] = url.split(/\?(.*)/s);
    const [type = '', id, part, version] = path.split('/').filter(Boolean).map(decodeURIComponent);
    const query = new URLSearchParams(text);
    const shape =
      type === ''
        ? ''
        : id === undefined
          ? 'type'
          : id === '_search' || part !== undefined
            ? (part ?? id)
            : 'id';
    if (type === 'metadata') return { status: 200, body: capabilities };
    if (type && !isResourceType(type))
      throw new FhirError(404, `HAPI-0302: Unknown resource type '${type}'`);
    if (shape === '_history' && method === 'GET' && id) {
      return version
        ? read(records, request, type, id, version)
        : history(records, request, type, id, query);
    }
    switch (`${method} ${shape}`) {
      case 'POST ':
        return processBundle(records, request, route);
      case 'GET ':
        if (query.has('_getpages'))
          return page(request, query.get('_getpages') ?? '', Number(query.get('_getpagesoffset')));
        throw new FhirError(
          400,
          'HAPI-0287: This is the base URL of FHIR server. Unable to handle this request.',
        );
      case 'GET type':
        return search(request, type, query);
      case 'POST _search':
        return search(request, type, new URLSearchParams(request.body));
      case 'POST type':
        return post(records, request, type);
      case 'GET id':
        return read(records, request, type, id ?? '');
      case 'PUT type':
      case 'PUT id':
        return put(records, request, type, id, text);
      case 'DELETE type':
      case 'DELETE id':
        return del(records, request, type, id, text);
      default:
        throw new FhirError(
          400,
          `Invalid request: does not know how to handle ${method} operation[${path}]`,
          'not-supported',
        );
    }
  };
}

const capabilities = {
  ...{
    resourceType: 'CapabilityStatement',
    status: 'active',
    kind: 'instance',
    date: '2026-01-01',
    fhirVersion: '4.0.1',
  },
  ...{
    software: { name: 'HAPI FHIR Server' },
    format: ['application/fhir+json'],
    rest: [{ mode: 'server' }],
  },
};

async function safely(route: Router, request: FhirRequest, url: string): Promise<Reply> {
  try {
    return await route(request, url);
  } catch (error) {
    const { status, code, message, headers } =
      error instanceof FhirError ? error : new FhirError(500, String(error));
    const issue = [{ severity: 'error', code, diagnostics: message }];
    return { status, headers, body: { resourceType: 'OperationOutcome', issue } };
  }
}

function control(faults: Faults, method: string, body: string): Reply {
  try {
    if (method === 'POST') faults.add(...[JSON.parse(body)].flat().map(parseFault));
    if (method === 'DELETE') faults.clear();
    return { status: 200, body: { faults: faults.list() } };
  } catch (error) {
    return { status: 400, body: { error: (error as Error).message } };
  }
}

/** What a server or a proxy answers that has trouble. */
function failure(fault?: Fault): Reply | undefined {
  const headers: Record<string, string> =
    fault?.retryAfter === undefined ? {} : { 'Retry-After': String(fault.retryAfter) };
  if (fault?.kind === '503') return { status: 503, headers };
  if (fault?.kind === '429') return { status: 429, headers: { 'Retry-After': '1', ...headers } };
  if (fault?.kind === 'html')
    return { status: 502, body: '<html><body><h1>502 Bad Gateway</h1></body></html>' };
  return undefined;
}

function send(
  request: IncomingMessage,
  response: ServerResponse,
  { status, headers, body }: Reply,
): void {
  const json = typeof body === 'object' ? JSON.stringify(body) : '';
  // HAPI shows everything as a page to whoever would accept one.
  const browser = json && request.headers.accept?.includes('text/html');
  const page =
    typeof body === 'string'
      ? body
      : browser
        ? `<html><body><pre>${json.replaceAll('<', '&lt;')}</pre></body></html>`
        : '';
  const text = page || json;
  response.writeHead(status, {
    ...(text && {
      'Content-Type': page ? 'text/html;charset=utf-8' : 'application/fhir+json;charset=utf-8',
    }),
    ...(!page && { 'X-Request-ID': request.headers['x-request-id'] ?? randomUUID() }),
    'Content-Length': Buffer.byteLength(text),
    ...headers,
  });
  response.end(request.method === 'HEAD' ? '' : text);
}
