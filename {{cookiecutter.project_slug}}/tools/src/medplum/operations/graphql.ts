// $graphql: answered in a thread of its own, because its schema takes seconds of processor time to
// build.
import * as core from '@medplum/core';
import type { FhirRequest, FhirResponse } from '@medplum/fhir-router';
import { Worker } from 'node:worker_threads';
import type { LocalRepository } from '../repository.ts';
import { issueToken } from '../tokens.ts';
import type { GraphqlAnswer, GraphqlQuestion } from './graphql-worker.ts';

const LIMIT_MILLISECONDS = 60_000;

let worker: Worker | undefined;
let lastNumber = 0;
const waiting = new Map<number, (response: FhirResponse) => void>();

/** @param repo - its actor has a membership: the query runs with a token made for it */
export async function runGraphql(
  { body }: FhirRequest,
  { state, actor }: LocalRepository,
): Promise<FhirResponse> {
  const authorization = `Bearer ${issueToken(actor.membership!, state.baseUrl)}`;
  const number = ++lastNumber;
  return new Promise((resolve) => {
    const timer = setTimeout(() => end([core.serverTimeout()]), LIMIT_MILLISECONDS);
    const end = (response: FhirResponse): void => {
      clearTimeout(timer);
      waiting.delete(number);
      resolve(response);
    };
    waiting.set(number, end);
    const question: GraphqlQuestion = { number, body, authorization, baseUrl: state.baseUrl };
    graphqlWorker().postMessage(question);
  });
}

function graphqlWorker(): Worker {
  worker ??= startWorker();
  return worker;
}

function startWorker(): Worker {
  const started = new Worker(new URL('graphql-worker.ts', import.meta.url), { stdin: false });
  started.on('message', ({ number, response }: GraphqlAnswer) => waiting.get(number)?.(response));
  started.on('error', () => {
    worker = undefined;
    const failed = core.serverError(new Error('GraphQL failed'));
    waiting.forEach((end) => end([failed]));
  });
  started.unref();
  return started;
}
