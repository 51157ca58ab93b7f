// Random schedules of changes, events, runs and faults: however they interleave, the external server ends as Medplum is.
// A failing schedule is shrunk and printed with its seed: SEED=<seed> runs it again. Each that was ever found is kept as
// a test of its own, in the generated repository's tests/fhir-sync.test.ts.
import { OperationOutcomeError, serverError, tooManyRequests } from '@medplum/core';
import type { BotEvent, MedplumClient } from '@medplum/core';
import type { Patient } from '@medplum/fhirtypes';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { handler as reconcileBot } from '../../src/bots/hapi-reconcile-bot.ts';
import { connectExternalServer } from '../../src/shared/external-server.ts';
import { changeFrom } from '../../src/shared/fhir-events.ts';
import { sync } from '../../src/shared/fhir-sync.ts';
import { clock } from '../../src/shared/retry.ts';
import * as configuration from '../../src/shared/sync-config.ts';
import type { SyncConfig } from '../../src/shared/sync-config.ts';
import { memorySource } from '../../tests/memory-source.ts';
import type { MemorySource } from '../../tests/memory-source.ts';
import { hapiModel } from './hapi-model.ts';
import type { Answer, HapiModel } from './hapi-model.ts';

const RUNS = Number(process.env['SCHEDULES'] ?? 1000);
const SYSTEM = 'https://medplum.com/patient-id';
const TOKEN = 'token-8w1q';
const SECRETS = {
  HAPI_BASE_URL: { name: 'HAPI_BASE_URL', valueString: 'http://localhost/fhir' },
  HAPI_BEARER_TOKEN: { name: 'HAPI_BEARER_TOKEN', valueString: TOKEN },
};
const NAME = 'Lovelace';
const BIRTH_DATE = '1815-12-10';
const MRN = 'MRN-77x';
/** What no log line, result or error may hold. */
const PRIVATE = new RegExp([NAME, BIRTH_DATE, MRN, TOKEN].join('|'));

/** What happens to a patient, and how often its event is delivered: at any time, in any order. */
interface Step {
  patient: 'p0' | 'p1' | 'p2';
  what: 'save' | 'remove' | 'reconcile';
  /** Whether Medplum's cache goes on answering with what was removed. */
  stillRead: boolean;
  links: ('p0' | 'p1' | 'p2')[];
  copies: number;
  /** How many requests and events of others happen before the next change. */
  turns: number;
}

/**
 * What happens to a request: on its way there, on its way back, or to the bot that waits for it. `hang`: until its time
 * is up; `held`: the bot is told that nobody answered, and the write lands at any time; `late`: after everything else.
 */
type Fault =
  | 'none'
  | '503'
  | '429'
  | 'html'
  | 'reset'
  | 'hang'
  | 'lost'
  | 'held'
  | 'late'
  | 'kill'
  | 'killed after';

/** What happens to the requests of all runs, to Medplum and to the other server, in their order; then nothing more. */
interface Faults {
  source: Fault[];
  reads: Fault[];
  writes: Fault[];
}

interface World {
  source: MemorySource;
  /** The source, with faults on the way. */
  medplum: MedplumClient;
  hapi: HapiModel;
  faults: Faults;
  /** Whether a DELETE was held up, or a write that made way for one: no fence holds that. */
  heldDelete: boolean;
  /** Whether a run made way for a DELETE. */
  madeWay: boolean;
  /** Writes that are held up until everything else is over. */
  late: (() => Promise<unknown>)[];
  said: string[];
  config: SyncConfig;
}

let world: World;

