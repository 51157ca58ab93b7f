// Which uses of a missing global may run: small modules in the shapes that real packages have.
import { describe, expect, test } from 'vitest';
import { markFreeNames, namesIn } from '../../tools/src/bundling/free-names.ts';
import { KnownValues } from '../../tools/src/bundling/known-values.ts';
import { findNameUses } from '../../tools/src/bundling/name-uses.ts';

const MISSING = ['Buffer', 'setTimeout', 'crypto', 'AbortController', 'File', 'FormData', 'window'];

/** The code of a package, before a bot that calls `run`. */
async function usesIn(code: string, allFunctions = false): Promise<string[]> {
  const bundle = await markFreeNames(
    `${code}\nasync function handler() { return run(1); }\nmodule.exports = { handler };`,
    [...MISSING, 'console', 'Error'],
  );
  const values = new KnownValues(bundle.program, new Set(MISSING), bundle.freeName);
  return findNameUses(bundle, values, allFunctions).map(({ name }) => name);
}

describe('a use that runs is found', () => {
  test.each([
    ['in a function that the bot calls', 'function run(x) { return Buffer.from(x); }'],
    ['when the module is loaded', 'var empty = Buffer.alloc(0); function run() {}'],
    ['in a callback', 'function run(x) { return [x].map((y) => Buffer.from(y)); }'],
    [
      'in a method',
      'class Client { send(x) { return Buffer.from(x); } } ' +
        'const run = (x) => new Client().send(x);',
    ],
    [
      'in the constructor of a base class',
      'class Base { constructor(x) { this.x = Buffer.from(x); } } ' +
        'class Client extends Base {} const run = (x) => new Client(x);',
    ],
    [
      'in a method that a computed name calls',
      'const codecs = { base64(x) { return Buffer.from(x); } }; const run = (x) => codecs[x](x);',
    ],
    [
      'in a method of the same class that a computed name calls',
      'class Client { base64(x) { return Buffer.from(x); } send(x) { return this[x](x); } } ' +
        'const run = (x) => new Client().send(x);',
    ],
    [
      'in functions that are called one after the other',
      'const steps = { first(x) { return Buffer.from(x); } }; ' +
        'const run = (x) => Object.values(steps).map((step) => step(x));',
    ],
    [
      'in what a stream calls',
      'class Encoder extends Base { _transform(x) { this.push(Buffer.from(x)); } } ' +
        'const run = () => new Encoder();',
    ],
    [
      'in a trap of a proxy',
      'const run = () => new Proxy({}, { get(target, name) { return Buffer.from(name); } });',
    ],
    [
      'in a CommonJS module',
      'var require_encode = __commonJS({ "node_modules/encode/index.js"(exports, module) ' +
        '{ module.exports = function encode(x) { return Buffer.from(x); }; } }); ' +
        'var encode = __toESM(require_encode()); function run(x) { return encode.default(x); }',
    ],
    [
      'in a class that is kept under another name',
      'class Encoder { constructor(x) { this.x = Buffer.from(x); } } const api = {}; ' +
        'api.Encoder = Encoder; const run = (x) => new api.Encoder(x);',
    ],
    [
      'in a function of a module that is used as an object',
      '__export(codec_exports, { encode: () => encode }); var codec_exports = {}; ' +
        'function encode(x) { return Buffer.from(x); } ' +
        'function run(x) { return use(codec_exports); } ' +
        'function use(codec) { return codec.encode(1); }',
    ],
    [
      'where the test is about something else',
      'function run(x) { return typeof process === "object" ? Buffer.from(x) : x; }',
    ],
    [
      'after a test that goes on',
      'function run(x) { if (typeof Buffer === "undefined") { log("none"); } ' +
        'return Buffer.from(x); }',
    ],
    [
      'where a catch throws again',
      'function run(x) { try { return Buffer.from(x); } ' +
        'catch (error) { throw new Failure(error); } }',
    ],
    [
      'in a callback inside try, which runs later',
      'function run(x) { try { later(() => Buffer.from(x)); } catch { return x; } }',
    ],
    ['by way of globalThis', 'function run(x) { return globalThis.Buffer.from(x); }'],
    ['by way of globalThis, with new', 'function run(x) { return new globalThis.Buffer(x); }'],
    [
      'as an option that may be set from outside',
      'const options = { buffers: false }; ' +
        'function run(x) { return options.buffers ? Buffer.from(x) : x; }',
    ],
    [
      'where a variable has two values',
      'let hasBuffer = typeof Buffer !== "undefined"; function force() { hasBuffer = true; } ' +
        'function run(x) { force(); return hasBuffer && Buffer.from(x); }',
    ],
  ])('%s', async (_, code) => {
    expect(await usesIn(code)).toEqual(['Buffer']);
  });
});

