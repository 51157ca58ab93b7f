// One run of a bot in this thread: a client that acts as the bot, the sandbox, and a record of its
// requests.
import { MedplumClient } from '@medplum/core';
import nodeFetch from 'node-fetch';
import { createPdf } from './create-pdf.ts';
import { RequestRecorder } from './recorded-requests.ts';
import type { RecordedRequest } from './recorded-requests.ts';
import { runInSandbox } from './sandbox.ts';
import type { BotEvent, BotRuntime, SandboxResult } from './sandbox-types.ts';

export interface BotJob {
  code: string;
  runtime: BotRuntime;
  /** Seconds. */
  timeout: number;
  /** Address of the Medplum server, with a slash at the end. */
  baseUrl: string;
  /** Of the membership whose rights the run has. */
  accessToken: string;
  event: BotEvent;
  /** Milliseconds by which the bot's clock is ahead of this machine's; 0 if left out. */
  clockOffset?: number;
  /** See SandboxOptions. */
  filename?: string;
}

export interface BotRunResult extends SandboxResult {
  /** In the order in which they were sent. */
  requests: RecordedRequest[];
}

/**
 * Runs a bot once. Node's `fetch` of this thread is replaced while it runs, so one bot at a time.
 *
 * @param job - see BotJob
 * @param recorder - holds the requests also where the run never ends
 * @returns what the sandbox returns, and the requests
 */
export async function runBot(job: BotJob, recorder = new RequestRecorder()): Promise<BotRunResult> {
  const nativeFetch = globalThis.fetch;
  const { code, runtime, timeout, event, clockOffset = 0, filename } = job;
  const medplum = createClient(job, recorder, nativeFetch);
  globalThis.fetch = recorder.record(nativeFetch as never, false);
  try {
    const answer = await runInSandbox(code, {
      runtime,
      timeout,
      medplum,
      event,
      clockOffset,
      fetch: recorder.record(nodeFetch as never, false),
      ...(filename !== undefined && { filename }),
    });
    return { ...answer, requests: recorder.requests };
  } finally {
    globalThis.fetch = nativeFetch;
  }
}

function createClient(job: BotJob, recorder: RequestRecorder, send: typeof fetch): MedplumClient {
  const trace = job.event.traceId ?? '';
  const traced: typeof fetch = (url, options = {}) => {
    const headers = { ...(options.headers as object), 'X-Trace-Id': trace, traceparent: trace };
    return send(url, { ...options, headers });
  };
  const medplum = new MedplumClient({
    baseUrl: job.baseUrl,
    fetch: recorder.record(traced as never, true),
    ...(job.runtime === 'awslambda' && { createPdf: createPdf as never }),
  });
  medplum.setAccessToken(job.accessToken);
  recorder.observe(medplum);
  return medplum;
}
