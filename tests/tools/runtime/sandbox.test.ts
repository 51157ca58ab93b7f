// The sandbox against what a real Medplum server gives a bot: its globals, its console, its way to
// call a handler.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { logOfBot } from '../../tools/src/runtime/bot-log.ts';
import { runInSandbox } from '../../tools/src/runtime/sandbox.ts';
import type {
  BotEvent,
  SandboxOptions,
  SandboxResult,
} from '../../tools/src/runtime/sandbox-types.ts';

const event: BotEvent = {
  bot: { reference: 'Bot/1' },
  input: { resourceType: 'Patient', id: '1' },
  contentType: 'application/fhir+json',
  secrets: {},
  headers: {},
};

function run(
  runtime: SandboxOptions['runtime'],
  code: string,
  options: Partial<SandboxOptions> = {},
): Promise<SandboxResult> {
  return runInSandbox(code, { runtime, medplum: { marker: true }, event, ...options });
}

const handler = (body: string): string =>
  `exports.handler = async function (medplum, event) { ${body} };`;

it.each(['vmcontext', 'awslambda'] as const)(
  'on %s, what the bot logged is told apart from what the runtime logs of its error',
  async (runtime) => {
    const lines = ['Error 1 of 2', 'Unhandled error: none'];
    const code = `console.log('${lines[0]}'); console.log('${lines[1]}'); throw new Error('boom');`;
    const { log, error } = await run(runtime, handler(code));
    expect(log.length).toBeGreaterThan(lines.length);
    expect(logOfBot(log.join('\n'), error!)).toBe(lines.join('\n'));
  },
);

