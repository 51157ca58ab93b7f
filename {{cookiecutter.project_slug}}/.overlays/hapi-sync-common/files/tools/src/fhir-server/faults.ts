// Faults: what can go wrong between a client and a FHIR server, switched on for the next requests.
//
//   status 503 or 429 (with Retry-After), html (a proxy's error page with status 502),
//   reset (the connection is cut), hang (no answer at all),
//   lost (the request is performed, then the connection is cut),
//   held (a write is performed `ms` later, even if the client has given up),
//   latency (`ms` pass between looking for a resource and writing it: concurrent conditional PUTs
//   then create duplicates)
import { setTimeout } from 'node:timers/promises';
import type { FhirResponse } from './messages.ts';

export const KINDS = ['503', '429', 'html', 'reset', 'hang', 'lost', 'held', 'latency'] as const;

export interface Fault {
  kind: (typeof KINDS)[number];
  /** How many requests have the fault; absent: all of them, until the faults are cleared. */
  times?: number;
  /** Only requests of this method; absent: all, but for `lost` and `held` those that write. */
  method?: string;
  /** Milliseconds, for `held` (default 5,000) and `latency` (default 500). */
  ms?: number;
  /** Seconds in the header Retry-After of a 503 or 429 (default for 429: 1). */
  retryAfter?: number;
}

const READING_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);
const WRITE_FAULTS = new Set<Fault['kind']>(['lost', 'held']);
const NUMBERS = ['times', 'ms', 'retryAfter'] as const;

/** The faults that are switched on. */
export class Faults {
  private faults: Fault[] = [];

  add(...faults: Fault[]): void {
    this.faults.push(...faults.map((fault) => ({ ...fault })));
  }

  clear(): void {
    this.faults = [];
  }

  list(): readonly Fault[] {
    return this.faults;
  }

  /** @returns the first fault that is meant for a request of this method, and counts it */
  take(method: string): Fault | undefined {
    const isRead = READING_METHODS.has(method);
    const fault = this.faults.find((candidate) => {
      if (candidate.method !== undefined) {
        return candidate.method === method;
      }
      return !isRead || !WRITE_FAULTS.has(candidate.kind);
    });
    if (fault?.times !== undefined) {
      fault.times -= 1;
      this.faults = this.faults.filter((other) => other !== fault || fault.times! > 0);
    }
    return fault;
  }
}

/**
 * Reads a fault from a command line or from a request.
 *
 * @param given - `429:times=2,method=PUT,retryAfter=3`, or an object with the same members
 * @throws Error that says in one line what is wrong
 */
export function parseFault(given: unknown): Fault {
  const members = typeof given === 'string' ? parseText(given) : { ...(given as object | null) };
  const { kind, method, ...numbers } = members as Record<string, unknown>;
  if (!KINDS.includes(kind as Fault['kind'])) {
    throw new Error(`"${String(kind)}" is an unknown fault; use one of ${KINDS.join(', ')}.`);
  }
  const fault: Fault = { kind: kind as Fault['kind'] };
  if (method !== undefined) {
    fault.method = String(method).toUpperCase();
  }
  for (const [name, value] of Object.entries(numbers)) {
    const known = NUMBERS.find((number) => number === name);
    if (!known) {
      throw new Error(`A fault has no "${name}"; it has times, method, ms and retryAfter.`);
    }
    if (!(Number(value) >= 0)) {
      throw new Error(`"${name}" of a fault must be a number.`);
    }
    fault[known] = Number(value);
  }
  return fault;
}

function parseText(text: string): Record<string, string> {
  const [kind = '', pairs = ''] = text.split(':');
  const members = pairs
    .split(',')
    .filter(Boolean)
    .map((pair) => pair.split('='));
  return { kind, ...(Object.fromEntries(members) as Record<string, string>) };
}

/** @returns the response of a fault that answers instead of the server */
export function faultResponse({ kind, retryAfter }: Fault): FhirResponse | undefined {
  switch (kind) {
    case '503':
      return {
        status: 503,
        headers: retryAfter === undefined ? {} : { 'Retry-After': String(retryAfter) },
      };
    case '429':
      return { status: 429, headers: { 'Retry-After': String(retryAfter ?? 1) } };
    case 'html':
      return { status: 502, body: '<html><body><h1>502 Bad Gateway</h1></body></html>' };
    default:
      return undefined;
  }
}

/** Waits without keeping the process alive. */
export function pause(milliseconds: number): Promise<void> {
  return setTimeout(milliseconds, undefined, { ref: false });
}
