// A deployment that ends at any request, before or after the server carried it out, is completed by the next one.
import { AsyncLocalStorage } from 'node:async_hooks';
import http from 'node:http';
import { syncBuiltinESMExports } from 'node:module';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SETUP, command, run, startWorld, state, writeRepository } from './harness.ts';
import type { Request, TestBot, World } from './harness.ts';

const policy = [{ resourceType: 'Patient', readonly: true }];
const BEFORE: TestBot[] = [
  { name: 'code-bot', subscriptions: [{ criteria: 'Patient' }], accessPolicy: policy },
  { name: 'settings-bot', timeout: 10, subscriptions: [{ criteria: 'Patient' }, { criteria: 'Task' }] },
  { name: 'old-name-bot', subscriptions: [{ criteria: 'Patient' }], accessPolicy: policy },
  { name: 'gone-bot', subscriptions: [{ criteria: 'Patient' }], accessPolicy: policy },
];
/** Everything at once: new, code, settings with `$deploy`, criteria, policy added and changed, a rename, removals. */
const AFTER: TestBot[] = [
  {
    name: 'new-bot',
    subscriptions: [{ criteria: 'Patient' }, { criteria: 'Task', interactions: ['create'] }],
    accessPolicy: policy,
  },
  {
    name: 'code-bot',
    code: 'exports.handler = async () => 2;\n',
    subscriptions: [{ criteria: 'Patient' }],
    accessPolicy: [{ resourceType: 'Task' }],
  },
  { name: 'settings-bot', timeout: 20, subscriptions: [{ criteria: 'Practitioner' }], accessPolicy: policy },
  {
    name: 'new-name-bot',
    previousNames: ['old-name-bot'],
    subscriptions: [{ criteria: 'Patient' }],
    accessPolicy: policy,
  },
];
const OPTIONS = { prune: true, concurrency: 1 };

let before: string;
let after: string;
let wanted: unknown;
let sent: Request[];

async function startedWorld(): Promise<World> {
  const world = await startWorld();
  expect((await run(world, before)).failed).toEqual([]);
  world.requests.length = 0;
  return world;
}

beforeAll(async () => {
  before = writeRepository(BEFORE);
  after = writeRepository(AFTER);
  const world = await startedWorld();
  expect((await run(world, after, OPTIONS)).failed).toEqual([]);
  sent = [...world.requests];
  wanted = await state(world);
  await world.stop();
});

/** A run that ends at a request as if its process had died: nothing of it goes on, not even in the background. */
interface Life {
  cutAt: number;
  sent: number;
  end: () => void;
}
const lives = new AsyncLocalStorage<Life>();
const { request } = http;

beforeAll(() => {
  http.request = ((...args: Parameters<typeof request>) => {
    const life = lives.getStore();
    if (!life || ++life.sent < life.cutAt) return request(...args);
    life.end();
    return new PassThrough().resume(); // takes what is sent, and never answers
  }) as typeof request;
  syncBuiltinESMExports();
});
afterAll(() => {
  http.request = request;
  syncBuiltinESMExports();
});

describe('a run that ends', () => {
  it(
    'before any of its requests (which is after the one before it) leaves what the next run completes',
    { timeout: 300_000 },
    async () => {
      expect(sent.length).toBeGreaterThan(30);
      for (const { number, method, path } of sent) {
        const place = `before request ${number}, ${method} ${path.replace(/[0-9a-f-]{36}/, 'ID')}`;
        const world = await startedWorld();
        await new Promise<void>((end, reject) => {
          const first = lives.run({ cutAt: number, sent: 0, end }, () => run(world, after, OPTIONS));
          first.then(() => reject(new Error(`${place}: not cut`)), reject);
        });
        expect((await run(world, after, OPTIONS)).failed, place).toEqual([]);
        expect(await state(world), place).toEqual(wanted);
        expect((await run(world, after, OPTIONS)).writes, place).toEqual([]);
        await world.stop();
      }
    },
  );
});

describe('two runs at the same time', () => {
  it('end in the same state, or one says that the other was there', async () => {
    const world = await startedWorld();
    const both = await Promise.all([run(world, after, OPTIONS), run(world, after, { prune: true })]);
    const word = /changed by someone else meanwhile.*run it again$|not as it should be.*run it again$/;
    for (const { message } of both.flatMap(({ failed }) => failed)) expect(message).toMatch(word);
    expect((await run(world, after, OPTIONS)).failed).toEqual([]);
    expect(await state(world)).toEqual(wanted);
    expect((await run(world, after, OPTIONS)).writes).toEqual([]);
    await world.stop();
  });
});

describe('a line that breaks', () => {
  it.each(['cut before', 'cut after'] as const)(
    'once at every request (%s the server carried it out) changes nothing',
    async (cut) => {
      const world = await startedWorld();
      const broken = new Set<string>();
      world.rule = ({ method, path, body }) => {
        const request = `${method} ${path} ${path === 'oauth2/token' ? '' : body}`;
        if (broken.has(request)) return undefined;
        broken.add(request);
        return cut;
      };
      expect((await run(world, after, { prune: true })).failed).toEqual([]);
      expect(broken.size).toBeGreaterThan(30);
      world.rule = () => undefined;
      expect(await state(world)).toEqual(wanted);
      await world.stop();
    },
  );
});

describe('a process that is killed', () => {
  it.each([0.3, 0.6, 0.9])('at %f of its requests leaves what the next run completes', async (part) => {
    const world = await startedWorld();
    const last = Math.round(sent.length * part);
    let kill: () => void = () => undefined;
    world.rule = ({ number }) => {
      if (number !== last) return undefined;
      kill();
      return 'cut after';
    };
    const process = command(after, SETUP, '--prune');
    kill = () => globalThis.process.kill(process.pid!, 'SIGKILL');
    expect((await process.done).code).toBeNull();
    world.rule = () => undefined;
    const second = await command(after, SETUP, '--prune').done;
    expect(second).toMatchObject({ code: 0, stderr: '' });
    expect(await state(world)).toEqual(wanted);
    await world.stop();
  });
});