describe('vmcontext', () => {
  it('has the globals of the real server and no others', async () => {
    const ofTheLanguage: string[] = runInNewContext('Object.getOwnPropertyNames(globalThis)');
    const { result } = await run(
      'vmcontext',
      handler('return Object.getOwnPropertyNames(globalThis);'),
    );
    const added = (result as string[]).filter(
      (name) => !ofTheLanguage.includes(name) || name === 'console',
    );
    expect(added.sort()).toEqual(
      [
        'fetch',
        'URL',
        'URLSearchParams',
        'TextEncoder',
        'TextDecoder',
        'process',
        'require',
        'console',
      ]
        .concat(['MedplumClient', 'ContentType', 'Hl7Message', 'event'])
        .sort(),
    );
  });

  it('lacks what the real server lacks, also by typeof', async () => {
    const absent = [
      'setTimeout',
      'setInterval',
      'setImmediate',
      'clearTimeout',
      'AbortController',
      'AbortSignal',
    ]
      .concat([
        'Buffer',
        'crypto',
        'structuredClone',
        'Headers',
        'Response',
        'Request',
        'FormData',
        'Blob',
        'atob',
      ])
      .concat([
        'btoa',
        'performance',
        'queueMicrotask',
        'global',
        '__dirname',
        '__filename',
        'ReadableStream',
      ])
      .concat(['DOMException', 'Event', 'EventTarget']);
    const { result } = await run(
      'vmcontext',
      handler(`return [${absent.map((name) => `typeof ${name}`).join()}];`),
    );
    expect(result).toEqual(absent.map(() => 'undefined'));
    const there = await run(
      'vmcontext',
      handler('return [typeof Intl, typeof WebAssembly, typeof module];'),
    );
    expect(there.result).toEqual(['object', 'object', 'object']);
  });

  it('has console.log alone, which joins texts and needs its console', async () => {
    const { result, log } = await run(
      'vmcontext',
      handler(`console.log('a', 1, { b: 2 }); let detached = false;
        try { ['x'].forEach(console.log); } catch { detached = true; }
        return [Object.keys(console), typeof console.error, typeof console.warn, detached];`),
    );
    expect(result).toEqual([['messages'], 'undefined', 'undefined', true]);
    expect(log).toEqual(['a 1 [object Object]']);
    const { error } = await run('vmcontext', handler("console.error('hidden');"));
    expect(error).toMatchObject({ name: 'TypeError', message: 'console.error is not a function' });
  });

  it('reads the handler from exports, so a bundle without its footer has none', async () => {
    const bundle = 'module.exports = { handler: async () => true };';
    expect((await run('vmcontext', bundle)).error?.outcome).toMatchObject({
      issue: [
        {
          severity: 'error',
          code: 'invalid',
          details: { text: 'exports.handler is not a function' },
        },
      ],
    });
    expect(
      (await run('vmcontext', `${bundle}\nObject.assign(exports, module.exports);`)).result,
    ).toBe(true);
    expect(
      (await run('vmcontext', `${bundle}\nObject.assign(exports, module.exports);\n//# x`)).result,
    ).toBe(true);
  });

  it('fails where the last line lacks its semicolon', async () => {
    const footer =
      'module.exports = { handler: async () => true };\nObject.assign(exports, module.exports)';
    expect((await run('vmcontext', footer)).error?.message).toMatch(/is not a function$/);
    const arrow = await run('vmcontext', 'exports.handler = async () => ({ ok: true })');
    expect(arrow.error?.message).toContain('semicolon');
    expect(arrow.result).toBeUndefined();
  });

  it('is not a module: no import, no top-level await, no import()', async () => {
    expect((await run('vmcontext', `import 'node:fs';\n${handler('')}`)).error?.name).toBe(
      'SyntaxError',
    );
    expect((await run('vmcontext', `await null;\n${handler('')}`)).error?.name).toBe('SyntaxError');
    expect((await run('vmcontext', handler("await import('node:fs');"))).error?.name).toBe(
      'TypeError',
    );
  });

  it('gives errors of another realm, for which instanceof Error is false', async () => {
    const fail = (): Promise<never> => Promise.reject(new Error('refused'));
    const { result } = await run(
      'vmcontext',
      handler(`const own = new Error('own') instanceof Error;
        try { await medplum.fail(); } catch (error) { return [own, error instanceof Error, error.message]; }`),
      { medplum: { fail } },
    );
    expect(result).toEqual([true, false, 'refused']);
  });

  it('logs an error as the server does, line numbers included', async () => {
    const { log, error } = await run(
      'vmcontext',
      handler("console.log('before'); throw new Error('boom');"),
    );
    expect(log[0]).toBe('before');
    expect(log[1]).toMatch(
      /^Unhandled error: boom\nError: boom\n {4}at exports\.handler \(evalmachine\.<anonymous>:6:\d+\)/,
    );
    expect(log[2]).toBe('Error boom');
    expect(error).toMatchObject({ name: 'Error', message: 'boom' });
    const own = await run('vmcontext', handler("\nthrow new Error('boom');"), {
      filename: 'dist/bots/x.js',
    });
    expect(own.error?.stack).toContain('(dist/bots/x.js:2:7)');
  });

  it('stops code that never awaits at its timeout', async () => {
    const { error } = await run('vmcontext', handler('for (;;) {}'), { timeout: 0.05 });
    expect(error?.message).toBe('Script execution timed out after 50ms');
  });

  it('starts fresh each time', async () => {
    const code = `globalThis.runs = (globalThis.runs ?? 0) + 1;\n${handler('return runs;')}`;
    expect((await run('vmcontext', code)).result).toBe(1);
    expect((await run('vmcontext', code)).result).toBe(1);
  });

  it('fetches in the manner of node-fetch 2', async () => {
    const server = createServer((request, response) => {
      if (request.url?.startsWith('/cut')) {
        request.socket.destroy();
      } else {
        response.end(request.url === '/html' ? '<p>' : JSON.stringify(request.headers));
      }
    });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      const { result } = await run(
        'vmcontext',
        handler(`const failures = [];
          for (const path of ['/cut?q=1', '/html']) {
            try { await (await fetch(event.input + path)).json(); }
            catch (error) { failures.push([error.name, error.code, error.message, error instanceof Error]); }
          }
          const controller = require('node:util').transferableAbortController();
          controller.abort();
          await fetch(event.input, { signal: controller.signal }).catch((error) => failures.push(error.name));
          const response = await fetch(event.input);
          const headers = await response.json();
          return { failures, headers, read: response.bodyUsed, bytes: typeof response.bytes };`),
        { event: { ...event, input: base } },
      );
      expect(result).toMatchObject({
        failures: [
          [
            'FetchError',
            'ECONNRESET',
            `request to ${base}/cut?q=1 failed, reason: socket hang up`,
            false,
          ],
          [
            'FetchError',
            null,
            expect.stringContaining(`invalid json response body at ${base}/html reason:`),
            false,
          ],
          'AbortError',
        ],
        headers: { 'user-agent': expect.stringContaining('node-fetch') },
        read: true,
        bytes: 'undefined',
      });
    } finally {
      server.close();
    }
  });
});

