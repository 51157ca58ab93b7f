// For servers that stand between a program and the server it calls: they pass requests on.
import type { IncomingMessage } from 'node:http';

/** Headers of one connection, and of a body that is sent again in one piece. */
const NOT_FORWARDED = new Set(['host', 'connection', 'content-length', 'transfer-encoding']);

/** The headers of an answer that FHIR clients read. */
const ANSWER_HEADERS = ['content-type', 'etag', 'location', 'content-location'];

export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) {
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

/**
 * Sends a request to another address.
 *
 * @param request - what the server received
 * @param body - its body, from `readBody`
 * @param address - where it goes, with path and query
 */
export function forwardRequest(
  request: IncomingMessage,
  body: Buffer,
  address: string | URL,
): Promise<Response> {
  return fetch(address, {
    method: request.method ?? 'GET',
    headers: forwardedHeaders(request),
    ...(body.length > 0 && { body }),
  });
}

/** @returns the headers of a request that are passed on */
export function forwardedHeaders({ headers }: IncomingMessage): Record<string, string> {
  const forwarded = Object.entries(headers).filter(([name]) => !NOT_FORWARDED.has(name));
  return Object.fromEntries(forwarded) as Record<string, string>;
}

/** @returns the headers of an answer that are passed on to the client */
export function answerHeaders({ headers }: Response): Record<string, string> {
  const present = ANSWER_HEADERS.filter((name) => headers.has(name));
  return Object.fromEntries(present.map((name) => [name, headers.get(name) ?? '']));
}