describe('a use that does not run is not', () => {
  test.each([
    [
      'typeof in the same expression',
      'const run = (x) => (typeof Buffer === "undefined" ? x : Buffer.from(x));',
    ],
    [
      'typeof the other way around',
      'const run = (x) => ("function" === typeof Buffer && Buffer.from(x)) || x;',
    ],
    [
      'typeof that is negated',
      'function run(x) { if (!(typeof Buffer !== "undefined")) { return x; } ' +
        'else { return Buffer.from(x); } }',
    ],
    [
      'typeof of the global object',
      'function run(x) { if (typeof globalThis.Buffer === "function") { return Buffer.from(x); } }',
    ],
    [
      'an early return',
      'function run(x) { if (typeof Buffer === "undefined") { return x; } return Buffer.from(x); }',
    ],
    [
      'an early throw',
      'function run(x) { if (typeof Buffer === "undefined") throw new Failure("no Buffer"); ' +
        'return Buffer.from(x); }',
    ],
    [
      'a member of globalThis',
      'const run = (x) => (globalThis.Buffer ? globalThis.Buffer.from(x) : x);',
    ],
    ['an optional member of globalThis', 'const run = (x) => globalThis.Buffer?.from(x) ?? x;'],
    ['`in` globalThis', 'const run = (x) => ("Buffer" in globalThis ? Buffer.from(x) : x);'],
    [
      'a member of whatever is the global object',
      'const root = (function () { if (typeof window !== "undefined") { return window; } ' +
        'return {}; })(); const run = (x) => (root.Buffer && x instanceof Buffer ? 1 : x);',
    ],
    [
      'a constant',
      'const hasBuffer = typeof Buffer !== "undefined"; ' +
        'const run = (x) => (hasBuffer ? Buffer.from(x) : x);',
    ],
    [
      'a constant made of another one',
      'const hasBuffer = typeof Buffer !== "undefined"; ' +
        'const native = hasBuffer && !!Buffer.from; ' +
        'const run = (x) => (native ? Buffer.from(x) : x);',
    ],
    [
      'a function',
      'const hasBuffer = () => typeof Buffer === "function"; ' +
        'function run(x) { return hasBuffer() ? Buffer.from(x) : x; }',
    ],
    [
      'a function with a body',
      'function hasBuffer() { try { return typeof Buffer !== "undefined"; } ' +
        'catch { return false; } } ' +
        'function run(x) { return hasBuffer() ? Buffer.from(x) : x; }',
    ],
    [
      'a member',
      'const platform = {}; platform.hasBuffer = !!globalThis.Buffer; ' +
        'const run = (x) => (platform.hasBuffer ? Buffer.from(x) : x);',
    ],
    [
      'an argument',
      'const encode = ((has) => (has ? (x) => Buffer.from(x) : (x) => x))' +
        '(typeof Buffer !== "undefined"); const run = (x) => encode(x);',
    ],
    [
      'a helper that is called behind the test',
      'const encode = (x) => Buffer.from(x); ' +
        'const run = (x) => (typeof Buffer === "undefined" ? x : encode(x));',
    ],
    ['try and catch', 'function run(x) { try { return Buffer.from(x); } catch { return x; } }'],
    [
      'a helper that is called inside try',
      'function encode(x) { return Buffer.from(x); } ' +
        'function run(x) { try { return encode(x); } catch (error) { return x; } }',
    ],
    [
      'a function that is called where it stands, inside try',
      'function run(x) { try { return (() => Buffer.from(x))(); } catch { return x; } }',
    ],
    [
      'a method that nothing calls',
      'class Client { send(x) { return x; } encode(x) { return Buffer.from(x); } } ' +
        'const run = (x) => new Client().send(x);',
    ],
    [
      'a class that nothing uses',
      'const Encoder = class _Encoder { static make() { return new _Encoder(); } ' +
        'constructor(x) { this.x = Buffer.from(x); } }; const run = (x) => x;',
    ],
    [
      'a class that is only registered',
      'class Encoder { constructor(x) { this.x = Buffer.from(x); } } ' +
        'Encoder.prototype.size = 1; const api = {}; api.Encoder = Encoder; ' +
        'function run(x) { return api.length; }',
    ],
    [
      'a method that is only passed on',
      'class Web { encode(x) { return Buffer.from(x); } send(x) { return x; } } ' +
        'const api = {}; function use(web) { api.encode = web.encode; return web.send(1); } ' +
        'const run = () => use(new Web());',
    ],
    [
      'a method with the name of a method of lists',
      'var zod_exports = {}; __export(zod_exports, { map: () => map, text: () => text }); ' +
        'function map(x) { return Buffer.from(x); } function text(x) { return x; } ' +
        'const run = (x) => [x].map(zod_exports.text);',
    ],
    [
      'a factory that nothing calls',
      'const FileSchema = define("FileSchema", (x) => x instanceof Buffer); const run = (x) => x;',
    ],
    [
      'a constant that is only compared',
      'const parser = {}; parser.NODE_STREAM_INPUT = 1; ' +
        'function encode(x) { return Buffer.from(x); } ' +
        'const run = (x) => (x === parser.NODE_STREAM_INPUT ? encode(x) : x);',
    ],
    ['a name of its own', 'function run(Buffer) { return Buffer.from(1); }'],
    [
      'a name that the module imports',
      'const { Buffer } = require("node:buffer"); const run = (x) => Buffer.from(x);',
    ],
    [
      'a global that the bundle sets',
      'globalThis.Buffer ??= require("node:buffer").Buffer; const run = (x) => Buffer.from(x);',
    ],
    [
      'globals that the bundle sets',
      'Object.assign(globalThis, { Buffer: require("node:buffer").Buffer }); ' +
        'const run = (x) => Buffer.from(x);',
    ],
    [
      'a fallback for a package',
      'var import_form_data = __toESM(require("form-data")); ' +
        'var form_default = import_form_data.default; ' +
        'const run = () => new (form_default || FormData)();',
    ],
    ['HTML forms', 'const run = (x) => (isForm(x) ? new FormData(x) : x);'],
  ])('%s', async (_, code) => {
    expect(await usesIn(code)).toEqual([]);
  });
});

test('each name is found, at each of its places', async () => {
  const code =
    'function run(x) { setTimeout(() => crypto.randomUUID()); ' +
    'return Buffer.concat([Buffer.from(x)]); }';
  expect((await usesIn(code)).toSorted()).toEqual(['Buffer', 'Buffer', 'crypto', 'setTimeout']);
});

test('where every function counts, only tests for the global do', async () => {
  expect(await usesIn('function unused(x) { return Buffer.from(x); }', true)).toEqual(['Buffer']);
  expect(
    await usesIn(
      'const unused = (x) => (typeof Buffer === "undefined" ? x : Buffer.from(x));',
      true,
    ),
  ).toEqual([]);
});

test('the quick look finds names that may be globals', () => {
  const names = ['Buffer', 'crypto'];
  expect(namesIn('return Buffer.from(x)', names)).toEqual(['Buffer']);
  expect(namesIn('globalThis.crypto.subtle', names)).toEqual(['crypto']);
  expect(namesIn('node.Buffer, MyBuffer, Buffers, import_crypto', names)).toEqual([]);
});
