// Random schedules of changes, events, runs and faults: however they interleave, the target ends as
// Medplum is, and no resource of others is touched. A failing schedule is shrunk and printed with
// its seed: SEED=<seed> runs it again.
import { OperationOutcomeError, serverError, tooManyRequests } from '@medplum/core';
import type { BotEvent, MedplumClient } from '@medplum/core';
import type { Reference, Resource } from '@medplum/fhirtypes';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { handler as reconcileBot } from '../../src/bots/hapi-reconcile-bot.ts';
import type { RunResult } from '../../src/shared/sync/reconcile.ts';
import { changeFrom } from '../../src/shared/fhir-events.ts';
import { clock } from '../../src/shared/retry.ts';
import * as configuration from '../../src/shared/sync/config.ts';
import { connectExternalServer } from '../../src/shared/external-server.ts';
import { sync } from '../../src/shared/sync/index.ts';
import type { SyncConfig } from '../../src/shared/sync/index.ts';
import { testConfig } from '../../tests/sync/config.ts';
import { memorySource } from '../../tests/sync/memory-source.ts';
import type { MemorySource } from '../../tests/sync/memory-source.ts';
import { HapiModel, literalReferences } from './hapi-model.ts';
import type { Answer, Body } from './hapi-model.ts';

const RUNS = Number(process.env['SCHEDULES'] ?? 1000);
const TOKEN = 'token-8w1q';
const SECRETS = {
  HAPI_BASE_URL: { name: 'HAPI_BASE_URL', valueString: 'http://localhost/fhir' },
  HAPI_BEARER_TOKEN: { name: 'HAPI_BEARER_TOKEN', valueString: TOKEN },
};
const NAME = 'Lovelace';
const MRN = 'MRN-77x';
/** What no log line, result or error may hold. */
const PRIVATE = new RegExp([NAME, MRN, TOKEN].join('|'));

const PATIENTS = ['Patient/p0', 'Patient/p1', 'Patient/p2'];
const TYPES = ['Organization', 'Patient', 'Observation'] as const;
/**
 * What others keep on the target: one of them refers to nothing of ours, one carries our identifier
 * by accident.
 */
const STRANGERS: (Body & { id: string })[] = [
  { resourceType: 'Patient', id: 'someone-else', name: [{ text: 'S' }] },
  {
    resourceType: 'Patient',
    id: 'copy',
    identifier: [{ system: 'https://medplum.com/patient-id', value: 'p0' }],
  },
  { resourceType: 'Observation', id: '7', status: 'final', code: { text: 'S' } },
];

/** What happens to a resource, and how often its event is delivered: at any time, in any order. */
interface Step {
  /** `Type/id`. */
  resource: string;
  what: 'save' | 'remove' | 'reconcile';
  /** Whether Medplum's cache goes on answering with what was removed. */
  isStillRead: boolean;
  /** What it refers to: links of a patient, its organization, the subject of an observation. */
  references: string[];
  copies: number;
  /** How many requests and events of others happen before the next change. */
  turns: number;
}

/**
 * What happens to a request: on its way there, on its way back, or to the bot that waits for it.
 * `hang`: until its time is up; `held`: the bot is told that no answer came, and the request
 * arrives at any time; `late`: after everything else. The last ones are lies: the request never
 * arrives, and the answer looks as if it had.
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
  | 'killed after'
  | 'login page'
  | 'empty 200'
  | 'accepted'
  | 'wrong resource'
  | 'no version';

/**
 * What happens to the requests of all runs, to Medplum and to the target, in their order; then
 * nothing more.
 */
interface Faults {
  source: Fault[];
  reads: Fault[];
  writes: Fault[];
}

interface Simulation {
  scheduler: fc.Scheduler;
  source: MemorySource;
  /** The source, with faults on the way. */
  medplum: MedplumClient;
  hapi: HapiModel;
  faults: Faults;
  /** Whether a DELETE was held up, or a write that made way for one: no fence holds that. */
  isDeleteHeld: boolean;
  /** Whether a run looked for links, to make way for a DELETE. */
  hasMadeWay: boolean;
  /** Whether a run gave up: then Medplum's event is lost, and the reconciler repairs. */
  hasGivenUp: boolean;
  /** Requests that are held up until everything else is over. */
  late: (() => unknown)[];
  said: string[];
  config: SyncConfig;
}

let simulation: Simulation;
const lastEvents = new Map<string, Partial<BotEvent>>();

