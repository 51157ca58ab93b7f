// Reads what a client sends, up to a limit, and only from clients on this machine.
import type { IncomingMessage } from 'node:http';

/** HAPI has no limit of its own; this server keeps everything in memory. */
export const MAX_BODY_BYTES = 50 * 1024 * 1024;

const LOCAL_HOST = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/;

/**
 * A web page that is open in a browser on this machine must not read or write here, under any name
 * it uses for this machine. Ask before the body is read.
 *
 * @returns whether the request comes from a program, or from a page of this server
 */
export function isLocalRequest({ headers }: IncomingMessage): boolean {
  const { host = '', origin } = headers;
  return LOCAL_HOST.test(host) && (origin === undefined || URL.parse(origin)?.host === host);
}

/**
 * @returns the body as text; undefined if it is larger than the limit, and the rest of it is not
 *   read then
 */
export async function readBody(
  request: IncomingMessage,
  limit = MAX_BODY_BYTES,
): Promise<string | undefined> {
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
  if (length === undefined && encoding === undefined) {
    return ''; // A request without these headers has no body.
  }
  if (Number(length ?? 0) > limit) {
    return undefined;
  }
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes > limit) {
      return undefined;
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