describe('awslambda', () => {
  it("is a CommonJS module with Node's globals and a whole console", async () => {
    const { result, log } = await run(
      'awslambda',
      `module.exports = { handler: async () => {
        console.error('e', { a: 1 }); console.log('two\\nlines');
        return [typeof setTimeout, typeof Buffer, typeof AbortController, typeof __dirname, typeof global]; } }`,
    );
    expect(result).toEqual(['function', 'function', 'function', 'string', 'object']);
    expect(log).toEqual(['e { a: 1 }', 'two\nlines']);
  });

  it("has import(), for Node's modules and the bot layer's", async () => {
    const { result, error } = await run(
      'awslambda',
      handler(`const { createHash } = await import('node:crypto');
        const { getReferenceString } = await import('@medplum/core');
        return [typeof createHash, getReferenceString({ resourceType: 'Patient', id: '1' })];`),
    );
    expect(error).toBeUndefined();
    expect(result).toEqual(['function', 'Patient/1']);
  });

  it('recognizes its own errors, and says no more about outcomes', async () => {
    const { log, error } = await run('awslambda', handler("throw new Error('boom');"));
    expect(log).toEqual([expect.stringMatching(/^Unhandled error: boom\nError: boom\n/)]);
    expect(error?.message).toBe('boom');
    const refused = await run(
      'awslambda',
      handler(
        "const { OperationOutcomeError, notFound } = require('@medplum/core'); " +
          'throw new OperationOutcomeError(notFound);',
      ),
    );
    expect(refused.log).toEqual([]);
    expect(refused.error?.outcome).toMatchObject({ issue: [{ code: 'not-found' }] });
  });
});

describe.each(['vmcontext', 'awslambda'] as const)('%s', (runtime) => {
  it('calls the handler with the client and every key of an event', async () => {
    const { result } = await run(
      runtime,
      handler('return [medplum.marker, Object.keys(event).sort(), event.input.id];'),
    );
    const keys = ['bot', 'contentType', 'headers', 'input', 'requester', 'secrets', 'traceId'];
    if (runtime === 'vmcontext') {
      keys.push('responseStream');
    }
    expect(result).toEqual([true, keys.sort(), '1']);
  });

  it("requires Node's modules and the bot layer's, and nothing else", async () => {
    const { result } = await run(
      runtime,
      handler(`const names = ['node:crypto', 'fs', '@medplum/core', 'node:timers/promises'];
        const codes = ['zod', './x', 'hono'].map((n) => { try { require(n); } catch (error) { return error.code; } });
        return [names.map((name) => typeof require(name)), codes];`),
    );
    expect(result).toEqual([
      ['object', 'object', 'object', 'object'],
      ['MODULE_NOT_FOUND', 'MODULE_NOT_FOUND', 'MODULE_NOT_FOUND'],
    ]);
  });

  it('survives anything that a bundle throws', async () => {
    expect((await run(runtime, 'this is not code')).error?.name).toBe('SyntaxError');
    expect((await run(runtime, handler('throw undefined;'))).error?.message).toBe('Unknown error');
    expect((await run(runtime, handler("throw 'text';"))).error?.message).toBe('text');
    expect((await run(runtime, handler('throw null;'))).error).toBeDefined();
    expect((await run(runtime, handler('const a = {}; a.a = a; return a;'))).error?.name).toBe(
      'TypeError',
    );
    expect((await run(runtime, 'exports.handler = 7;')).error?.name).toBe('TypeError');
  });
});

describe('packages that medplum.config.json calls external', () => {
  const home = process.cwd();
  const folder = mkdtempSync(join(tmpdir(), 'external-'));
  const files = {
    'medplum.config.json': JSON.stringify({
      identifierSystem: 'urn:medplum-bots:test',
      external: ['own-layer', { package: '@aws-sdk/*', runtimes: ['awslambda'] }],
      bots: [],
    }),
    'package.json': '{}',
    'node_modules/own-layer/index.js': "module.exports = 'own layer';",
    'node_modules/@aws-sdk/client-s3/index.js': "module.exports = 's3';",
    'node_modules/other/index.js': "module.exports = 'other';",
  };

  beforeAll(() => {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    process.chdir(folder);
  });
  afterAll(() => {
    process.chdir(home);
    rmSync(folder, { recursive: true });
  });

  it.each([
    ['awslambda', 'own-layer', { result: 'own layer' }],
    ['vmcontext', 'own-layer', { result: 'own layer' }],
    ['awslambda', '@aws-sdk/client-s3', { result: 's3' }],
    [
      'vmcontext',
      '@aws-sdk/client-s3',
      { error: { message: "Cannot find module '@aws-sdk/client-s3'" } },
    ],
    ['awslambda', 'other', { error: { message: "Cannot find module 'other'" } }],
  ] as const)('on %s: %s', async (runtime, name, outcome) => {
    expect(await run(runtime, handler(`return require('${name}');`))).toMatchObject(outcome);
  });
});
