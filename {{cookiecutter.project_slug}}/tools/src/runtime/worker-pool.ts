// Runs bots in threads of their own, kept warm: one bot a thread at a time, so that an endless loop can be killed.
import { MedplumClient, badRequest } from '@medplum/core';
import { SourceMap } from 'node:module';
import type { SourceMapPayload } from 'node:module';
import { Worker, isMainThread, parentPort } from 'node:worker_threads';
import { runInSandbox } from './sandbox.ts';
import type { BotEvent, SandboxResult } from './sandbox.ts';

export interface BotJob {
  code: string;
  runtime: 'vmcontext' | 'awslambda';
  /** Seconds. */
  timeout: number;
  /** The Medplum server's address and a token for it: whose rights the bot has. */
  baseUrl: string;
  accessToken: string;
  event: BotEvent;
}

/** More bots at once wait for a free thread. */
const MOST_THREADS = 8;
/** A vmcontext bot that only waits is not ended by its timeout, as on the real server; this ends it. */
const LONGEST_SECONDS = 900;
/** How long the sandbox's own limit on synchronous code goes first, in milliseconds. */
const GRACE = 300;

/** Starts the first thread at once, so that the first run need not wait for it. */
export function startBotThreads(): {
  run(job: BotJob): Promise<SandboxResult>;
  stop(): Promise<unknown>;
} {
  const all = new Set<Worker>();
  const idle: Worker[] = [];
  const waiting: ((worker: Worker) => void)[] = [];

  const start = (): Worker => {
    const worker = new Worker(new URL(import.meta.url), { env: { ...process.env }, stdin: false });
    all.add(worker);
    worker.on('error', () => undefined); // whoever waits for its answer hears of its end
    worker.once('exit', () => {
      all.delete(worker);
      const at = idle.indexOf(worker);
      if (at >= 0) idle.splice(at, 1);
      if (waiting.length > 0) release(start());
    });
    worker.unref();
    return worker;
  };
  const acquire = async (): Promise<Worker> =>
    idle.pop() ??
    (all.size < MOST_THREADS ? start() : new Promise((resolve) => waiting.push(resolve)));
  const release = (worker: Worker): void => {
    const next = waiting.shift();
    if (next) next(worker);
    else idle.push(worker);
  };
  idle.push(start());

  return {
    run: async (job) => {
      const worker = await acquire();
      const result = await runOn(worker, job);
      if (all.has(worker)) release(worker);
      return result;
    },
    stop: () => Promise.all([...all].map((worker) => worker.terminate())),
  };
}

function runOn(worker: Worker, job: BotJob): Promise<SandboxResult> {
  const beats = new BigInt64Array(new SharedArrayBuffer(8));
  beats[0] = BigInt(Date.now());
  const started = Date.now();
  return new Promise((resolve) => {
    const end = (result: SandboxResult): void => {
      clearInterval(guard);
      worker.off('message', end).off('exit', onExit);
      resolve(result);
    };
    const onExit = (): void => end(failure('The bot ended its process'));
    const guard = setInterval(() => {
      const limit = job.timeout * 1000 + GRACE;
      const blocked = Date.now() - Number(beats[0]) > limit;
      const overdue =
        Date.now() - started > (job.runtime === 'awslambda' ? limit : LONGEST_SECONDS * 1000);
      if (!blocked && !overdue) return;
      const lambda = `Task timed out after ${job.timeout.toFixed(2)} seconds`;
      end(
        failure(
          job.runtime === 'awslambda'
            ? lambda
            : `Script execution timed out after ${job.timeout * 1000}ms`,
        ),
      );
      void worker.terminate();
    }, 50);
    worker.on('message', end).on('exit', onExit);
    worker.postMessage({ job, beats });
  });
}

function failure(message: string): SandboxResult {
  const outcome = badRequest(message);
  return {
    result: undefined,
    log: [`Error ${message}`],
    error: { name: 'Error', message, stack: message, outcome },
  };
}

/**
 * @param text - a log or a stack whose lines point into a deployed bundle
 * @param map - the text of the bundle's source map
 * @returns the same, pointing into the sources
 */
export function mapStack(text: string, map: string): string {
  const sources = new SourceMap(JSON.parse(map) as SourceMapPayload);
  return text.replaceAll(
    /evalmachine\.<anonymous>:(\d+):(\d+)|(?<=\(|at )[^()\n]*?user\.cjs:(\d+):(\d+)/g,
    (place, ...numbers) => {
      const [line, column, plainLine, plainColumn] = numbers.slice(0, 4).map(Number);
      // The vmcontext runtime puts five lines and two columns before the bundle.
      const at = line
        ? [line - 6, column! - (line === 6 ? 3 : 1)]
        : [plainLine! - 1, plainColumn! - 1];
      const found = sources.findEntry(at[0]!, at[1]!);
      if (!('originalSource' in found)) return place as string;
      return `${found.originalSource.replace(/^(\.\.\/)+/, '')}:${found.originalLine + 1}:${found.originalColumn + 1}`;
    },
  );
}

if (!isMainThread) {
  let beats: BigInt64Array | undefined;
  setInterval(() => beats && (beats[0] = BigInt(Date.now())), 20);
  parentPort!.on('message', (message: { job: BotJob; beats: BigInt64Array }) => {
    beats = message.beats;
    void runJob(message.job).then((result) => parentPort!.postMessage(result));
  });
}

async function runJob({
  code,
  runtime,
  timeout,
  baseUrl,
  accessToken,
  event,
}: BotJob): Promise<SandboxResult> {
  const traced: typeof fetch = (url, options = {}) => {
    const trace = { 'X-Trace-Id': event.traceId ?? '', traceparent: event.traceId ?? '' };
    return fetch(url, { ...options, headers: { ...(options.headers as object), ...trace } });
  };
  const medplum = new MedplumClient({ baseUrl, fetch: traced as never });
  medplum.setAccessToken(accessToken);
  return runInSandbox(code, { runtime, timeout, medplum, event });
}
