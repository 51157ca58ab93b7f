// A run of a bot, as a test of the local Medplum sees it: result, error, log and requests.
import { readFileSync } from 'node:fs';
import type { Run } from '../medplum/bot-runs.ts';
import type { RunCause } from '../medplum/execute-bot.ts';
import { mapStack } from '../runtime/source-maps.ts';

/** A request that the bot sent, to Medplum or elsewhere. */
export interface SentRequest {
  method: string;
  url: string;
  /** Whether it went to Medplum through the bot's client. */
  toMedplum: boolean;
  /** HTTP status; undefined if no answer came. */
  status: number | undefined;
  /** The place in the sources that sent it, such as `src/bots/my-bot.ts:12:5`. */
  place: string | undefined;
}

export interface BotRun {
  /** The name of the bot. */
  bot: string;
  /** `subscription`, `cron`, `execute`, … */
  cause: RunCause;
  /** What the handler was called with. */
  input: unknown;
  success: boolean;
  /** What the handler returned; undefined if it threw. */
  result: unknown;
  /** What the handler threw. Its stack points into the sources. */
  error: { name: string; message: string; stack: string } | undefined;
  /** What the bot logged, with stacks that point into the sources. */
  log: string;
  /** In the order in which they were sent. */
  requests: SentRequest[];
  milliseconds: number;
}

/**
 * @param run - as the server keeps it
 * @param folder - with the bundles and their source maps
 */
export function describeRun(run: Run, folder: string): BotRun {
  const name = run.bot.name ?? '';
  const inSources = (text: string): string => mapToSources(text, name, folder);
  const error = run.error && {
    name: run.error.name,
    message: run.error.message,
    stack: inSources(run.error.stack),
  };
  return {
    bot: name,
    cause: run.cause,
    input: run.request.input,
    success: run.success,
    result: error ? undefined : run.value,
    error,
    log: inSources(run.log),
    requests: run.sent.map(({ method, url, toMedplum, status, stack }) => {
      const place = /\bsrc\/[^()\s]+:\d+:\d+/.exec(inSources(stack))?.[0];
      return { method, url, toMedplum, status, place };
    }),
    milliseconds: run.milliseconds,
  };
}

function mapToSources(text: string, bot: string, folder: string): string {
  let map: string;
  try {
    map = readFileSync(`${folder}/dist/bots/${bot}.js.map`, 'utf8');
  } catch {
    return text; // not a bot of this repository
  }
  return mapStack(text, map, `${folder}/dist/bots`);
}
