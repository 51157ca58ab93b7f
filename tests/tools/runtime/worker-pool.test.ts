// Bots in threads: each run gets its own result, even if a run before it damaged its thread.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { BotJob, BotRunResult } from '../../tools/src/runtime/bot-run.ts';
import type { BotRuntime } from '../../tools/src/runtime/sandbox-types.ts';
import { WorkerPool } from '../../tools/src/runtime/worker-pool.ts';
import type { WorkerPoolOptions } from '../../tools/src/runtime/worker-pool.ts';

const RUNTIMES = ['vmcontext', 'awslambda'] as const;

let cleanups: (() => unknown)[] = [];
afterEach(async () => {
  await Promise.all(cleanups.map((clean) => clean()));
  cleanups = [];
});

function startPool(options: WorkerPoolOptions = {}): WorkerPool {
  const pool = new WorkerPool({ grace: 30, ...options });
  cleanups.push(() => pool.stop());
  return pool;
}

function job(runtime: BotRuntime, body: string, settings: Partial<BotJob> = {}): BotJob {
  return {
    code: `exports.handler = async (medplum, event) => { ${body} };`,
    runtime,
    timeout: 10,
    baseUrl: 'http://127.0.0.1:9/',
    accessToken: 'x.e30.x',
    event: { bot: {}, input: {}, contentType: 'application/fhir+json', secrets: {} },
    ...settings,
  };
}

/** Ways to run into a timeout, by runtime, and what the real servers say. */
const HANGS: Record<BotRuntime, string[]> = {
  vmcontext: ['for (;;) {}', 'await null; for (;;) {}'],
  awslambda: ['for (;;) {}', 'await new Promise(() => {});'],
};
const TIMEOUT_MESSAGE: Record<BotRuntime, string> = {
  vmcontext: 'Script execution timed out after 30ms',
  awslambda: 'Task timed out after 0.03 seconds',
};

it('200 times, the runs after a timeout get their own results', async () => {
  const pool = startPool();
  let round = 0;
  const playRounds = async (): Promise<void> => {
    while (round < 200) {
      const number = round++;
      const runtime = RUNTIMES[number % 2]!;
      const hang = HANGS[runtime][Math.floor(number / 2) % 2]!;
      const timedOut = await pool.run(job(runtime, hang, { timeout: 0.03 }));
      expect(timedOut.error?.message).toBe(TIMEOUT_MESSAGE[runtime]);
      for (const next of RUNTIMES) {
        const answer = await pool.run(job(next, `return { number: ${number}, next: '${next}' };`));
        expect(answer).toMatchObject({ result: { number, next }, log: [] });
        expect(answer.error).toBeUndefined();
      }
    }
  };
  await Promise.all([playRounds(), playRounds(), playRounds(), playRounds()]);
}, 240_000); // most of the time goes into starting new threads

