// The runtime `vmcontext`: a script in a context of its own that has few globals. The wrapping
// follows Medplum server 5.1.26 [packages/server/src/bots/vmcontext.ts].
import { ContentType, Hl7Message, MedplumClient } from '@medplum/core';
import nodeFetch from 'node-fetch';
import { createContext, runInContext } from 'node:vm';
import { DEFAULT_TIMEOUT_SECONDS } from '../config/runtimes.ts';
import { requireFromBotLayer } from './bot-layer.ts';
import type { BotLog } from './bot-log.ts';
import { COLUMNS_BEFORE_BUNDLE, LINES_BEFORE_BUNDLE } from './bundle-place.ts';
import { shiftDate } from './clock.ts';
import type { SandboxOptions } from './sandbox-types.ts';

/**
 * Runs the handler of a bundle in a new context.
 *
 * @param log - receives what the bot logs
 * @returns what the handler returned
 * @throws what the bundle throws, in many cases errors of the context's realm
 */
export async function runOnVmContext(
  code: string,
  options: SandboxOptions,
  log: BotLog,
): Promise<unknown> {
  const { medplum, event, filename, timeout = DEFAULT_TIMEOUT_SECONDS, clockOffset = 0 } = options;
  const context = createContext({
    console: new LogOnlyConsole(log),
    fetch: options.fetch ?? nodeFetch,
    require: requireFromBotLayer('vmcontext'),
    process,
    ContentType,
    Hl7Message,
    MedplumClient,
    TextDecoder,
    TextEncoder,
    URL,
    URLSearchParams,
    event: { ...event, medplum, logThrown: (line: string) => log.pushThrown(line) },
  });
  if (clockOffset !== 0) {
    runInContext(`globalThis.Date = (${shiftDate.toString()})(Date, ${clockOffset})`, context);
  }
  const place = filename ? { filename, lineOffset: -LINES_BEFORE_BUNDLE } : {};
  return await runInContext(wrap(code, filename !== undefined), context, {
    ...place,
    timeout: Math.ceil(timeout * 1000),
  });
}

/**
 * The bundle shares its scope with `exports`, `module` and the call below it. So a bundle that
 * assigns `module.exports` has no handler, and one whose last line lacks its semicolon runs on into
 * the parenthesis.
 */
function wrap(code: string, keepsColumns: boolean): string {
  const indentation = keepsColumns ? '' : ' '.repeat(COLUMNS_BEFORE_BUNDLE);
  return `
const exports = {};
const module = { exports };


${indentation}${code}

  (async () => {
    const { medplum, logThrown, ...sent } = event;
    const { bot, requester, input, contentType, secrets, traceId, headers, responseStream } = sent;
    delete event.medplum; // the real server creates its client here
    delete event.logThrown; // the real server calls console.log
    try {
      const parsed = contentType === ContentType.HL7_V2 && input ? Hl7Message.parse(input) : input;
      const result = await exports.handler(medplum,
        { bot, requester, input: parsed, contentType, secrets, traceId, headers, responseStream });
      return contentType === ContentType.HL7_V2 && result ? result.toString() : result;
    } catch (err) {
      logThrown('Unhandled error: ' + (err instanceof Error ? err.message + '\\n' + err.stack
        : typeof err === 'object' ? JSON.stringify(err, undefined, 2) : err));
      throw err;
    }
  })();
`;
}

/** The server's console for bots: `log` and nothing else; objects come out as "[object Object]". */
class LogOnlyConsole {
  readonly messages: BotLog;
  constructor(messages: BotLog) {
    this.messages = messages;
  }
  log(...values: unknown[]): void {
    this.messages.push(values.join(' '));
  }
}
