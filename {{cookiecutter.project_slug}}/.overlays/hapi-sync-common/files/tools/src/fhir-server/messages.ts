// Requests to the FHIR server and its responses, without the details of HTTP.
import type { IncomingHttpHeaders } from 'node:http';

export interface FhirRequest {
  method: string;
  headers: IncomingHttpHeaders;
  /** As it was sent; empty where there is none. */
  body: string;
  /**
   * The address of the server without a slash at the end, for links: `http://127.0.0.1:8080/fhir`.
   */
  baseUrl: string;
  /** Waits between looking for a resource and writing it (the fault `latency`). */
  beforeWrite?: () => Promise<void>;
}

export interface FhirResponse {
  status: number;
  headers?: Record<string, string>;
  /** An object is sent as JSON, a string as HTML. */
  body?: object | string | undefined;
}

/** @returns one header; the first value if it was sent several times */
export function header({ headers }: FhirRequest, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** @returns what `Prefer: return=…` asks for; HAPI returns the resource by default */
export function preferredReturn(
  request: FhirRequest,
): 'minimal' | 'representation' | 'OperationOutcome' {
  const [, wanted] =
    /\breturn=(minimal|representation|OperationOutcome)\b/.exec(header(request, 'prefer') ?? '') ??
    [];
  return (wanted as 'minimal' | 'OperationOutcome' | undefined) ?? 'representation';
}