beforeEach(() => {
  vi.spyOn(clock, 'now').mockReturnValue(Date.parse('2026-01-01'));
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

function createSimulation(
  scheduler: fc.Scheduler,
  faults: Faults,
  changes: Partial<SyncConfig> = {},
): Simulation {
  const source = memorySource(() => clock.now());
  const hapi = new HapiModel();
  STRANGERS.forEach((stranger) => hapi.addStranger(stranger));
  const config = testConfig({ types: [...TYPES], ...changes });
  lastEvents.clear();
  const created: Simulation = {
    scheduler,
    source,
    medplum: unreliable(source.medplum),
    hapi,
    faults: structuredClone(faults),
    isDeleteHeld: false,
    hasMadeWay: false,
    hasGivenUp: false,
    late: [],
    said: [],
    config,
  };
  let timeIsUp = (): void => undefined; // for the request that is sent next
  vi.spyOn(console, 'log').mockImplementation((line: string) => void created.said.push(line));
  vi.spyOn(configuration, 'syncConfig').mockReturnValue(config);
  vi.spyOn(clock, 'sleep').mockImplementation((_ms, signal) =>
    signal ? new Promise((resolve) => (timeIsUp = resolve)) : turn('wait'),
  );
  source.before = turn;
  vi.stubGlobal('fetch', (url: string, init: RequestInit) => send(url, init, timeIsUp));
  return created;
}

/** Lets others go on. */
async function turn(label: string): Promise<void> {
  await simulation.scheduler.schedule(Promise.resolve(), label);
}

function unreliable(medplum: MedplumClient): MedplumClient {
  return new Proxy(medplum, {
    get: (client, name: 'readResource' | 'fhirUrl' | 'rateLimitStatus') => {
      if (name === 'fhirUrl' || name === 'rateLimitStatus') {
        return client[name]; // no request
      }
      return async (...parameters: Parameters<MedplumClient['readResource']>) => {
        const fault = simulation.faults.source.shift() ?? 'none';
        switch (fault) {
          case 'kill':
            return new Promise(() => undefined);
          case '429':
            throw new OperationOutcomeError(tooManyRequests);
          case '503':
            throw new OperationOutcomeError(serverError(new Error(NAME)));
          case 'reset':
          case 'hang':
          case 'html':
            await turn(fault);
            throw new TypeError('fetch failed');
          default: {
            const answer: unknown = await client[name](...parameters);
            if (fault === 'killed after') {
              return new Promise(() => undefined);
            }
            if (fault === 'lost') {
              throw new TypeError('fetch failed');
            }
            return answer;
          }
        }
      };
    },
  });
}

/** The network between the bots and the target. */
async function send(url: string, init: RequestInit, timeIsUp: () => void): Promise<object> {
  const method = init.method ?? '';
  const headers = init.headers as Record<string, string>;
  expect(headers['authorization']).toBe(`Bearer ${TOKEN}`);
  const path = url.replace(/^http:\/\/localhost\/fhir\/?/, '');
  const deliver = (): Answer =>
    simulation.hapi.handle(method, path, headers, String(init.body ?? ''));
  await turn(`${method} ${path}`);
  simulation.hasMadeWay ||= path.includes('_revinclude');
  const isWrite = method !== 'GET' && !path.endsWith('_search');
  const isDelete = method === 'DELETE' || String(init.body).includes('"method":"DELETE"');
  const fault = (isWrite ? simulation.faults.writes : simulation.faults.reads).shift() ?? 'none';
  switch (fault) {
    case 'kill':
      return new Promise(() => undefined);
    case 'held':
    case 'late':
      simulation.isDeleteHeld ||= isDelete || (method === 'PUT' && simulation.hasMadeWay);
      if (fault === 'held' || isDelete) {
        void simulation.scheduler
          .schedule(Promise.resolve(), `held ${method} ${path}`)
          .then(deliver);
      } else {
        simulation.late.push(deliver);
      }
      throw Object.assign(new TypeError('fetch failed'), { cause: { code: 'ECONNRESET' } });
    case 'reset':
      throw Object.assign(new TypeError('fetch failed'), { cause: { code: 'ECONNRESET' } });
    case 'hang':
      timeIsUp();
      await new Promise((_, reject) =>
        init.signal?.addEventListener('abort', () => reject(new Error('Aborted'))),
      );
      throw new Error('unreachable');
    case '503':
    case '429':
      return response({ status: Number(fault), headers: { 'retry-after': '1' } });
    case 'html':
      return page(502);
    case 'login page':
      return page(200);
    case 'empty 200':
      return response({ status: 200 });
    case 'accepted':
      return response({ status: 202, headers: { etag: 'W/"1"' } });
    case 'wrong resource':
      return response({ status: 200, body: STRANGERS[0], headers: { etag: 'W/"1"' } });
    default: {
      const answer = deliver();
      await turn(`answer to ${method} ${path}`);
      if (fault === 'killed after') {
        return new Promise(() => undefined);
      }
      if (fault === 'lost') {
        throw new TypeError('fetch failed');
      }
      return response(
        fault === 'no version' ? { status: answer.status, body: answer.body } : answer,
      );
    }
  }
}

function response({ status, body, headers = {} }: Answer): object {
  const all = new Map(Object.entries(headers));
  const text = async (): Promise<string> => (body === undefined ? '' : JSON.stringify(body));
  return {
    status,
    ok: status < 300,
    headers: { get: (name: string) => all.get(name) ?? null },
    text,
  };
}

function page(status: number): object {
  return { ...response({ status }), text: async () => `<h1>${NAME} ${TOKEN}</h1>` };
}

/** One run of the sync bot; what it throws is what Medplum would drop. */
function runSync(event: Partial<BotEvent>): void {
  const { kind, resourceType, id } = changeFrom(event as BotEvent);
  const deadline = Number.MAX_SAFE_INTEGER;
  const { medplum, config } = simulation;
  const context = { medplum, target: connectExternalServer(SECRETS, deadline), config, deadline };
  sync(context, resourceType, id, { isDeletionKnown: kind === 'delete' }).then(
    (result) => simulation.said.push(JSON.stringify(result)),
    (error: Error & { code?: string }) => {
      simulation.hasGivenUp ||= error.code !== 'blocked';
      simulation.said.push(`${error.stack} ${JSON.stringify(error)}`);
    },
  );
}

/** One run of the reconcile bot. */
async function runReconcile(): Promise<RunResult | Error> {
  const event = { input: { report: true }, secrets: SECRETS } as unknown as BotEvent;
  const result = await reconcileBot(simulation.medplum, event).catch((error: Error) => error);
  simulation.said.push(result instanceof Error ? `${result.stack}` : JSON.stringify(result));
  return result;
}

/** Now the requests arrive that were held up until the end. */
async function landLate(): Promise<void> {
  for (const deliver of simulation.late) {
    await deliver();
  }
}

/** Lets everything happen that is going to happen. */
async function settle(): Promise<void> {
  while (await isUnderWay()) {
    await simulation.scheduler.waitOne();
  }
}

/** Whether anything is under way, once all that needs no turn of its own is done. */
async function isUnderWay(): Promise<boolean> {
  await new Promise((resolve) => setImmediate(resolve));
  return simulation.scheduler.count() > 0;
}

let changes = 0;

/** A resource with references of the kinds that its type has. */
function contentOf({ resource, references }: Step): Resource & { id: string } {
  const [resourceType, id = ''] = resource.split('/');
  const name = `${NAME} ${++changes}`;
  const patients = references.filter((reference) => PATIENTS.includes(reference));
  const identifier = [{ system: 'urn:mrn', value: MRN }];
  if (resourceType === 'Organization') {
    return { resourceType, id, name, identifier };
  }
  if (resourceType === 'Observation') {
    const subject = patients.slice(0, 1).map((reference) => ({ subject: { reference } }));
    return { resourceType, id, status: 'final', code: { text: name }, identifier, ...subject[0] };
  }
  const link = patients.map((reference) => ({ other: { reference }, type: 'seealso' as const }));
  const organization = references.find((reference) => reference.startsWith('Organization/'));
  return {
    resourceType: 'Patient',
    id,
    name: [{ family: name }],
    identifier,
    ...(link.length > 0 && { link }),
    ...(organization && { managingOrganization: { reference: organization } }),
  };
}

async function live(steps: Step[]): Promise<void> {
  for (const step of steps) {
    const [type = '', id = ''] = step.resource.split('/');
    let event: Partial<BotEvent> | undefined;
    if (step.what === 'save') {
      event = simulation.source.save(contentOf(step));
    } else if (step.what === 'reconcile') {
      void runReconcile();
    } else if (simulation.source.current(type, id)) {
      event = simulation.source.remove(type, id, step.isStillRead);
    }
    if (event) {
      lastEvents.set(step.resource, event);
      for (let copy = 0; copy < step.copies; copy++) {
        void simulation.scheduler
          .schedule(Promise.resolve(), `event ${step.resource}`)
          .then(() => runSync(event));
      }
    }
    // Until the next change, some of what is under way goes on.
    for (let turns = 0; turns < step.turns && (await isUnderWay()); turns++) {
      await simulation.scheduler.waitOne();
    }
  }
  await settle();
}

/** Everything that lives on Medplum. */
function livingOnMedplum(): Map<string, Body> {
  const all = [...PATIENTS, 'Organization/g0', 'Observation/o0', 'Observation/o1'];
  return new Map(
    all.flatMap((path) => {
      const [type = '', id = ''] = path.split('/');
      const resource = simulation.source.current(type, id);
      return resource ? [[path, resource as unknown as Body] as const] : [];
    }),
  );
}

/**
 * The target is as Medplum is. What was deleted on Medplum may stay only as long as something that
 * lives refers to it, and not by a mere link; and a reference to it may have become a logical one.
 */
function expectSame({ links = true } = {}): void {
  const there = new Map(
    [...simulation.hapi.living()].filter(([, body]) => !STRANGERS.some(({ id }) => id === body.id)),
  );
  const here = livingOnMedplum();
  for (const [path, wanted] of here) {
    const found = there.get(path);
    expect(found?.['name'] ?? found?.['code'], path).toEqual(wanted['name'] ?? wanted['code']);
    for (const element of ['subject', 'managingOrganization'] as const) {
      expectReference(
        found?.[element] as Reference | undefined,
        wanted[element] as Reference | undefined,
        there,
      );
    }
    if (links) {
      // A link to what is held on the target stays: without it, the two would be written back and
      // forth.
      const kept = literalReferences(found?.['link']);
      const allowed = literalReferences(wanted['link']).filter(
        (reference) => here.has(reference) || (there.has(reference) && kept.includes(reference)),
      );
      expect(kept, `links of ${path}`).toEqual(allowed);
    }
  }
  const leftover = [...there.keys()].filter(
    (path) => !here.has(path) && !isHeld(path, there, here),
  );
  expect(leftover, 'deleted on Medplum').toEqual([]);
  for (const stranger of STRANGERS) {
    expect(
      simulation.hapi.living().get(`${stranger.resourceType}/${stranger.id}`),
      'a stranger',
    ).toEqual(stranger);
  }
  expect(simulation.said.join('\n')).not.toMatch(PRIVATE);
}

function expectReference(
  found: Reference | undefined,
  wanted: Reference | undefined,
  there: Map<string, Body>,
): void {
  if (!wanted?.reference) {
    expect(found).toBeUndefined();
  } else if (there.has(wanted.reference)) {
    const id = wanted.reference.split('/')[1];
    expect(found?.reference ?? found?.identifier?.value).toBe(
      found?.reference ? wanted.reference : id,
    );
  } else {
    expect(found?.identifier?.value).toBe(wanted.reference.split('/')[1]);
  }
}

/**
 * Whether something that lives needs it on the target, directly or over others that are held so.
 */
function isHeld(path: string, there: Map<string, Body>, here: Map<string, Body>): boolean {
  const held = new Set<string>();
  for (const [other, body] of there) {
    if (here.has(other)) {
      const { link: _link, ...content } = body;
      literalReferences(content).forEach((reference) => held.add(reference));
    }
  }
  for (const reference of held) {
    if (!here.has(reference)) {
      literalReferences(there.get(reference)).forEach((further) => held.add(further));
    }
  }
  return held.has(path);
}

const patient = fc.constantFrom(...PATIENTS);
const anything = fc.constantFrom(
  ...PATIENTS,
  ...PATIENTS,
  'Organization/g0',
  'Observation/o0',
  'Observation/o1',
);

/** Steps with patients alone, with patients that link to each other, or with all types. */
function steps(
  kind: 'alone' | 'links' | 'types',
  what: Step['what'][],
  maxLength: number,
): fc.Arbitrary<Step[]> {
  const references = {
    alone: fc.constant<string[]>([]),
    links: fc.uniqueArray(patient, { maxLength: 2 }),
    types: fc.uniqueArray(fc.constantFrom(...PATIENTS, 'Organization/g0'), { maxLength: 3 }),
  };
  const step = fc.record({
    resource: kind === 'types' ? anything : fc.constantFrom('Patient/p0', ...PATIENTS),
    what: fc.constantFrom(...what),
    isStillRead: fc.boolean(),
    references: references[kind],
    copies: fc.constantFrom(1, 1, 2, 0),
    turns: fc.integer({ min: 0, max: 12 }),
  });
  return fc.array(step, { maxLength, size: 'max' });
}

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
const LIES = { 'login page': 1, 'empty 200': 1, accepted: 1, 'wrong resource': 1, 'no version': 1 };
const OUTAGE = { none: 4, '503': 4, reset: 4, hang: 2 };

/**
 * With which faults: bots that die, requests that arrive late, lies, outages; each with the usual
 * trouble.
 */
function faults(...kinds: Partial<Record<Fault, number>>[]): fc.Arbitrary<Faults> {
  return fc.oneof(
    ...kinds.map((kind) => {
      const { held: _held, late: _late, ...anyRequest } = kind as Partial<Record<Fault, number>>;
      const isLie = 'accepted' in kind;
      return fc.record({
        source: some({ ...TROUBLE, ...(isLie ? {} : anyRequest) }),
        reads: some({ ...TROUBLE, ...anyRequest }),
        writes: some({ ...TROUBLE, ...kind }),
      });
    }),
  );
}

const NO_FAULTS = (): Faults => ({ source: [], reads: [], writes: [] });

/** Tries random schedules, and says how many and from which seed. */
async function check<T>(property: fc.IAsyncProperty<T>): Promise<void> {
  const seed = process.env['SEED'];
  const details = await fc.check(property, {
    numRuns: RUNS,
    endOnFailure: false,
    ...(seed && { seed: Number(seed) }),
  });
  console.info(`${details.numRuns} schedules, seed ${details.seed}`);
  if (details.failed) {
    throw new Error(fc.defaultReportMessage(details), { cause: details.errorInstance });
  }
}

test.each(['alone', 'links', 'types'] as const)(
  'an event after the last change, delivered at least once, and the target is as Medplum is ' +
    '(patients %s)',
  async (kind) => {
    await check(
      fc.asyncProperty(
        fc.scheduler(),
        steps(kind, ['save', 'save', 'remove'], kind === 'alone' ? 8 : 6),
        faults(KILLS, HELD, LIES, OUTAGE),
        async (scheduler, list, bad) => {
          // A create that arrives late, of a bot that died or gave up, is left to the reconciler:
          // see the last test.
          const arrivesLate = bad.writes.some((fault) => fault === 'held' || fault === 'late');
          simulation = createSimulation(
            scheduler,
            bad,
            arrivesLate ? { retryForMs: Infinity } : {},
          );
          await live(list);
          fc.pre(!arrivesLate || !simulation.hasGivenUp);
          simulation.faults = NO_FAULTS();
          // Twice, and in both orders: a deletion waits until what refers to it was synced.
          for (const events of [[...lastEvents.values()], [...lastEvents.values()].toReversed()]) {
            for (const event of events) {
              runSync(event);
              await settle();
            }
          }
          await landLate();
          fc.pre(!simulation.isDeleteHeld); // what is left to the reconciler
          expectSame({ links: kind !== 'types' });
        },
      ),
    );
  },
  300_000,
);

test.each(['alone', 'links'] as const)(
  'events that all arrive, of bots that live and are patient: ' +
    'nothing has to be delivered again (patients %s)',
  async (kind) => {
    await check(
      fc.asyncProperty(
        fc.scheduler(),
        steps(kind, ['save', 'save', 'remove'], 8),
        faults({}, HELD),
        async (scheduler, list, bad) => {
          simulation = createSimulation(scheduler, bad, { retryForMs: Infinity });
          await live(list.map((step) => ({ ...step, copies: Math.max(1, step.copies) })));
          await landLate();
          fc.pre(!simulation.isDeleteHeld && !simulation.hasGivenUp);
          // a link to what comes later is completed by the next change
          expectSame({ links: false });
        },
      ),
    );
  },
  300_000,
);

test.each(['links', 'types'] as const)(
  'lost events, dead bots, late writes, lies, outages, reconciles that die: ' +
    'one that comes to its end repairs all (%s)',
  async (kind) => {
    await check(
      fc.asyncProperty(
        fc.scheduler(),
        steps(kind, ['save', 'save', 'remove', 'reconcile'], 8),
        faults({ ...KILLS, ...HELD }, LIES, OUTAGE),
        async (scheduler, list, bad) => {
          simulation = createSimulation(scheduler, bad);
          await live(list);
          simulation.faults = NO_FAULTS();
          await landLate();
          // The first may only end what one that died has begun; the second looks at everything.
          for (let count = 0; count < 2; count++) {
            let result: RunResult | Error | undefined;
            void runReconcile().then((done) => (result = done));
            await settle();
            expect(result).toMatchObject({ complete: true });
            const { blocked: _blocked, ...others } = (result as RunResult).failures;
            expect(others, 'nothing else than blocked deletions').toEqual({});
          }
          expectSame();
        },
      ),
    );
  },
  300_000,
);