beforeEach(() => {
  vi.spyOn(clock, 'now').mockReturnValue(Date.parse('2026-01-01'));
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

function newWorld(s: fc.Scheduler, faults: Faults, changes: Partial<SyncConfig> = {}): World {
  const source = memorySource(() => clock.now());
  const turn = async (label: string): Promise<void> =>
    void (await s.schedule(Promise.resolve(), label));
  const hapi = hapiModel(() => turn('gap'));
  const config = { ...configuration.syncConfig({}), ...changes };
  const begun = { heldDelete: false, madeWay: false, late: [], said: [] };
  const made: World = {
    ...begun,
    source,
    hapi,
    medplum: source.medplum,
    faults: structuredClone(faults),
    config,
  };
  let timeIsUp = (): void => undefined; // for the request that is sent next
  vi.spyOn(console, 'log').mockImplementation((line: string) => void made.said.push(line));
  vi.spyOn(configuration, 'syncConfig').mockReturnValue(config);
  vi.spyOn(clock, 'sleep').mockImplementation((_ms, signal) =>
    signal ? new Promise((resolve) => (timeIsUp = resolve)) : turn('wait'),
  );
  source.before = turn;
  made.medplum = new Proxy(source.medplum, {
    get: (_, name: 'readResource') => async (type: 'Patient', id: string, options?: object) => {
      const fault = made.faults.source.shift() ?? 'none';
      if (fault === 'kill') {
        await new Promise(() => undefined);
      }
      if (fault === 'reset' || fault === 'hang' || fault === 'html') {
        await turn(fault);
        throw new TypeError('fetch failed');
      }
      if (fault === '503' || fault === '429') {
        throw new OperationOutcomeError(
          fault === '429' ? tooManyRequests : serverError(new Error(NAME)),
        );
      }
      const answer = await source.medplum[name](type, id, options);
      if (fault === 'killed after') {
        await new Promise(() => undefined);
      }
      if (fault === 'lost') {
        throw new TypeError('fetch failed');
      }
      return answer;
    },
  });
  vi.stubGlobal(
    'fetch',
    async (
      url: string,
      init: { method: string; headers: Record<string, string>; body?: string; signal: AbortSignal },
    ) => {
      const expire = timeIsUp;
      expect(init.headers['authorization']).toBe(`Bearer ${TOKEN}`);
      const path = url.replace(/^http:\/\/localhost\/fhir\/?/, '');
      const deliver = (): Promise<Answer> =>
        hapi.handle(init.method, path, init.headers, init.body ?? '');
      await turn(`${init.method} ${path}`);
      made.madeWay ||= path.includes('_revinclude');
      const writes = init.method !== 'GET' && !path.endsWith('_search');
      const fault = (writes ? made.faults.writes : made.faults.reads).shift() ?? 'none';
      if (fault === 'kill') {
        await new Promise(() => undefined);
      }
      if (fault === 'held' || fault === 'late') {
        made.heldDelete ||= init.method === 'DELETE' || (init.method === 'PUT' && made.madeWay);
        if (fault === 'held' || init.method === 'DELETE') {
          void s.schedule(Promise.resolve(), `held ${init.method} ${path}`).then(deliver);
        } else {
          made.late.push(deliver);
        }
      }
      if (fault === 'hang') {
        expire();
        await new Promise((_, reject) =>
          init.signal.addEventListener('abort', () => reject(new Error('Aborted'))),
        );
      }
      if (['reset', 'held', 'late'].includes(fault)) {
        throw Object.assign(new TypeError('fetch failed'), { cause: { code: 'ECONNRESET' } });
      }
      if (fault === '503' || fault === '429') {
        return response({ status: Number(fault) }, { 'retry-after': '1' });
      }
      if (fault === 'html') {
        return { ...response({ status: 502 }), text: async () => `<h1>${NAME} ${TOKEN}</h1>` };
      }
      const answer = await deliver();
      await turn(`answer to ${init.method} ${path}`);
      if (fault === 'killed after') {
        await new Promise(() => undefined);
      }
      if (fault === 'lost') {
        throw new TypeError('fetch failed');
      }
      return response(answer);
    },
  );
  return made;
}

function response({ status, version, body }: Answer, headers: Record<string, string> = {}): object {
  const etag = version === undefined ? {} : { etag: `W/"${version}"` };
  const all = new Map(Object.entries({ ...etag, ...headers }));
  const text = async (): Promise<string> => (body === undefined ? '' : JSON.stringify(body));
  return {
    status,
    ok: status < 300,
    headers: { get: (name: string) => all.get(name) ?? null },
    text,
  };
}

/** One run of the sync bot; what it throws is what Medplum would drop. */
function runSync(event: Partial<BotEvent>): void {
  const { kind, resourceType, id } = changeFrom(event as BotEvent);
  const deadline = Number.MAX_SAFE_INTEGER;
  const context = {
    medplum: world.medplum,
    server: connectExternalServer(SECRETS, deadline),
    config: world.config,
    deadline,
  };
  sync(context, resourceType, id, kind === 'delete').then(
    (result) => world.said.push(JSON.stringify(result)),
    (error: Error) => world.said.push(`${error.stack} ${JSON.stringify(error)}`),
  );
}

/** One run of the reconcile bot. */
async function runReconcile(): Promise<unknown> {
  const event = { input: {}, secrets: SECRETS } as unknown as BotEvent;
  const result = await reconcileBot(world.medplum, event).catch((error: Error) => error);
  world.said.push(result instanceof Error ? `${result.stack}` : JSON.stringify(result));
  return result;
}

/** Now the writes arrive that were held up until the end. */
async function landLate(): Promise<void> {
  for (const deliver of world.late) {
    await deliver();
  }
}

/** Lets everything happen that is going to happen. */
async function settle(s: fc.Scheduler): Promise<void> {
  while (await underWay(s)) {
    await s.waitOne();
  }
}

/** Whether anything is under way, once all that needs no turn of its own is done. */
async function underWay(s: fc.Scheduler): Promise<boolean> {
  await new Promise((resolve) => setImmediate(resolve));
  return s.count() > 0;
}

const lastEvents = new Map<string, Partial<BotEvent>>();

async function live(s: fc.Scheduler, steps: Step[]): Promise<void> {
  lastEvents.clear();
  let n = 0;
  for (const step of steps) {
    const here = world.source.current('Patient', step.patient);
    let event: Partial<BotEvent> | undefined;
    if (step.what === 'save') {
      const link = step.links.map((id) => ({
        other: { reference: `Patient/${id}` },
        type: 'seealso',
      }));
      const name = [{ family: `${NAME} ${++n}` }];
      const about = {
        name,
        birthDate: BIRTH_DATE,
        identifier: [{ system: 'urn:mrn', value: MRN }],
      };
      const content = {
        resourceType: 'Patient',
        id: step.patient,
        ...about,
        ...(link.length > 0 && { link }),
      };
      event = world.source.save(content as never);
    } else if (step.what === 'reconcile') {
      void runReconcile();
    } else if (here) {
      event = world.source.remove('Patient', step.patient, step.stillRead);
    }
    if (event) {
      lastEvents.set(step.patient, event);
      for (let copy = 0; copy < step.copies; copy++) {
        void s.schedule(Promise.resolve(), `event ${step.patient}`).then(() => runSync(event));
      }
    }
    // Until the next change, some of what is under way goes on.
    for (let turns = 0; turns < step.turns && (await underWay(s)); turns++) {
      await s.waitOne();
    }
  }
  await settle(s);
}

/** Medplum's patients and HAPI's: the same, each once, with the same links. */
function expectSame(alsoLinks = true): void {
  const there = [...world.hapi.living()].flatMap(([, body]) => {
    const id = body.identifier?.find(({ system }) => system === SYSTEM)?.value;
    const links = body.link?.map(({ other }) => idOf(other.reference));
    return [{ id, name: body['name'], links: alsoLinks && links }];
  });
  const here = ['p0', 'p1', 'p2'].flatMap((id) => {
    const patient = world.source.current('Patient', id) as Patient | undefined;
    const all = patient?.link?.map(({ other }) => other.reference?.split('/')[1] ?? '');
    const living = all?.filter((other) => world.source.current('Patient', other)); // what is gone is not referred to
    const links = living?.length === 0 ? undefined : living;
    return patient ? [{ id, name: patient.name, links: alsoLinks && links }] : [];
  });
  expect(there.toSorted((a, b) => String(a.id).localeCompare(String(b.id)))).toEqual(here);
  expect(world.said.join('\n')).not.toMatch(PRIVATE);
}

/** The Medplum id of a resource there, under whatever id it is there. */
function idOf(reference: string): string | undefined {
  return world.hapi
    .living()
    .get(reference)
    ?.identifier?.find(({ system }) => system === SYSTEM)?.value;
}

const patient = fc.constantFrom('p0', 'p0', 'p1', 'p2');
const step = (what: Step['what'][], links: boolean): fc.Arbitrary<Step> =>
  fc.record({
    patient,
    what: fc.constantFrom(...what),
    stillRead: fc.boolean(),
    links: links ? fc.uniqueArray(patient, { maxLength: 2 }) : fc.constant([]),
    copies: fc.constantFrom(1, 1, 2, 0),
    turns: fc.integer({ min: 0, max: 12 }),
  }) as fc.Arbitrary<Step>;

/** Mostly nothing, so that most runs get far; what only writes can meet is met often enough. */
function some(weights: Partial<Record<Fault, number>>): fc.Arbitrary<Fault[]> {
  const kinds = Object.entries(weights).flatMap(([fault, weight]) =>
    Array.from({ length: weight }, () => fault as Fault),
  );
  return fc.array(fc.constantFrom(...kinds), { maxLength: 20, size: 'max' });
}

const TROUBLE = { none: 14, '503': 1, '429': 1, html: 1, reset: 1, hang: 1, lost: 1 };
const KILLS = { kill: 1, 'killed after': 1 };
const HELD = { held: 3, late: 3 };
/** With which faults: bots that die, writes that land late, both, or neither. */
const faults = (...kinds: Partial<Record<Fault, number>>[]): fc.Arbitrary<Faults> =>
  fc.oneof(
    ...kinds.map((kind) =>
      fc.record({
        source: some({ ...TROUBLE, ...('kill' in kind && KILLS) }),
        reads: some({ ...TROUBLE, ...('kill' in kind && KILLS) }),
        writes: some({ ...TROUBLE, ...kind }),
      }),
    ),
  );
const NO_FAULTS = (): Faults => ({ source: [], reads: [], writes: [] });
const parameters = {
  numRuns: RUNS,
  ...(process.env['SEED'] && { seed: Number(process.env['SEED']) }),
  endOnFailure: false,
};

async function check(property: fc.IAsyncProperty<unknown>): Promise<void> {
  const details = await fc.check(property as fc.IAsyncProperty<[unknown]>, parameters);
  console.info(`${details.numRuns} schedules, seed ${details.seed}`);
  if (details.failed) {
    throw new Error(fc.defaultReportMessage(details as never), {
      cause: (details as { errorInstance?: unknown }).errorInstance,
    });
  }
}

test('an event after the last change, delivered at least once, and the server is as Medplum is', async () => {
  await check(
    fc.asyncProperty(
      fc.scheduler(),
      fc.array(step(['save', 'save', 'remove'], false), { maxLength: 8, size: 'max' }),
      faults(KILLS, HELD), // both at once: a create of a dead bot may land after the deletion; see the last test
      async (s, steps, bad) => {
        world = newWorld(s, bad);
        await live(s, steps);
        world.faults = NO_FAULTS();
        lastEvents.forEach((event) => runSync(event));
        await settle(s);
        await landLate();
        fc.pre(!world.heldDelete); // what is left to the reconcile bot
        expectSame();
      },
    ),
  );
}, 120_000);

test('patients that link to each other, in any order and circle, and are deleted', async () => {
  await check(
    fc.asyncProperty(
      fc.scheduler(),
      fc.array(step(['save', 'save', 'save', 'remove'], true), { maxLength: 6, size: 'max' }),
      faults(KILLS, HELD),
      async (s, steps, bad) => {
        world = newWorld(s, bad);
        await live(s, steps);
        world.faults = NO_FAULTS();
        lastEvents.forEach((event) => runSync(event));
        await settle(s);
        await landLate();
        fc.pre(!world.heldDelete);
        expectSame();
      },
    ),
  );
}, 120_000);

test.each([false, true])(
  'events that all arrive, of bots that live: nothing has to be delivered again (links: %s)',
  async (links) => {
    await check(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(step(['save', 'save', 'remove'], links), { maxLength: 8, size: 'max' }),
        faults({}, HELD),
        async (s, steps, bad) => {
          world = newWorld(s, bad);
          await live(
            s,
            steps.map((one) => ({ ...one, copies: Math.max(1, one.copies) })),
          );
          await landLate();
          fc.pre(!world.heldDelete);
          expectSame(!links); // a link to what comes later is completed by the next change
        },
      ),
    );
  },
  120_000,
);

test.each([{}, { identity: 'identifier' as const }])(
  'lost events, dead bots, writes that land late, reconciles that die: one that comes to its end repairs all (%j)',
  async (changes) => {
    await check(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(step(['save', 'save', 'remove', 'reconcile'], true), {
          maxLength: 8,
          size: 'max',
        }),
        faults(changes.identity ? KILLS : { ...KILLS, ...HELD }), // creates by identifier are not fenced
        async (s, steps, bad) => {
          world = newWorld(s, bad, changes);
          await live(s, steps);
          world.faults = NO_FAULTS();
          await landLate();
          // The first may only end what one that died has begun; the second looks at everything.
          for (let n = 0; n < 2; n++) {
            let result: unknown;
            void runReconcile().then((done) => (result = done));
            await settle(s);
            expect(result).toMatchObject({ complete: true });
          }
          expectSame();
        },
      ),
    );
  },
  120_000,
);
