// A thread that runs bots, one at a time. Its parent sends jobs through a port of its own: what a
// bot posts to `parentPort` reaches no one.
import { parentPort } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { runBot } from './bot-run.ts';
import type { BotRunResult, BotJob } from './bot-run.ts';
import { RequestRecorder } from './recorded-requests.ts';
import { monotonicNanoseconds } from './clock.ts';
import type { RecordedRequest } from './recorded-requests.ts';

/** Sent to a worker. */
export interface WorkerRequest {
  id: number;
  job: BotJob;
}

/** Sent by a worker. Each names the job that it is about. */
export type WorkerMessage =
  | { kind: 'started'; id: number }
  /** A request was sent or answered. */
  | { kind: 'request'; id: number; index: number; request: RecordedRequest }
  | { kind: 'finished'; id: number; result: BotRunResult }
  /** Nothing that the job has begun goes on any more. */
  | { kind: 'idle'; id: number };

/** What a worker gets at its start. */
export interface WorkerSetup {
  port: MessagePort;
  /** Its first element is the time of the last sign of life, by `monotonicNanoseconds`. */
  heartbeat: BigInt64Array;
}

/** Milliseconds between signs of life. */
const HEARTBEAT = 20;

parentPort?.once('message', ({ port, heartbeat }: WorkerSetup) => {
  parentPort?.close();
  setInterval(() => {
    heartbeat[0] = monotonicNanoseconds();
  }, HEARTBEAT).unref();
  let running: BotJob | undefined;
  // Medplum's server survives a rejection that a bot does not handle; a Lambda does not.
  process.on('unhandledRejection', (reason) => {
    if (running?.runtime !== 'vmcontext') {
      throw reason;
    }
  });
  const send = (message: WorkerMessage): void => port.postMessage(message);
  port.on('message', ({ id, job }: WorkerRequest) => {
    running = job;
    const resourcesBefore = activeResources();
    heartbeat[0] = monotonicNanoseconds();
    send({ kind: 'started', id });
    const recorder = new RequestRecorder((index) =>
      send({ kind: 'request', id, index, request: recorder.requests[index]! }),
    );
    void runBot(job, recorder).then((result) => {
      send({ kind: 'finished', id, result });
      const reportWhenIdle = (): void => {
        if (activeResources() === resourcesBefore) {
          send({ kind: 'idle', id });
        } else {
          setTimeout(reportWhenIdle, HEARTBEAT).unref();
        }
      };
      setImmediate(reportWhenIdle);
    });
  });
});

/**
 * What keeps this thread alive, such as timers and open connections; without what is unreferenced.
 */
function activeResources(): string {
  return process.getActiveResourcesInfo().toSorted().join();
}
