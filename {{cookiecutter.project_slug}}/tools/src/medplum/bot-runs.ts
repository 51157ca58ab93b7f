// The runs of bots that the local server remembers: what started each, what it asked Medplum, how
// it ended.
import type { WithId } from '@medplum/core';
import type { Bot } from '@medplum/fhirtypes';
import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import type { ExecuteRequest, ExecuteResult, RunCause } from './execute-bot.ts';
import type { RecordedRequest } from '../runtime/recorded-requests.ts';
import type { SandboxError } from '../runtime/sandbox-types.ts';

/** Older runs are forgotten. */
const RUNS_KEPT = 1000;
/** Requests of one run that are kept; a bot in a loop must not fill the memory. */
const REQUESTS_KEPT = 1000;

/** A request that a bot sent to Medplum during a run. */
export interface RunRequest {
  method: string;
  /** With the query, for example `/fhir/R4/Patient?identifier=123`. */
  path: string;
  status: number;
  startedAt: Date;
  milliseconds: number;
}

/** One run of a bot; the object is the same from its start to its end. */
export interface Run {
  id: string;
  bot: WithId<Bot>;
  cause: RunCause;
  /** What the bot was called with: input, headers, content type, requester, trace id. */
  request: ExecuteRequest;
  /** The deployed code that ran; undefined where the bot has none. */
  code: string | undefined;
  state: 'running' | 'succeeded' | 'failed';
  startedAt: Date;
  /** From start to end; 0 while it runs. */
  milliseconds: number;
  /** In the order in which they were answered. */
  requests: RunRequest[];
  /** Requests beyond the ones kept in `requests`. */
  requestsNotKept: number;
  /**
   * The same requests as the bot saw them, and those to other servers, in the order in which they
   * were sent: with the method of the client and the place in the code. One without an answer is
   * still waiting, or failed.
   */
  sent: RecordedRequest[];
  /** Whether it succeeded; false while it runs. */
  success: boolean;
  /** What the bot logged; empty while it runs. */
  log: string;
  /** What the handler returned, or the OperationOutcome of what it threw. */
  value?: unknown;
  /** What the handler threw; its stack points into `code`. */
  error?: SandboxError | undefined;
}

export interface RunEvents {
  started: [Run];
  /** The bot sent a request to Medplum, and it was answered. */
  request: [Run, RunRequest];
  /** The bot sent a request, to Medplum or elsewhere, or got the answer to it. */
  sent: [Run, RecordedRequest];
  ended: [Run];
}

export class BotRuns extends EventEmitter<RunEvents> {
  private readonly runs = new Map<string, Run>();

  /** @returns the latest runs, newest first; running ones too */
  list(): Run[] {
    return [...this.runs.values()].toReversed();
  }

  get(id: string): Run | undefined {
    return this.runs.get(id);
  }

  start(request: ExecuteRequest, code: string | undefined): Run {
    const run: Run = {
      id: randomUUID(),
      bot: request.bot,
      cause: request.cause,
      request,
      code,
      state: 'running',
      startedAt: new Date(),
      milliseconds: 0,
      requests: [],
      requestsNotKept: 0,
      sent: [],
      success: false,
      log: '',
    };
    this.runs.set(run.id, run);
    this.forgetOldRuns();
    this.emit('started', run);
    return run;
  }

  end(run: Run, { success, log, value, error }: ExecuteResult): void {
    run.state = success ? 'succeeded' : 'failed';
    run.milliseconds = Date.now() - run.startedAt.getTime();
    run.success = success;
    run.log = log;
    run.value = value;
    run.error = error;
    this.emit('ended', run);
  }

  /** Notes a request that came with the token of a run. */
  addRequest(runId: string, request: RunRequest): void {
    const run = this.runs.get(runId);
    if (!run) {
      return;
    }
    if (run.requests.length < REQUESTS_KEPT) {
      run.requests.push(request);
    } else {
      run.requestsNotKept += 1;
    }
    this.emit('request', run, request);
  }

  /** Notes a request when a bot sends it, and again when it is answered. */
  noteSent(run: Run, request: RecordedRequest, index: number): void {
    if (index < REQUESTS_KEPT) {
      run.sent[index] = request;
      this.emit('sent', run, request);
    }
  }

  private forgetOldRuns(): void {
    for (const [id, { state }] of this.runs) {
      if (this.runs.size <= RUNS_KEPT) {
        return;
      }
      if (state !== 'running') {
        this.runs.delete(id);
      }
    }
  }
}
