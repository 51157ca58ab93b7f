// The page at `/`: what is deployed, the patients on both sides, the latest runs; live, with buttons.
import type { WithId } from '@medplum/core';
import type { Bot, Patient, Resource } from '@medplum/fhirtypes';
import type { Hono } from 'hono';
import { streamSSE } from 'hono/streaming';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { LOCAL, actorOf, findMembership } from './access.ts';
import type { Run } from './bots.ts';
import { KINDS, parseFault } from './faults.ts';
import type { FhirServer } from './fhir-server.ts';
import type { MedplumServer } from './medplum-server.ts';
import { LocalRepository } from './repository.ts';
import { mapStack } from './run-bot.ts';
import type { Store } from './store.ts';

const RUNS_SHOWN = 20;
const REFRESH_MILLISECONDS = 500;

/** @returns a run's log; stacks point into the sources where dist/ holds what ran, with its map */
export function readableLog({ bot, code, log }: Run): string {
  const file = join('dist', 'bots', `${bot.name}.js`);
  try {
    return readFileSync(file, 'utf8') === code ? mapStack(log, readFileSync(`${file}.map`, 'utf8')) : log;
  } catch {
    return log; // not built here
  }
}

export function addPage(app: Hono, server: MedplumServer, fhir: FhirServer): void {
  const { store } = server.repository.world;
  const runs: object[] = [];
  const asClient = (): LocalRepository => {
    return new LocalRepository(
      server.repository.world,
      actorOf(store, findMembership(store, `ClientApplication/${LOCAL.clientId}`)!),
    );
  };
  server.events.on('run', (run) => {
    const { bot, request, startedAt, milliseconds, success } = run;
    const why = request.headers?.['X-Medplum-Interaction'] ?? (request.headers ? 'called' : 'cron');
    const log = readableLog(run);
    runs.unshift({
      id: `${startedAt.getTime()}-${Math.random()}`,
      bot: bot.name,
      why,
      at: startedAt,
      milliseconds,
      success,
      log,
    });
    runs.length = Math.min(runs.length, RUNS_SHOWN);
  });

  const state = (): string => {
    const all = living<Bot>(store, 'Bot').toSorted((a, b) => (a.name ?? '').localeCompare(b.name ?? ''));
    const bots = all.map(({ id, name = '', cronString: cron, runtimeVersion, executableCode }) => {
      return { id, name, cron, runtime: runtimeVersion, code: executableCode?.title, shared: sharedModules(name) };
    });
    return JSON.stringify({
      medplum: server.baseUrl,
      fhir: fhir.baseUrl,
      bots,
      patients: living<Patient>(store, 'Patient').map((resource) => ({ ...row(resource), resource })),
      outside: living<Patient>(fhir.store, 'Patient').map(row),
      faults: fhir.faults.list(),
      kinds: KINDS,
      runs,
    });
  };

  app.get('/', (c) => {
    c.header(
      'Content-Security-Policy',
      "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'",
    );
    return c.html(readFileSync(join(import.meta.dirname, 'page.html'), 'utf8'));
  });
  app.get('/_local/events', (c) =>
    streamSSE(c, async (stream) => {
      for (let sent = ''; !stream.aborted; await stream.sleep(REFRESH_MILLISECONDS)) {
        const data = state();
        if (data !== sent) await stream.writeSSE({ data: (sent = data) });
      }
    }),
  );
  app.post('/_local/patients', async (c) => c.json(await asClient().createResource((await c.req.json()) as Patient)));
  app.put('/_local/patients/:id', async (c) =>
    c.json(await asClient().updateResource((await c.req.json()) as Patient)),
  );
  app.delete('/_local/patients/:id', async (c) => {
    await asClient().deleteResource('Patient', c.req.param('id'));
    return c.json({});
  });
  app.post('/_local/faults', async (c) => {
    fhir.faults.add(parseFault(await c.req.json()));
    return c.json({});
  });
  app.delete('/_local/faults', (c) => {
    fhir.faults.clear();
    return c.json({});
  });
  app.post('/_local/cron/:id', async (c) => {
    void server.runCron(await server.repository.readResource<WithId<Bot>>('Bot', c.req.param('id')));
    return c.json({});
  });
}

/** @returns the resources of a type that are not deleted */
export function living<T extends Resource>(store: Store, type: T['resourceType']): WithId<T>[] {
  return [...store.all(type)].filter(({ deleted }) => !deleted).map(({ resource }) => resource as WithId<T>);
}

function row({ id, meta, name, birthDate }: Patient): object {
  return { id, version: meta?.versionId?.slice(0, 8), name: nameOf(name), birthDate };
}

function sharedModules(name: string | undefined): string[] {
  try {
    const { bots } = JSON.parse(readFileSync('dist/manifest.json', 'utf8')) as {
      bots: Record<string, { shared: object }>;
    };
    return Object.keys(bots[name ?? '']?.shared ?? {}).map((path) => basename(path, '.ts'));
  } catch {
    return []; // not built here
  }
}

export function nameOf(name: Patient['name']): string {
  return name?.map(({ given = [], family = '' }) => [...given, family].join(' ')).join() ?? 'no name';
}
