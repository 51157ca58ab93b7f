// How the deployment repeats a request: what it waits for, how long, and when it gives up.
import { createServer } from 'node:http';
import type { Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { readHistory } from '../../tools/src/deploy/history.ts';
import { search, searchAll } from '../../tools/src/deploy/search.ts';
import { connect } from '../../tools/src/deploy/server.ts';
import { UserError } from '../../tools/src/terminal/user-error.ts';

const waits = vi.hoisted((): number[] => []);
const held = vi.hoisted((): { until?: Promise<void> } => ({}));
vi.mock('node:timers/promises', () => ({
  setTimeout: async (milliseconds: number) => {
    waits.push(milliseconds);
    await held.until;
  },
}));

type Answer = [status: number, headers?: Record<string, string>];
let http: Server;
let baseUrl: string;
let answers: Answer[];
let bodyOf: (url: string | undefined) => object | undefined = () => undefined;

beforeAll(async () => {
  http = createServer((request, response) => {
    if (request.url === '/oauth2/token') {
      return void response.end(
        JSON.stringify({ access_token: 'x', project: { reference: 'Project/p' } }),
      );
    }
    const [status, headers] = answers.length > 1 ? answers.shift()! : answers[0]!;
    response.writeHead(status, headers);
    response.end(
      JSON.stringify(bodyOf(request.url) ?? (status === 200 ? { resourceType: 'Bot' } : {})),
    );
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  baseUrl = `http://127.0.0.1:${(http.address() as AddressInfo).port}/`;
});
afterAll(() => void http.close());
beforeEach(() => {
  waits.length = 0;
  delete held.until;
  bodyOf = () => undefined;
});

const read = async (...given: Answer[]): Promise<unknown> => {
  answers = given;
  const server = await connect({
    name: 'local',
    baseUrl,
    clientId: 'c',
    clientSecret: 's',
    projectId: 'p',
  });
  return server.send('GET', 'Bot/1');
};

describe('a request that is refused for now', () => {
  it.each<[string, Answer, number]>([
    ['Retry-After in seconds', [429, { 'Retry-After': '7' }], 7000],
    ["Medplum's RateLimit", [429, { RateLimit: '"fhirInteractions";r=0;t=12' }], 12_000],
    [
      'the first of several limits that is used up',
      [429, { RateLimit: '"requests";r=5;t=3, "fhirInteractions";r=0;t=9' }],
      9000,
    ],
    ['a minute at most', [503, { 'Retry-After': '86400' }], 65_000],
  ])('waits as long as the server asks: %s', async (_, refusal, wanted) => {
    expect(await read(refusal, [200])).toEqual({ resourceType: 'Bot' });
    expect(waits).toEqual([wanted]);
  });

  it('waits until a date', async () => {
    await read([429, { 'Retry-After': new Date(Date.now() + 30_000).toUTCString() }], [200]);
    expect(waits[0]).toBeGreaterThan(25_000);
    expect(waits[0]).toBeLessThanOrEqual(30_000);
  });

  it('waits longer each time if the server asks for nothing, and gives up in the end', async () => {
    await expect(read([503])).rejects.toThrow(
      'GET Bot/1 was answered with 503: Service Unavailable',
    );
    expect(waits).toHaveLength(6);
    expect(waits[5]).toBeGreaterThan(waits[0]!);
  });

  it('lets other requests wait, too: each would let Medplum start its minute again', async () => {
    let release: () => void = () => undefined;
    held.until = new Promise((resolve) => (release = resolve));
    const asked: (string | undefined)[] = [];
    bodyOf = (url) => void asked.push(url);
    answers = [[429, { RateLimit: '"fhirInteractions";r=0;t=9' }], [200]];
    const server = await connect({
      name: 'local',
      baseUrl,
      clientId: 'c',
      clientSecret: 's',
      projectId: 'p',
    });
    const first = server.send('GET', 'Bot/1');
    await vi.waitFor(() => expect(waits).toEqual([9000]));
    const second = server.send('GET', 'Bot/2');
    await fetch(`${baseUrl}another-request`);
    expect(asked).toEqual(['/fhir/R4/Bot/1', '/another-request']);
    release();
    await Promise.all([first, second]);
    expect(asked.slice(2).toSorted()).toEqual(['/fhir/R4/Bot/1', '/fhir/R4/Bot/2']);
    expect(waits).toEqual([9000]);
  });

  it('is given up after two minutes of waiting, each wait of which is told', async () => {
    const told = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    // The waits of the tests before are over.
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_600_000 });
    await expect(read([429, { 'Retry-After': '50' }])).rejects.toThrow(
      'GET Bot/1 was answered with 429: Too Many Requests',
    );
    expect(waits).toEqual([50_000, 50_000]);
    expect(told.mock.calls.flat()).toContain(
      `${new URL(baseUrl).origin} asks to wait for 50 seconds.`,
    );
    vi.useRealTimers();
    told.mockRestore();
  });

  it.each([400, 403, 404, 413, 500])('is not repeated after %i', async (status) => {
    await expect(read([status])).rejects.toThrow(`was answered with ${status}`);
    expect(waits).toEqual([]);
  });
});

it('asks alone for what a batch refused for now', async () => {
  const found = { resourceType: 'Bundle', entry: [{ resource: { resourceType: 'Bot', id: '1' } }] };
  const tooMany = { entry: [{ response: { status: '429' } }] };
  answers = [[200], [429, { 'Retry-After': '3' }], [200]];
  bodyOf = (url) => (url === '/fhir/R4/' ? tooMany : found);
  const server = await connect({
    name: 'local',
    baseUrl,
    clientId: 'c',
    clientSecret: 's',
    projectId: 'p',
  });
  const [bots] = await searchAll(server, ['Bot?_count=1000']);
  expect(bots).toMatchObject([{ id: '1' }]);
  expect(waits).toEqual([3000]);
});

it('reads each page of a search by one request, and a resource on two pages once', async () => {
  const page = (ids: string[], next?: string): object => ({
    resourceType: 'Bundle',
    type: 'searchset',
    entry: ids.map((id) => ({ resource: { resourceType: 'Bot', id } })),
    ...(next && { link: [{ relation: 'next', url: `${baseUrl}fhir/R4/${next}` }] }),
  });
  const bodies: Record<string, object> = {
    '/fhir/R4/': {
      entry: [
        { response: { status: '200' }, resource: page(['1', '2'], 'Bot?_cursor=2') },
        { response: { status: '403' } },
      ],
    },
    '/fhir/R4/Bot?_cursor=2': page(['2', '3'], 'Bot?_cursor=3'),
    '/fhir/R4/Bot?_cursor=3': page(['4']),
  };
  answers = [[200]];
  const asked: (string | undefined)[] = [];
  bodyOf = (url) => {
    asked.push(url);
    return bodies[url ?? ''];
  };
  const server = await connect({
    name: 'local',
    baseUrl,
    clientId: 'c',
    clientSecret: 's',
    projectId: 'p',
  });
  const [bots, policies] = await searchAll(server, ['Bot?_count=1000', 'AccessPolicy?_count=1000']);
  expect(bots).toMatchObject([{ id: '1' }, { id: '2' }, { id: '3' }, { id: '4' }]);
  expect(policies).toBeUndefined();
  expect(asked).toEqual(Object.keys(bodies));
});

describe('a server without end', () => {
  const LIMITS = { milliseconds: 300, wait: 120, bytes: 1000, values: 1000, pages: 3 };

  /** A server that answers the sign-in, and everything else by the function. */
  async function withServer(
    answer: (path: string, response: ServerResponse) => void,
    use: (server: Awaited<ReturnType<typeof connect>>) => Promise<void>,
  ): Promise<void> {
    const endless = createServer((request, response) => {
      if (request.url === '/oauth2/token') {
        const token = { access_token: 'x', project: { reference: 'Project/p' } };
        response.end(JSON.stringify(token));
      } else {
        answer(request.url ?? '', response);
      }
    });
    await new Promise<void>((resolve) => endless.listen(0, '127.0.0.1', resolve));
    const { port } = endless.address() as AddressInfo;
    const address = `http://127.0.0.1:${port}/`;
    const credentials = { name: 'local', clientId: 'c', clientSecret: 's', projectId: 'p' };
    try {
      await use(await connect({ ...credentials, baseUrl: address }, LIMITS));
    } finally {
      endless.closeAllConnections();
      endless.close();
    }
  }

  it('is given up when its answer takes too long, byte by byte', async () => {
    await withServer(
      (_, response) => {
        const timer = setInterval(() => response.write(' '), 10);
        response.on('close', () => clearInterval(timer));
      },
      async (server) => {
        await expect(server.send('GET', 'Bot/1')).rejects.toThrow('gave no complete answer within');
      },
    );
  });

  it('is given up when its answer is too large, before all of it is read', async () => {
    let sent = 0;
    await withServer(
      (_, response) => {
        const write = (): void => {
          while (!response.destroyed && sent < 700_000_000 && response.write('x'.repeat(100_000))) {
            sent += 100_000;
          }
        };
        response.on('drain', write);
        write();
      },
      async (server) => {
        await expect(server.send('GET', 'Bot/1')).rejects.toThrow('sent more than');
      },
    );
    expect(sent).toBeLessThan(100_000_000);
  });

  it.each([
    ['a page that names itself', () => 'Bot?page=1', 'does not end'],
    ['new pages without end', (number: number) => `Bot?page=${number}`, 'more than 3 pages'],
  ])('is given up at %s', async (_, next, message) => {
    let asked = 0;
    await withServer(
      (_path, response) => {
        asked++;
        const url = `http://127.0.0.1/fhir/R4/${next(asked)}`;
        const bundle = { resourceType: 'Bundle', link: [{ relation: 'next', url }] };
        response.end(JSON.stringify(bundle));
      },
      async (server) => {
        await expect(search(server, 'Bot?_count=1')).rejects.toThrow(message);
      },
    );
    expect(asked).toBeLessThanOrEqual(4);
  });

  it('is given up when it asks for another protocol, and never looks done', async () => {
    await withServer(
      (_, response) => {
        response.writeHead(101, { Connection: 'Upgrade', Upgrade: 'other' }).end();
      },
      async (server) => {
        await expect(server.send('GET', 'Bot/1')).rejects.toThrow(
          'cannot be reached (the connection was closed without an answer)',
        );
      },
    );
  });

  it('is given up when it refuses slowly, again and again', async () => {
    let asked = 0;
    await withServer(
      (_, response) => {
        asked++;
        setTimeout(() => response.writeHead(503).end(), 200);
      },
      async (server) => {
        await expect(server.send('GET', 'Bot/1')).rejects.toThrow('was answered with 503');
      },
    );
    expect(asked).toBeLessThanOrEqual(2);
  });

  it('is given up when not all of its pages can be asked for', async () => {
    await withServer(
      (_, response) => {
        const link = [{ relation: 'next', url: 'https://example.com/page/2' }];
        response.end(JSON.stringify({ resourceType: 'Bundle', link }));
      },
      async (server) => {
        await expect(search(server, 'Bot?_count=1')).rejects.toThrow(
          'GET Bot has a next page that is not below /fhir/R4/',
        );
      },
    );
  });

  it('is not asked over http, unless it is on this machine', async () => {
    const credentials = { name: 'x', clientId: 'c', clientSecret: 's', projectId: 'p' };
    for (const address of [
      'http://127.0.0.2:1/',
      'http://10.0.0.1/',
      'http://medplum.example.com/',
    ]) {
      await expect(connect({ ...credentials, baseUrl: address })).rejects.toThrow(
        'over http the client secret could be read',
      );
    }
  });
});

describe('an answer that is not what was asked for', () => {
  const bot = { resourceType: 'Bot', id: '1' };
  const searchset = (entry: unknown, link?: unknown): object => ({
    resourceType: 'Bundle',
    entry,
    link,
  });

  const reject = async (
    body: unknown,
    ask: (server: Awaited<ReturnType<typeof connect>>) => Promise<unknown>,
  ): Promise<void> => {
    answers = [[200]];
    bodyOf = () => body as object;
    const credentials = { name: 'local', clientId: 'c', clientSecret: 's', projectId: 'p' };
    const server = await connect({ ...credentials, baseUrl });
    const error = await ask(server).then(
      () => undefined,
      (reason: Error) => reason,
    );
    expect(error).toBeInstanceOf(UserError);
    expect(error?.message).toMatch(/^GET Bot\S* (was answered|has a next page)[^\n]+$/);
    expect(error?.message).not.toMatch(/undefined|\[object/);
  };

  it.each<[string, unknown]>([
    ['entries that are no list', searchset({})],
    ['an entry that is null', searchset([null])],
    ['a resource that is null', searchset([{ resource: null }])],
    ['a resource that is a text', searchset([{ resource: 'Bot' }])],
    ['a resource without id', searchset([{ resource: { resourceType: 'Bot' } }])],
    ['a resource of another type', searchset([{ resource: { ...bot, resourceType: 'Patient' } }])],
    ['links that are no list', searchset([], {})],
    ['a link that is null', searchset([], [null])],
    ['a next page without address', searchset([], [{ relation: 'next' }])],
    ['a next page with a number for an address', searchset([], [{ relation: 'next', url: 5 }])],
    ['an identifier that is no list', searchset([{ resource: { ...bot, identifier: {} } }])],
    ['an identifier that is null', searchset([{ resource: { ...bot, identifier: [null] } }])],
    ['meta that is a text', searchset([{ resource: { ...bot, meta: 'x' } }])],
    ['tags that are no list', searchset([{ resource: { ...bot, meta: { tag: {} } } }])],
    ['a tag that is null', searchset([{ resource: { ...bot, meta: { tag: [null] } } }])],
    ['code with a number for a title', searchset([{ resource: { ...bot, executableCode: 5 } }])],
  ])('is said in one line, in a search and in a history: %s', async (_, body) => {
    await reject(body, (server) => search(server, 'Bot?_count=20'));
    const isPage = JSON.stringify(body).includes('"link"');
    if (!isPage) {
      await reject(body, (server) => readHistory(server, 'Bot/1'));
    }
  });
});
