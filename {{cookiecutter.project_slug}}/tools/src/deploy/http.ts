// Sends one HTTP request, and repeats it while its failure may be temporary, within limits.
import type * as http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { isLocal } from '../config/address.ts';
import { UserError } from '../terminal/user-error.ts';
import type { Limits } from './limits.ts';

export interface Answer {
  status: number;
  headers: http.IncomingHttpHeaders;
  text: string;
}

const MAX_TRIES = 7;

/** If the address refuses connections, waiting rarely helps. */
const MAX_TRIES_UNREACHABLE = 3;

/** A write that lost against a parallel one, too many requests, a gateway without its server. */
const PASSING_STATUS = [409, 429, 502, 503, 504];

/** Of these, those that say that the server did nothing. */
const REFUSED_STATUS = [429];

/** The longest that a server can make us wait at a time, in seconds. */
const MAX_WAIT = 65;

/** The wait, in seconds, from which on a person is told of it. */
const NOTED_WAIT = 5;

/**
 * When Medplum asks one request to wait, all requests wait: each further request would make Medplum
 * start the waiting time again (5.1.26).
 */
let pause: Promise<unknown> = Promise.resolve();

/** When the pause ends, in milliseconds: what a person was told. */
let notedEnd = 0;

/** The answer is larger than the limit, so it is not read any further. */
class TooLargeError extends Error {}

/** The answer was not complete in time. */
class TooSlowError extends Error {}

/**
 * Sends a request. Every request of the deployment may arrive twice without harm (conditional
 * creates, patches that test the version, `$deploy` of what is stored), so each is repeated on 409,
 * 429, 502, 503, 504 and a lost connection.
 *
 * @param isRepeatable - false for a request that must not arrive twice: only refused ones are
 *   repeated
 * @returns the last answer, of any status
 * @throws UserError if there is none, or if it is too large or too slow
 */
export async function exchange(
  method: string,
  url: string,
  body: unknown,
  headers: http.OutgoingHttpHeaders,
  limits: Limits,
  isRepeatable = true,
): Promise<Answer> {
  const payload = toPayload(body);
  const options = { method, headers: { 'Content-Type': contentType(method, body), ...headers } };
  const passing = isRepeatable ? PASSING_STATUS : REFUSED_STATUS;
  let remaining = limits.milliseconds;
  let secondsWaited = 0;
  for (let tries = 1; ; tries++) {
    for (let waited: unknown; waited !== pause; await waited) {
      waited = pause;
    }
    const start = Date.now();
    const answer = await sendOnce(url, options, payload, limits, remaining).catch(
      (error: Error) => error,
    );
    remaining -= Date.now() - start;
    if (answer instanceof Error) {
      throwIfFinal(answer, url, isRepeatable ? tries : MAX_TRIES);
    } else if (!passing.includes(answer.status) || tries === MAX_TRIES) {
      return answer;
    }
    const seconds = answer instanceof Error ? undefined : secondsToWait(answer.headers);
    if (seconds === undefined) {
      const milliseconds = 0.1 * 2 ** tries * (0.5 + Math.random()) * 1000;
      await sleep(milliseconds);
      remaining -= milliseconds;
    } else if (secondsWaited + seconds <= limits.wait) {
      secondsWaited += seconds;
      noteWait(url, seconds);
      pause = Promise.all([pause, sleep(seconds * 1000)]);
    } else {
      return answerOrThrow(answer, url);
    }
    if (remaining <= 0) {
      return answerOrThrow(answer, url);
    }
  }
}

function answerOrThrow(answer: Answer | Error, url: string): Answer {
  if (answer instanceof Error) {
    throw unreachable(url, answer);
  }
  return answer;
}

/** Says that nothing happens for a while. Requests that wait at the same time say it once. */
function noteWait(url: string, seconds: number): void {
  const end = Date.now() + seconds * 1000;
  if (seconds < NOTED_WAIT || end < notedEnd + NOTED_WAIT * 1000) {
    return;
  }
  notedEnd = end;
  console.error(`${new URL(url).origin} asks to wait for ${Math.ceil(seconds)} seconds.`);
}

