// The requests that a bot sends while it runs: to Medplum through its client, and elsewhere with
// fetch.
import { MedplumClient } from '@medplum/core';
import { AsyncLocalStorage } from 'node:async_hooks';

export interface RecordedRequest {
  method: string;
  url: string;
  /** Whether it went to Medplum through the bot's client. */
  toMedplum: boolean;
  /** The method of the client that the bot called, such as `createResource`. */
  clientMethod?: string;
  /** HTTP status; undefined where no answer came. */
  status?: number;
  /** Why no answer came. */
  failure?: string;
  /** ISO 8601. */
  startedAt: string;
  /** Until the headers of the answer arrived. */
  milliseconds: number;
  /** The stack of the call in the bot, as text; places are those of the bundle. */
  stack: string;
}

/** A call of the client's, or of `fetch`, in the bot's own code. */
interface BotCall {
  clientMethod?: string;
  stack: string;
}

/** Frames of a stack that are kept: the bot's own come first. */
const STACK_FRAMES = 30;

type Fetch = (url: never, options?: never) => Promise<{ status: number }>;

export class RequestRecorder {
  /** In the order in which they were sent. */
  readonly requests: RecordedRequest[] = [];
  readonly #calls = new AsyncLocalStorage<BotCall>();
  readonly #changed: (index: number) => void;

  /**
   * @param changed - called with the index of a request when it is sent, and again when it is
   *   answered
   */
  constructor(changed: (index: number) => void = () => undefined) {
    this.#changed = changed;
  }

  /**
   * @param send - a `fetch`: Node's, or node-fetch
   * @param toMedplum - whether it is the client's
   * @returns the same, with each request recorded
   */
  record<T extends Fetch>(send: T, toMedplum: boolean): T {
    const recorded = async (input: unknown, options?: { method?: string }): Promise<unknown> => {
      const call = this.#calls.getStore() ?? { stack: captureStack(recorded) };
      const started = performance.now();
      const request: RecordedRequest = {
        ...describeRequest(input, options),
        ...call,
        toMedplum,
        startedAt: new Date().toISOString(),
        milliseconds: 0,
      };
      const index = this.requests.push(request) - 1;
      this.#changed(index);
      try {
        const response = await send(input as never, options as never);
        request.status = response.status;
        return response;
      } catch (error) {
        request.failure = failureOf(error);
        throw error;
      } finally {
        request.milliseconds = Math.round(performance.now() - started);
        this.#changed(index);
      }
    };
    return recorded as unknown as T;
  }

  /**
   * Lets the requests of a client tell which of its methods the bot called, and where. Inside the
   * client that is not known: it collects requests, repeats them, and sends them later.
   */
  observe(medplum: MedplumClient): void {
    const client = medplum as unknown as Record<string, unknown>;
    for (const name of Object.getOwnPropertyNames(MedplumClient.prototype)) {
      const original = Object.getOwnPropertyDescriptor(MedplumClient.prototype, name)
        ?.value as unknown;
      if (typeof original !== 'function' || name === 'constructor') {
        continue;
      }
      const calls = this.#calls;
      const observed = function (this: unknown, ...values: unknown[]): unknown {
        const call = calls.getStore() ?? { clientMethod: name, stack: captureStack(observed) };
        return calls.run(call, () => Reflect.apply(original, this, values));
      };
      Object.defineProperty(client, name, {
        value: observed,
        writable: true,
        configurable: true,
        enumerable: false,
      });
    }
  }
}

function describeRequest(
  input: unknown,
  options: { method?: string } | undefined,
): { method: string; url: string } {
  const asRequest = input as { url?: unknown; method?: unknown } | undefined;
  const isRequest = typeof asRequest?.url === 'string';
  const method = options?.method ?? (isRequest ? asRequest.method : undefined) ?? 'GET';
  return {
    method: String(method).toUpperCase(),
    url: isRequest ? String(asRequest.url) : String(input),
  };
}

/** `ECONNREFUSED`; or what else tells why there is no answer. */
function failureOf(error: unknown): string {
  const { name, cause, code } = (error ?? {}) as Partial<NodeJS.ErrnoException>;
  const { code: causeCode, message } = (cause ?? {}) as Partial<NodeJS.ErrnoException>;
  return code ?? causeCode ?? message ?? name ?? 'no answer';
}

/** @returns the stack of the code that called a function, without the first line */
function captureStack(called: (...values: never[]) => unknown): string {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = STACK_FRAMES;
  const holder: { stack?: string } = {};
  Error.captureStackTrace(holder, called);
  Error.stackTraceLimit = limit;
  return holder.stack?.replace(/^[^\n]*\n/, '') ?? '';
}
