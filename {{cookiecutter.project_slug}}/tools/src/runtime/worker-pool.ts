// Runs bots in threads, so that an endless loop can be ended. Threads are used again, one bot at a
// time each.
import { badRequest } from '@medplum/core';
// Imported, so that the fake timers of a test do not stop this clock.
import { clearInterval, clearTimeout, setInterval, setTimeout } from 'node:timers';
import { MessageChannel, Worker, receiveMessageOnPort } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import type { BotJob, BotRunResult } from './bot-run.ts';
import { monotonicMilliseconds, monotonicNanoseconds } from './clock.ts';
import type { RecordedRequest } from './recorded-requests.ts';
import type { WorkerMessage, WorkerRequest, WorkerSetup } from './worker.ts';

export interface WorkerPoolOptions {
  /** Threads that are kept. More are started while all of these are busy for longer. */
  keep?: number;
  /** Threads that run at the same time; more runs wait. */
  most?: number;
  /**
   * Milliseconds without any run coming to an end after which another thread is started for those
   * that wait.
   */
  patience?: number;
  /** Milliseconds that the sandbox's own limit has before the thread is ended. */
  grace?: number;
}

/** Hears about a run while it goes on. */
export interface RunObserver {
  /** The run has a thread and begins. */
  started?(): void;
  /** A request was sent or answered; `index` counts the requests of this run. */
  request?(request: RecordedRequest, index: number): void;
}

/** Where bots run. */
export interface BotRunner {
  /** Never rejects: a timeout is an error in the result. */
  run(job: BotJob, observer?: RunObserver): Promise<BotRunResult>;
}

const DEFAULTS: Required<WorkerPoolOptions> = { keep: 8, most: 64, patience: 250, grace: 300 };

/**
 * A bot on vmcontext that only waits is not ended by its timeout, as on the real server; this ends
 * it.
 */
const LONGEST_SECONDS = 900;
/** Work that a bot has left behind may go on for this long, in milliseconds. */
const LEFTOVER_LIMIT = 60_000;
/** Threads that may fail to start before a run is given up. */
const MOST_STARTS = 3;
/** Milliseconds between looks at the time limits. */
const GUARD_INTERVAL = 25;

interface Call {
  id: number;
  job: BotJob;
  observer: RunObserver;
  requests: RecordedRequest[];
  /** Threads that ended before they began with it. */
  failedStarts: number;
  resolve(result: BotRunResult): void;
}

export class WorkerPool implements BotRunner {
  readonly #options: Required<WorkerPoolOptions>;
  readonly #threads = new Set<BotThread>();
  readonly #waiting: Call[] = [];
  #lastId = 0;
  #lastAssignment = 0;
  #watch: NodeJS.Timeout | undefined;
  #stopped = false;

  /** Starts the first thread at once, so that the first run need not wait for it. */
  constructor(options: WorkerPoolOptions = {}) {
    this.#options = { ...DEFAULTS, ...options };
    this.#startThread();
  }

  /**
   * Runs a bot.
   *
   * @param job - see BotJob
   * @param observer - is called while the run goes on
   * @returns its result; a timeout and an exit of its process are errors in it
   */
  run(job: BotJob, observer: RunObserver = {}): Promise<BotRunResult> {
    return new Promise((resolve) => {
      const id = ++this.#lastId;
      const call: Call = { id, job, observer, requests: [], failedStarts: 0, resolve };
      this.#waiting.push(call);
      this.#assign();
    });
  }

  /** Ends all threads. Runs that are not finished get an error. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#watch);
    await Promise.all([...this.#threads].map((thread) => thread.end()));
    for (const call of this.#waiting.splice(0)) {
      call.resolve(failure(call, 'The server was stopped'));
    }
  }

  /** Gives waiting calls to idle threads, and starts threads up to the number that is kept. */
  #assign(): void {
    for (const thread of this.#threads) {
      if (thread.isIdle && this.#waiting.length > 0) {
        thread.run(this.#waiting.shift()!);
        this.#lastAssignment = monotonicMilliseconds();
      }
    }
    if (this.#waiting.length > 0 && this.#threads.size < this.#options.keep) {
      this.#startThread();
    }
    this.#watchForHungBots();
  }

  /**
   * Bots that hang must not keep all others waiting: starts another thread where nothing has moved
   * for long.
   */
  #watchForHungBots(): void {
    if (this.#waiting.length === 0 || this.#watch !== undefined) {
      return;
    }
    const { patience } = this.#options;
    this.#watch = setTimeout(() => {
      this.#watch = undefined;
      const isStarting = [...this.#threads].some((thread) => thread.isStarting);
      if (!isStarting && monotonicMilliseconds() - this.#lastAssignment >= patience) {
        this.#startThread();
      }
      this.#watchForHungBots();
    }, patience);
    this.#watch.unref();
  }

  #startThread(): void {
    if (this.#stopped || this.#threads.size >= this.#options.most) {
      return;
    }
    const thread = new BotThread(this.#options.grace, {
      idle: () => {
        if (this.#waiting.length === 0 && this.#threads.size > this.#options.keep) {
          void thread.end();
        } else {
          this.#assign();
        }
      },
      unstarted: (call) => this.#waiting.unshift(call),
      ended: () => {
        this.#threads.delete(thread);
        this.#assign();
      },
    });
    this.#threads.add(thread);
    this.#assign();
  }
}

interface ThreadEvents {
  /** It can take a call. */
  idle(): void;
  /** It ended before it began with this call, which another thread can take. */
  unstarted(call: Call): void;
  /** It must not be used any more. */
  ended(): void;
}