describe.each(RUNTIMES)('on %s', (runtime) => {
  it('eight bots that hang do not keep the ninth from running', async () => {
    const pool = startPool({ patience: 50 });
    const hung = Array.from({ length: 8 }, () =>
      pool.run(job(runtime, 'await new Promise(() => {});')),
    );
    expect((await pool.run(job(runtime, 'return 9;'))).result).toBe(9);
    await pool.stop();
    for (const { error } of await Promise.all(hung)) {
      expect(error?.message).toBe('The bot ended its process');
    }
  });

  it('a bot cannot answer for its run, nor for another', async () => {
    const pool = startPool();
    const forge = `const { parentPort } = require('node:worker_threads');
      for (const id of [0, 1, 2, 3]) {
        const result = { result: 'forged', log: [], requests: [] };
        parentPort.postMessage({ kind: 'finished', id, result });
      }`;
    const results = [];
    for (const name of ['a', 'b', 'c']) {
      results.push((await pool.run(job(runtime, `${forge} return '${name}';`))).result);
    }
    expect(results).toEqual(['a', 'b', 'c']);
  });

  it('a process that a bot ends after its result does not fail the next run', async () => {
    const pool = startPool();
    for (let number = 0; number < 10; number++) {
      const leave = `require('node:timers').setTimeout(() => process.exit(), ${number});
        return true;`;
      expect((await pool.run(job(runtime, leave))).result).toBe(true);
      const next = await pool.run(
        job(runtime, `await require('node:timers/promises').setTimeout(20); return ${number};`),
      );
      expect(next).toMatchObject({ result: number });
    }
  });

  it('an error after the result does not fail the next run', async () => {
    const pool = startPool();
    const leave = `require('node:timers').setTimeout(() => { throw new Error('late'); }, 5);
      return true;`;
    expect((await pool.run(job(runtime, leave))).result).toBe(true);
    expect((await pool.run(job(runtime, 'return 2;'))).result).toBe(2);
  });

  it('says that a bot has ended its process, and why', async () => {
    const pool = startPool();
    const exit = await pool.run(job(runtime, 'process.exit(0);'));
    expect(exit.error?.message).toBe('The bot ended its process');
    const crash = `require('node:timers').setTimeout(() => { throw new Error('boom'); }, 1);
      await new Promise(() => {});`;
    expect((await pool.run(job(runtime, crash))).error?.message).toBe(
      'The bot ended its process: boom',
    );
  });

  it("does not show the developer's environment variables to bots", async () => {
    process.env['SECRET_OF_THE_DEVELOPER'] = 'visible';
    cleanups.push(() => delete process.env['SECRET_OF_THE_DEVELOPER']);
    const pool = startPool();
    const { result } = await pool.run(job(runtime, 'return Object.keys(process.env);'));
    expect(result).toEqual([]);
  });

  it('records the requests of a run, with method and line of the client call', async () => {
    const pool = startPool();
    const server = createServer((request, response) => {
      response.statusCode = request.url?.startsWith('/fhir') ? 403 : 202;
      response.setHeader('Content-Type', 'application/json');
      response.end('{}');
    });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    cleanups.push(() => server.close());
    const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const body = `
      await fetch(event.input + 'elsewhere', { method: 'POST' });
      await medplum.createResource({ resourceType: 'Task' });`;
    const event = { ...job(runtime, '').event, input: baseUrl };
    const { requests, error } = await pool.run(job(runtime, body, { baseUrl, event }));
    expect(error).toBeDefined();
    expect(requests).toMatchObject([
      { method: 'POST', url: `${baseUrl}elsewhere`, status: 202, toMedplum: false },
      {
        method: 'POST',
        url: `${baseUrl}fhir/R4/Task`,
        status: 403,
        toMedplum: true,
        clientMethod: 'createResource',
      },
    ]);
    const lines = requests.map(({ stack }) => /(?:anonymous>|user\.cjs):(\d+)/.exec(stack)?.[1]);
    const firstLine = runtime === 'vmcontext' ? 5 : 0;
    expect(lines).toEqual([`${firstLine + 2}`, `${firstLine + 3}`]);
  });

  it('keeps the requests of a run that never ends', async () => {
    const pool = startPool();
    const server = createServer(() => undefined); // never answers
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    cleanups.push(() => {
      server.closeAllConnections();
      server.close();
    });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/slow`;
    const body = `const pending = fetch('${url}'); await null; for (;;) {}`;
    const { error, requests } = await pool.run(job(runtime, body, { timeout: 0.05 }));
    expect(error?.message).toMatch(/timed out/);
    expect(requests).toMatchObject([{ method: 'GET', url }]);
    expect(requests[0]?.status).toBeUndefined();
  });

  it('runs with the clock of the job', async () => {
    const pool = startPool();
    const day = 24 * 60 * 60 * 1000;
    const { result } = await pool.run(
      job(runtime, 'return [Date.now(), new Date().getTime(), new Date(0).getTime()];', {
        clockOffset: day,
      }),
    );
    const [now, date, epoch] = result as [number, number, number];
    expect(Math.abs(now - Date.now() - day)).toBeLessThan(60_000);
    expect(Math.abs(date - Date.now() - day)).toBeLessThan(60_000);
    expect(epoch).toBe(0);
  });
});

describe('on vmcontext', () => {
  it('a rejection that no one handles does not end the run, as on the server', async () => {
    const pool = startPool();
    const body = `Promise.reject(new Error('ignored'));
      await require('node:timers/promises').setTimeout(20); return true;`;
    expect((await pool.run(job('vmcontext', body))).result).toBe(true);
  });
});

describe('on awslambda', () => {
  it('a rejection that no one handles ends the run, as on a Lambda', async () => {
    const pool = startPool();
    const body = `Promise.reject(new Error('unhandled'));
      await require('node:timers/promises').setTimeout(20); return true;`;
    const { error }: BotRunResult = await pool.run(job('awslambda', body));
    expect(error?.message).toBe('The bot ended its process: unhandled');
  });
});