function throwIfFinal(error: Error, url: string, tries: number): void {
  const { origin } = new URL(url);
  if (error instanceof TooLargeError || error instanceof TooSlowError) {
    throw new UserError(`${origin} ${error.message}. Check the address and the server.`);
  }
  const isRefused = ['ECONNREFUSED', 'ENOTFOUND'].includes(codeOf(error));
  if (tries >= (isRefused ? MAX_TRIES_UNREACHABLE : MAX_TRIES)) {
    throw unreachable(url, error);
  }
}

/** @returns the words for a status, such as `Bad Gateway` */
export function meaningOf(status: number): string {
  return nodeHttp().STATUS_CODES[status] ?? 'unknown status';
}

/** An import of node:http would load `fetch`, too, in every command. */
function nodeHttp(): typeof http {
  return process.getBuiltinModule('node:http');
}

/**
 * By node:http: `fetch` takes twice the time and more memory.
 *
 * @param milliseconds - what is left of the time for this request
 */
function sendOnce(
  url: string,
  options: http.RequestOptions,
  payload: string | undefined,
  limits: Limits,
  milliseconds: number,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const isSecure = new URL(url).protocol === 'https:';
    const { request } = isSecure ? process.getBuiltinModule('node:https') : nodeHttp();
    const sent = request(url, options, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > limits.bytes) {
          sent.destroy(new TooLargeError(`sent more than ${megabytes(limits.bytes)} MB`));
          return;
        }
        chunks.push(chunk);
      });
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
      });
      response.on('error', reject);
    });
    // From start to end: a server that sends a byte a second is never idle.
    const timer = setTimeout(() => {
      const seconds = Math.ceil(limits.milliseconds / 1000);
      sent.destroy(new TooSlowError(`gave no complete answer within ${seconds} seconds`));
    }, milliseconds);
    sent.on('error', reject);
    // Also without an error, as after 101: Switching Protocols. An answer that is complete counts.
    sent.on('close', () => {
      clearTimeout(timer);
      reject(new Error('the connection was closed without an answer'));
    });
    sent.end(payload);
  });
}

function toPayload(body: unknown): string | undefined {
  return typeof body === 'string' || body instanceof URLSearchParams
    ? String(body)
    : JSON.stringify(body);
}

function contentType(method: string, body: unknown): string {
  if (body instanceof URLSearchParams) {
    return 'application/x-www-form-urlencoded';
  }
  return method === 'PATCH' ? 'application/json-patch+json' : 'application/fhir+json';
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 1024 / 1024);
}

/**
 * From Retry-After or from Medplum's own `RateLimit: "requests";r=0;t=12` (r: left, t: seconds
 * until it is renewed).
 */
function secondsToWait(headers: http.IncomingHttpHeaders): number | undefined {
  const seconds = retryAfter(headers) ?? renewedAfter(headers['ratelimit']);
  return seconds === undefined ? undefined : Math.min(Math.max(seconds, 0), MAX_WAIT);
}

/** In seconds; or as a date by the server's clock, as this machine's may be wrong. */
function retryAfter({ 'retry-after': value, date = '' }: http.IncomingHttpHeaders) {
  if (value === undefined) {
    return undefined;
  }
  const seconds = Number(value);
  if (!Number.isNaN(seconds)) {
    return seconds;
  }
  const serverTime = Date.parse(date);
  const now = Number.isNaN(serverTime) ? Date.now() : serverTime;
  const wait = (Date.parse(value) - now) / 1000;
  return Number.isNaN(wait) ? undefined : wait;
}

function renewedAfter(value: string | string[] | undefined): number | undefined {
  const [, seconds] = /r=0;t=(\d+)/.exec(String(value ?? '')) ?? [];
  return seconds === undefined ? undefined : Number(seconds);
}

function codeOf(error: Error): string {
  return (error as NodeJS.ErrnoException).code ?? '';
}

function unreachable(url: string, error: Error): UserError {
  const { origin } = new URL(url);
  return new UserError(
    `${origin} cannot be reached (${codeOf(error) || error.message}). ${hintFor(url, error)}`,
  );
}

function hintFor(url: string, error: Error): string {
  if (['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID'].includes(codeOf(error))) {
    return "Check the server's certificate and the clock of this machine.";
  }
  return isLocal(url) && codeOf(error) === 'ECONNREFUSED'
    ? 'Start the local server: npm run local'
    : 'Check the address and the network.';
}
