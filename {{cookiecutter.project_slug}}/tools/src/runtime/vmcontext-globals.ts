// What Node has as globals and a bot on vmcontext does not, and what to write instead. The linter
// and the check of the finished bundle use the same table.

const TIMERS = "import { setTimeout } from 'node:timers/promises'";
const ABORT = "import { transferableAbortController } from 'node:util'";
const BUFFER = "import { Buffer } from 'node:buffer'";
const BLOB = "import { Blob } from 'node:buffer'";
const CRYPTO = "import { randomUUID } (or what you need) from 'node:crypto'";
const STREAMS = "import it from 'node:stream/web'";
const PLAIN_OBJECT = 'give fetch a plain object';
const EMITTER = "import { EventEmitter } from 'node:events'";
const FOLDER = 'a bundle has no folder: import the file, and it becomes part of the bundle';

/** Measured on Medplum 5.1.26. */
export const VMCONTEXT_LACKS: Readonly<Record<string, string>> = {
  setTimeout: TIMERS,
  setInterval: TIMERS,
  setImmediate: TIMERS,
  clearTimeout: TIMERS,
  clearInterval: TIMERS,
  clearImmediate: TIMERS,
  AbortController: ABORT,
  AbortSignal: ABORT,
  Buffer: BUFFER,
  Blob: BLOB,
  File: "import { File } from 'node:buffer'",
  atob: BUFFER,
  btoa: BUFFER,
  crypto: CRYPTO,
  performance: "import { performance } from 'node:perf_hooks', or use Date.now()",
  structuredClone: 'use JSON.parse(JSON.stringify(resource))',
  Headers: PLAIN_OBJECT,
  Request: PLAIN_OBJECT,
  Response: PLAIN_OBJECT,
  FormData: 'send JSON or URLSearchParams',
  queueMicrotask: 'use await',
  ReadableStream: STREAMS,
  WritableStream: STREAMS,
  TransformStream: STREAMS,
  Event: EMITTER,
  EventTarget: EMITTER,
  WebSocket: 'use fetch: a bot ends before a message arrives',
  DOMException: 'throw an Error',
  global: 'import what you need; nothing is kept between two runs',
  __dirname: FOLDER,
  __filename: FOLDER,
};

/**
 * Methods of console other than `log`: before Medplum 5.1.28 they throw, and hide the real error.
 */
export const CONSOLE_METHODS: readonly string[] = [
  'error',
  'warn',
  'info',
  'debug',
  'trace',
  'table',
  'dir',
  'assert',
  'group',
  'groupEnd',
  'time',
  'timeEnd',
  'count',
];

export const CONSOLE_HINT =
  'use console.log: before Medplum 5.1.28 vmcontext has no other method of console, ' +
  'and the call throws';

/**
 * Classes whose `instanceof` is false for errors that Medplum and Node throw: they come from
 * another realm.
 */
export const ERROR_CLASSES: readonly string[] = [
  'Error',
  'TypeError',
  'RangeError',
  'SyntaxError',
  'AggregateError',
];

export const INSTANCEOF_HINT =
  'compare error.name, or test "message" in error: on vmcontext an error of Medplum or Node ' +
  'is not an instance of your Error';

/** A module of the repository that gives vmcontext some of Node's globals. */
export const NODE_GLOBALS_MODULE = 'src/shared/node-globals.ts';

/** Those that it provides. */
export const NODE_GLOBALS: ReadonlySet<string> = new Set([
  'AbortController',
  'AbortSignal',
  'Blob',
  'Buffer',
  'File',
  'ReadableStream',
  'TransformStream',
  'WritableStream',
  'atob',
  'btoa',
  'clearImmediate',
  'clearInterval',
  'clearTimeout',
  'crypto',
  'performance',
  'queueMicrotask',
  'setImmediate',
  'setInterval',
  'setTimeout',
  'structuredClone',
]);

/** Globals of browsers and of other servers. Packages look for them to find out where they run. */
export const OTHER_PLATFORMS: readonly string[] = [
  'Bun',
  'Deno',
  'EdgeRuntime',
  'Worker',
  'WorkerGlobalScope',
  'XMLHttpRequest',
  'document',
  'importScripts',
  'localStorage',
  'location',
  'self',
  'window',
];
