// Answers requests to the FHIR server, however they arrive: over a connection (server.ts) or as a
// call inside the process (direct-fetch.ts).
import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { errorOutcome, FhirError } from './errors.ts';
import { faultResponse, Faults, parseFault, pause } from './faults.ts';
import type { Fault } from './faults.ts';
import type { FhirRequest, FhirResponse } from './messages.ts';
import type { Repository } from './repository.ts';
import { createRouter } from './router.ts';
import type { Router } from './router.ts';

/** A request as HTTP has it. */
export interface HttpRequest {
  method: string;
  /** Path and query: `/fhir/Patient/1?_summary=true`. */
  url: string;
  headers: IncomingHttpHeaders;
  /** Empty where there is none. */
  body: string;
}

/** A response as HTTP has it. */
export interface HttpResponse {
  status: number;
  headers: Record<string, string | number>;
  text: string;
}

/** How a request ends: with a response, with a connection that is cut, or never. */
export type Outcome = HttpResponse | 'cut' | 'hang';

/** Answers all requests of one server. */
export class FhirService {
  readonly faults = new Faults();
  readonly #route: Router;
  readonly #origin: string;
  readonly #path: string;

  /**
   * @param origin - of the server: `http://127.0.0.1:8080`
   * @param path - where FHIR begins below it: `/fhir`
   */
  constructor(repository: Repository, origin: string, path: string) {
    this.#route = createRouter(repository);
    this.#origin = origin;
    this.#path = path;
  }

  /** Answers a request, or does with it what a fault says that is switched on. */
  async answer(request: HttpRequest): Promise<Outcome> {
    const { method, url, headers, body } = request;
    if (url === '/_faults') {
      return render(request, controlFaults(this.faults, method, body));
    }
    const path = this.#path;
    if (url !== path && !url.startsWith(`${path}/`) && !url.startsWith(`${path}?`)) {
      const text = `The FHIR server is at ${this.#origin}${path}.`;
      return render(request, errorResponse(new FhirError(404, text)));
    }
    const fault = this.faults.take(method);
    if (fault?.kind === 'hang') {
      return 'hang';
    }
    if (fault?.kind === 'reset') {
      return 'cut';
    }
    if (fault?.kind === 'held') {
      await pause(fault.ms ?? 5000);
    }
    const fhirRequest = withLatency({ method, headers, body, baseUrl: this.#origin + path }, fault);
    const failure = fault && faultResponse(fault);
    const response = failure ?? (await this.#perform(fhirRequest, url.slice(path.length)));
    return fault?.kind === 'lost' ? 'cut' : render(request, response);
  }

  async #perform(request: FhirRequest, url: string): Promise<FhirResponse> {
    try {
      return await this.#route(request, url);
    } catch (error) {
      return errorResponse(error instanceof FhirError ? error : new FhirError(500, String(error)));
    }
  }
}

function withLatency(request: FhirRequest, fault: Fault | undefined): FhirRequest {
  if (fault?.kind !== 'latency') {
    return request;
  }
  return { ...request, beforeWrite: () => pause(fault.ms ?? 500) };
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

/** @returns the response to a request that fails with this error */
export function errorResponse(error: FhirError): FhirResponse {
  return { status: error.status, headers: error.headers, body: errorOutcome(error) };
}

/** Writes a response as HTTP has it. HAPI shows JSON as a web page to a client that accepts one. */
export function render(
  { method, headers: requestHeaders }: Pick<HttpRequest, 'method' | 'headers'>,
  { status, headers, body }: FhirResponse,
): HttpResponse {
  const json = typeof body === 'object' ? JSON.stringify(body) : '';
  const html = typeof body === 'string' ? body : htmlFor(requestHeaders.accept, json);
  const text = html || json;
  const contentType = html ? 'text/html;charset=utf-8' : 'application/fhir+json;charset=utf-8';
  const requestId = String(requestHeaders['x-request-id'] ?? randomUUID());
  return {
    status,
    headers: {
      ...(text && { 'Content-Type': contentType }),
      ...(!html && { 'X-Request-ID': requestId }),
      'Content-Length': Buffer.byteLength(text),
      ...headers,
    },
    text: method === 'HEAD' ? '' : text,
  };
}

function htmlFor(accept: string | undefined, json: string): string {
  const acceptsHtml = accept?.includes('text/html') ?? false;
  return json && acceptsHtml
    ? `<html><body><pre>${json.replaceAll('<', '&lt;')}</pre></body></html>`
    : '';
}