/** One thread. It is idle, running a call, busy with what a call left behind, or ended. */
class BotThread {
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #heartbeat = new BigInt64Array(new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT));
  readonly #events: ThreadEvents;
  readonly #grace: number;
  #state: 'idle' | 'running' | 'leftover' | 'ended' = 'idle';
  #call: Call | undefined;
  #startedAt: number | undefined;
  #finishedAt = 0;
  #guard: NodeJS.Timeout | undefined;
  #crash: Error | undefined;

  constructor(grace: number, events: ThreadEvents) {
    this.#grace = grace;
    this.#events = events;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.on('message', (message: WorkerMessage) => this.#receive(message));
    port1.unref();
    // The developer's environment variables are not for bots.
    this.#worker = new Worker(new URL('./start-worker.ts', import.meta.url), {
      env: {},
      stdin: false,
      // Node calls import() in a bundle experimental: see loadModule in awslambda.ts.
      execArgv: ['--disable-warning=ExperimentalWarning'],
    });
    this.#worker.on('error', (error: Error) => {
      this.#crash = error;
    });
    this.#worker.once('exit', () => {
      this.#receiveTheRest();
      this.#close();
    });
    this.#worker.unref();
    const setup: WorkerSetup = { port: port2, heartbeat: this.#heartbeat };
    this.#worker.postMessage(setup, [port2]);
  }

  get isIdle(): boolean {
    return this.#state === 'idle';
  }

  /** Whether it has a call that it has not begun. */
  get isStarting(): boolean {
    return this.#state === 'running' && this.#startedAt === undefined;
  }

  run(call: Call): void {
    this.#state = 'running';
    this.#call = call;
    this.#startedAt = undefined;
    this.#guard = setInterval(() => this.#checkLimits(), GUARD_INTERVAL);
    const request: WorkerRequest = { id: call.id, job: call.job };
    this.#port.postMessage(request);
  }

  async end(): Promise<void> {
    this.#close();
    await this.#worker.terminate();
  }

  #receive(message: WorkerMessage): void {
    const call = this.#call;
    if (this.#state === 'ended' || message.id !== call?.id) {
      return;
    }
    switch (message.kind) {
      case 'started':
        this.#startedAt = monotonicMilliseconds();
        call.observer.started?.();
        break;
      case 'request':
        call.requests[message.index] = message.request;
        call.observer.request?.(message.request, message.index);
        break;
      case 'finished':
        this.#state = 'leftover';
        this.#finishedAt = monotonicMilliseconds();
        call.resolve(message.result);
        break;
      case 'idle':
        this.#state = 'idle';
        this.#call = undefined;
        clearInterval(this.#guard);
        this.#events.idle();
        break;
    }
  }

  /** What the thread sent before its end may not have arrived yet. */
  #receiveTheRest(): void {
    if (this.#state === 'ended') {
      return;
    }
    let rest = receiveMessageOnPort(this.#port);
    while (rest) {
      this.#receive(rest.message as WorkerMessage);
      rest = receiveMessageOnPort(this.#port);
    }
  }

  /** Ends the thread, and with it the run, where a limit is passed. */
  #checkLimits(): void {
    if (this.#startedAt === undefined || this.#call === undefined) {
      return; // the thread is still starting
    }
    const { runtime, timeout } = this.#call.job;
    const limit = timeout * 1000 + this.#grace;
    const silence = monotonicNanoseconds() - (this.#heartbeat[0] ?? 0n);
    const isBlocked = Number(silence / 1_000_000n) > limit;
    if (this.#state === 'leftover') {
      if (isBlocked || monotonicMilliseconds() - this.#finishedAt > LEFTOVER_LIMIT) {
        void this.end();
      }
      return;
    }
    const longest = runtime === 'awslambda' ? limit : LONGEST_SECONDS * 1000;
    if (isBlocked || monotonicMilliseconds() - this.#startedAt > longest) {
      const message = timeoutMessage(this.#call.job);
      this.#call.resolve(failure(this.#call, message, isBlocked ? 'blocked' : 'waiting'));
      void this.end();
    }
  }

  /**
   * Takes the thread out of use, and settles its call: the next one must not meet a thread that is
   * ending.
   */
  #close(): void {
    if (this.#state === 'ended') {
      return;
    }
    const call = this.#call;
    const wasRunning = this.#state === 'running';
    this.#state = 'ended';
    this.#call = undefined;
    clearInterval(this.#guard);
    this.#port.close();
    if (call && wasRunning && this.#startedAt === undefined && ++call.failedStarts < MOST_STARTS) {
      this.#events.unstarted(call);
    } else if (call && wasRunning) {
      const cause = this.#crash ? `: ${this.#crash.message}` : '';
      call.resolve(failure(call, `The bot ended its process${cause}`));
    }
    this.#events.ended();
  }
}

/** The words of the real servers. */
function timeoutMessage({ runtime, timeout }: BotJob): string {
  return runtime === 'awslambda'
    ? `Task timed out after ${timeout.toFixed(2)} seconds`
    : `Script execution timed out after ${timeout * 1000}ms`;
}

function failure(
  { requests }: Call,
  message: string,
  timedOut?: 'waiting' | 'blocked',
): BotRunResult {
  return {
    result: undefined,
    log: [`Error ${message}`],
    error: {
      name: 'Error',
      message,
      stack: message,
      outcome: badRequest(message),
      ...(timedOut && { timedOut }),
    },
    requests,
  };
}
