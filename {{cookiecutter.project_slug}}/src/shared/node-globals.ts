// Globals of Node that the runtime vmcontext lacks, for npm packages that need them. Import it
// before the package: import '../shared/node-globals.ts'; import axios from 'axios'; Your own code
// needs no globals: import Buffer from 'node:buffer', and so on (docs/runtimes.md).
/* oxlint-disable no-restricted-properties */
import { Blob, Buffer, File, atob, btoa } from 'node:buffer';
import { webcrypto } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { ReadableStream, TransformStream, WritableStream } from 'node:stream/web';
import {
  clearImmediate,
  clearInterval,
  clearTimeout,
  setImmediate,
  setInterval,
  setTimeout,
} from 'node:timers';
import { transferableAbortController } from 'node:util';
import { deserialize, serialize } from 'node:v8';

const { constructor: Controller, signal } = transferableAbortController();

globalThis.AbortController ??= Controller as typeof AbortController;
globalThis.AbortSignal ??= signal.constructor as typeof AbortSignal;
globalThis.Blob ??= Blob;
globalThis.Buffer ??= Buffer;
globalThis.File ??= File;
globalThis.ReadableStream ??= ReadableStream;
globalThis.TransformStream ??= TransformStream;
globalThis.WritableStream ??= WritableStream;
globalThis.atob ??= atob;
globalThis.btoa ??= btoa;
globalThis.clearImmediate ??= clearImmediate;
globalThis.clearInterval ??= clearInterval;
globalThis.clearTimeout ??= clearTimeout;
globalThis.crypto ??= webcrypto as typeof globalThis.crypto;
globalThis.performance ??= performance;
globalThis.queueMicrotask ??= (callback: () => void): void => void Promise.resolve().then(callback);
globalThis.setImmediate ??= setImmediate;
globalThis.setInterval ??= setInterval;
globalThis.setTimeout ??= setTimeout;
globalThis.structuredClone ??= <T>(value: T): T => deserialize(serialize(value)) as T;
