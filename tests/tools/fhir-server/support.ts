// A running external FHIR server for tests, and short words for requests to it.
import { startFhirServer } from '../../tools/src/fhir-server/server.ts';
import type { FhirServer, FhirServerOptions } from '../../tools/src/fhir-server/server.ts';

export const SYSTEM = 'https://medplum.com/patient-id';

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  /** The body, where it is JSON. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- any answer of the server
  body: any;
}

export interface TestServer extends FhirServer {
  call(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Answer>;
}

export async function startTestServer(options: FhirServerOptions = {}): Promise<TestServer> {
  const server = await startFhirServer(options);
  const call: TestServer['call'] = async (method, path, body, headers = {}) => {
    const response = await fetch(new URL(path, server.baseUrl), {
      method,
      headers: { 'Content-Type': 'application/fhir+json', ...headers },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const json = text.startsWith('{') ? (JSON.parse(text) as unknown) : undefined;
    return { status: response.status, headers: response.headers, text, body: json };
  };
  return { ...server, call };
}

export const FRESH = { 'Cache-Control': 'no-cache' };
export const query = (value: string, system = SYSTEM): string =>
  `identifier=${encodeURIComponent(`${system}|${value}`)}`;

export function patient(value?: string, members: object = {}): object {
  return {
    resourceType: 'Patient',
    ...(value && { identifier: [{ system: SYSTEM, value }] }),
    ...members,
  };
}

/** The HAPI-nnnn that tell one error from another. */
export const numbers = (answer: Answer): string =>
  [...answer.text.matchAll(/HAPI-\d{4}/g)].join(' ');

export async function count(server: TestServer, search: string): Promise<number> {
  const { body } = await server.call(
    'GET',
    `${search}${search.includes('?') ? '&' : '?'}_summary=count`,
    undefined,
    FRESH,
  );
  return body.total as number;
}
