// What can be wrong with the network and the server on the other side, on request: for as long as `times` says.
//   status 503, 429 (with Retry-After), html (an error page of a proxy), reset (connection cut), hang (no answer ever),
//   lost (done, then the connection is cut), held (a write that lands `ms` later, also if the client has given up),
//   latency (`ms` between looking and writing: concurrent conditional PUTs then create duplicates, as on a real HAPI)
import { setTimeout } from 'node:timers/promises';

export const KINDS = ['503', '429', 'html', 'reset', 'hang', 'lost', 'held', 'latency'] as const;

export interface Fault {
  kind: (typeof KINDS)[number];
  /** How many requests meet it; without it all, until the faults are cleared. */
  times?: number;
  /** Only requests of this method. Without it: all; for `lost` and `held` those that write. */
  method?: string;
  /** Milliseconds, for `held` (5,000) and `latency` (500). */
  ms?: number;
  /** Seconds that a 503 or 429 asks to wait (429: 1). */
  retryAfter?: number;
}

export type Faults = ReturnType<typeof createFaults>;

/** @returns the faults that are switched on; the server takes one for each request */
export function createFaults() {
  let faults: Fault[] = [];
  return {
    add: (...more: Fault[]): void => void faults.push(...more.map((fault) => ({ ...fault }))),
    clear: (): void => void (faults = []),
    list: (): readonly Fault[] => faults,
    /** The first fault that is meant for a request of this method; counts it. */
    take(method: string): Fault | undefined {
      const writes = !['GET', 'HEAD', 'OPTIONS'].includes(method);
      const fault = faults.find(({ kind, method: only }) =>
        only ? only === method : writes || !['lost', 'held'].includes(kind),
      );
      if (fault?.times !== undefined && --fault.times <= 0)
        faults = faults.filter((other) => other !== fault);
      return fault;
    },
  };
}

/**
 * Reads a fault from a command line or a request: `429:times=2,method=PUT,retryAfter=3`, or the same as an object.
 *
 * @throws Error that says in one line what is not right
 */
export function parseFault(given: unknown): Fault {
  const [text = '', pairs = ''] = typeof given === 'string' ? given.split(':') : [];
  const members = pairs
    .split(',')
    .filter(Boolean)
    .map((pair) => pair.split('='));
  const fault =
    typeof given === 'string'
      ? { kind: text, ...Object.fromEntries(members) }
      : { ...(given as object) };
  if (!KINDS.includes(fault.kind))
    throw new Error(`"${fault.kind}" is no fault: there are ${KINDS.join(', ')}.`);
  for (const [name, value] of Object.entries(fault)) {
    if (['kind', 'method'].includes(name)) continue;
    if (!['times', 'ms', 'retryAfter'].includes(name))
      throw new Error(`A fault has no "${name}": only times, method, ms, retryAfter.`);
    if (!(Number(value) >= 0)) throw new Error(`"${name}" of a fault is a number.`);
    fault[name] = Number(value);
  }
  return { ...fault, ...(fault.method && { method: String(fault.method).toUpperCase() }) };
}

/** Waits without keeping the process alive. */
export const pause = (ms: number): Promise<void> => setTimeout(ms, undefined, { ref: false });
