// The page at `/`: what is deployed, the patients on both sides, the latest runs; live, with buttons.
import type { WithId } from '@medplum/core';
import type { Bot, Patient, Resource } from '@medplum/fhirtypes';
import type { Hono } from 'hono';
import { streamSSE } from 'hono/streaming';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Manifest } from '../bundling/manifest.ts';
import { actorOf, findMembership } from '../medplum/access.ts';
import { LOCAL } from '../medplum/local-project.ts';
import type { Run } from '../medplum/bot-execution.ts';
import { loadFhirServer } from '../external-server.ts';
import type { ExternalServer } from '../external-server.ts';
import type { MedplumServer } from '../medplum/server.ts';
import { LocalRepository } from '../medplum/repository.ts';
import { mapStack } from '../runtime/source-maps.ts';

const RUNS_SHOWN = 20;
/** The latest, on each side. */
const PATIENTS_SHOWN = 100;
const REFRESH_MILLISECONDS = 500;

/** @returns a run's log; stacks point into the sources where dist/ holds what ran, with its map */
export function readableLog({ bot, code, log }: Run): string {
  const file = join('dist', 'bots', `${bot.name}.js`);
  try {
    return readFileSync(file, 'utf8') === code
      ? mapStack(log, readFileSync(`${file}.map`, 'utf8'))
      : log;
  } catch {
    return log; // not built here
  }
}

/** @returns create, update, delete; called (by `$execute`); cron */
export function causeOf({ request: { headers } }: Run): string {
  return headers ? String(headers['X-Medplum-Interaction'] ?? 'called') : 'cron';
}

export function addPage(app: Hono, server: MedplumServer, fhir: ExternalServer | undefined): void {
  const { world } = server.repository;
  const client = findMembership(world.store, `ClientApplication/${LOCAL.clientId}`)!;
  const repo = new LocalRepository(world, actorOf(world.store, client));
  const runs: object[] = [];
  let faultKinds: readonly string[] = [];
  if (fhir) {
    void loadFhirServer().then(({ KINDS }) => (faultKinds = KINDS));
  }
  server.events.on('run', (run) => {
    const { bot, startedAt: at, milliseconds, success } = run;
    const about = {
      id: `${at.getTime()}-${Math.random()}`,
      bot: bot.name,
      why: causeOf(run),
      log: readableLog(run),
    };
    runs.unshift({ ...about, at, milliseconds, success });
    runs.length = Math.min(runs.length, RUNS_SHOWN);
  });
  const state = (): string => {
    const bots = living<Bot>(world.store, 'Bot').map(
      ({ id, name = '', cronString, runtimeVersion, executableCode }) => {
        const code = executableCode?.title;
        return {
          id,
          name,
          cron: cronString,
          runtime: runtimeVersion,
          code,
          shared: sharedModules(name),
        };
      },
    );
    return JSON.stringify({
      medplum: server.baseUrl,
      fhir: fhir?.baseUrl,
      faults: fhir?.faults.list() ?? [],
      kinds: faultKinds,
      runs,
      bots: bots.toSorted((a, b) => a.name.localeCompare(b.name)),
      patients: living<Patient>(world.store, 'Patient').slice(-PATIENTS_SHOWN).map(patientRow),
      outside: (fhir ? living<Patient>(fhir.store, 'Patient') : [])
        .slice(-PATIENTS_SHOWN)
        .map(patientRow),
    });
  };

  app.get('/', (c) => {
    const inline = "style-src 'unsafe-inline'; script-src 'unsafe-inline'";
    c.header('Content-Security-Policy', `default-src 'none'; ${inline}; connect-src 'self'`);
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
  const act = (method: string, path: string, run: (id: string, body: unknown) => unknown): void => {
    app.on(method, `/_local/${path}`, async (c) => {
      await run(c.req.param('id') ?? '', await c.req.json().catch(() => undefined));
      return c.json({});
    });
  };
  act('POST', 'patients', (_, body) => repo.createResource(body as Patient));
  act('PUT', 'patients/:id', (_, body) => repo.updateResource(body as Patient));
  act('DELETE', 'patients/:id', (id) => repo.deleteResource('Patient', id));
  act('POST', 'faults', async (_, body) =>
    fhir?.faults.add((await loadFhirServer()).parseFault(body)),
  );
  act('DELETE', 'faults', () => fhir?.faults.clear());
  act('POST', 'cron/:id', async (id) =>
    server.runCron(await repo.readResource<WithId<Bot>>('Bot', id)),
  );
}

/** @returns the resources of a type that are not deleted */
export function living<T extends Resource>(
  store: ExternalServer['store'],
  type: T['resourceType'],
): WithId<T>[] {
  return [...store.all(type)]
    .filter(({ deleted }) => !deleted)
    .map(({ resource }) => resource as WithId<T>);
}

function patientRow(resource: WithId<Patient>): object {
  const { id, meta, name, birthDate } = resource;
  return { id, version: meta?.versionId?.slice(0, 8), name: nameOf(name), birthDate, resource };
}

export function nameOf(name: Patient['name']): string {
  return (
    name?.map(({ given = [], family = '' }) => [...given, family].join(' ')).join() ?? 'no name'
  );
}

function sharedModules(name: string): string[] {
  try {
    const manifest = JSON.parse(readFileSync('dist/manifest.json', 'utf8')) as Manifest;
    return Object.keys(manifest.bots[name]?.shared ?? {}).map((path) => basename(path, '.ts'));
  } catch {
    return []; // not built here
  }
}
