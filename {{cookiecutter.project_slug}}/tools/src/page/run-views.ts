// A run of a bot as the page shows it: one line in the list, or everything about it.
import * as core from '@medplum/core';
import type { Resource } from '@medplum/fhirtypes';
import type { Run } from '../medplum/bot-runs.ts';
import { findSettings } from '../runtime/bot-settings.ts';
import { explainFailure } from '../runtime/explain-failure.ts';
import type { FailureExplanation } from '../runtime/explain-failure.ts';
import type { RecordedRequest } from '../runtime/recorded-requests.ts';
import type { SandboxError } from '../runtime/sandbox-types.ts';
import type {
  JsonText,
  LogPart,
  RequestView,
  RunDetails,
  RunError,
  RunSummary,
} from './api-types.ts';
import { placeIn } from './run-sources.ts';
import type { RunSources } from './run-sources.ts';

/** Characters of an event or a result that the page shows. */
const JSON_SHOWN = 300_000;
/** Characters of a log that are sent at once. */
const LOG_PART = 100_000;
const NOT_THERE = new Set([404, 410]);
const SECRET_HEADERS = new Set(['authorization', 'cookie', 'proxy-authorization']);

/** @returns `create`, `update` or `delete` for a subscription; the cause for all other runs */
function triggerOf({ cause, request: { headers } }: Run): string {
  return header(headers, 'x-medplum-interaction') ?? cause;
}

/** @returns the resource in the event, such as `Patient/123`; a cron bot has none */
export function resourceOf({ cause, request: { input } }: Run): string | undefined {
  if (cause === 'cron') {
    return undefined;
  }
  const given = input as { deletedResource?: Resource } | Resource | undefined | null;
  const resource = given && 'deletedResource' in given ? given.deletedResource : given;
  if (!core.isResource(resource)) {
    return undefined;
  }
  return resource.id === undefined
    ? resource.resourceType
    : `${resource.resourceType}/${resource.id}`;
}

export function toSummary(run: Run): RunSummary {
  return {
    id: run.id,
    bot: run.bot.name ?? run.bot.id,
    status: run.state,
    trigger: triggerOf(run),
    resource: resourceOf(run),
    startedAt: run.startedAt.toISOString(),
    milliseconds: run.milliseconds,
    requests: run.sent.length + run.requestsNotKept,
    failedRequests: run.sent.filter(hasFailed).length,
    error: run.state === 'failed' ? firstLine(errorMessage(run)) : undefined,
  };
}

export function toDetails(run: Run, sources: RunSources): RunDetails {
  const summary = toSummary(run);
  return {
    ...summary,
    botId: run.bot.id,
    runtime: run.bot.runtimeVersion,
    code: run.bot.executableCode?.title,
    contentType: run.request.contentType,
    timeline: run.sent.map((request) => toRequestView(request, run, sources)),
    requestsNotKept: run.requestsNotKept,
    event: jsonText(eventOf(run)),
    result: run.state === 'succeeded' ? jsonText(run.value) : undefined,
    failure: run.state === 'failed' ? failureOf(run, sources) : undefined,
    logLength: run.log.length,
  };
}

/**
 * A part of the run's log, at most 100,000 characters.
 *
 * @param before - where the part ends; the end of the log if undefined
 */
export function toLogPart(run: Run, sources: RunSources, before?: number): LogPart {
  const length = run.log.length;
  const end = Math.min(before ?? length, length);
  let start = Math.max(0, end - LOG_PART);
  if (start > 0) {
    // Begin with a whole line, unless the line is longer than the part.
    const newline = run.log.indexOf('\n', start);
    start = newline >= 0 && newline < end - 1 ? newline + 1 : start;
  }
  return { text: sources.readable(run.log.slice(start, end), run.code), start, end, length };
}

/** @returns the event in the form of the files in tests/events, without the caller's credentials */
function eventOf({ request }: Run): Record<string, unknown> {
  const { requester, input, contentType, traceId, headers = {} } = request;
  const shown = Object.entries(headers).filter(([name]) => !SECRET_HEADERS.has(name.toLowerCase()));
  return { requester, input, contentType, traceId, headers: Object.fromEntries(shown) };
}

function toRequestView(request: RecordedRequest, run: Run, sources: RunSources): RequestView {
  const { toMedplum, method, url, clientMethod, stack, status, failure } = request;
  const { host, pathname, search } = URL.parse(url) ?? { host: url, pathname: '', search: '' };
  return {
    target: toMedplum ? 'Medplum' : host,
    method,
    path: pathname + search,
    clientMethod,
    place: placeIn(sources.readable(stack, run.code)),
    status,
    failure,
    failed: hasFailed(request),
    offset: Math.max(0, Date.parse(request.startedAt) - run.startedAt.getTime()),
    milliseconds: request.milliseconds,
  };
}

function hasFailed({ status, failure }: RecordedRequest): boolean {
  const isRefused = status !== undefined && status >= 400 && !NOT_THERE.has(status);
  return failure !== undefined || isRefused;
}

function failureOf(run: Run, sources: RunSources): RunError {
  const stack = withoutToolFrames(sources.readable(run.error?.stack ?? '', run.code));
  const explanation = run.error && explain(run, run.error, sources);
  return {
    message: errorMessage(run),
    summary: explanation?.summary,
    hint: explanation?.hint,
    stack,
    excerpt: sources.excerpt(stack, run.code),
  };
}

function explain(run: Run, error: SandboxError, sources: RunSources): FailureExplanation {
  const bot = findSettings(run.bot.name);
  return explainFailure({ error, sent: run.sent, bot, map: sources.sourceMap(run.code) });
}

/** Frames of the local runtime and of Node say nothing about the bot. */
function withoutToolFrames(stack: string): string {
  return stack.replaceAll(/\n {4}at .*(?:\/tools\/src\/|node:internal).*/g, '');
}

function errorMessage(run: Run): string {
  if (run.error) {
    return run.error.message;
  }
  return core.isOperationOutcome(run.value) ? core.operationOutcomeToString(run.value) : run.log;
}

function jsonText(value: unknown): JsonText {
  const text = JSON.stringify(value, null, 2) ?? 'undefined';
  return { text: text.slice(0, JSON_SHOWN), length: text.length };
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0]!.slice(0, 300);
}

function header(headers: Run['request']['headers'], name: string): string | undefined {
  const found = Object.entries(headers ?? {}).find(([key]) => key.toLowerCase() === name);
  return found?.[1] === undefined ? undefined : String(found[1]);
}
