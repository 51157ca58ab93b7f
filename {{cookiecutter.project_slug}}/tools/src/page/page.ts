// The page of the local Medplum at `/`: its files, its API below `/_local`, and the events that are
// pushed to it.
import { Hono } from 'hono';
import { randomUUID } from 'node:crypto';
import type { ExternalServer } from '../external-server.ts';
import type { MedplumServer } from '../medplum/server.ts';
import { UserError } from '../terminal/user-error.ts';
import { addAssets } from './assets.ts';
import { botsApi, sampleEventsApi } from './bots-api.ts';
import { comparisonApi } from './comparison.ts';
import { faultsApi } from './faults-api.ts';
import { createFhirClient } from './fhir-client.ts';
import { LiveUpdates } from './live.ts';
import { PageError } from './page-error.ts';
import { resourcesApi } from './resources-api.ts';
import { RunSources } from './run-sources.ts';
import { runsApi } from './runs-api.ts';
import { RefusedRequests, serverLogApi } from './server-log.ts';

/**
 * Adds the page to the local Medplum's routes.
 *
 * @param app - the routes of the server; other sites are kept out before they are reached
 * @param external - the external FHIR server, where the repository has one
 */
export function addPage(
  app: Hono,
  server: MedplumServer,
  external: ExternalServer | undefined,
): void {
  const sources = new RunSources();
  server.runs.on('started', (run) => sources.remember(run.bot.name ?? '', run.code));
  const live = new LiveUpdates(server);
  const refused = new RefusedRequests(() => live.send('server-log', {}));
  server.outbox.on('sent', () => live.send('server-log', {}));
  app.use(refused.middleware);
  addAssets(app);
  live.addRoute(app, {
    server: randomUUID(),
    medplum: server.baseUrl,
    external: external?.baseUrl,
  });

  const api = new Hono();
  api.onError((error, c) => {
    if (error instanceof PageError) {
      return c.json({ message: error.message }, error.status);
    }
    const message = error instanceof UserError ? error.message : `The page failed: ${error.stack}`;
    return c.json({ message }, 500);
  });
  api.use(async (c, next) => {
    await next();
    c.header('Cache-Control', 'no-store');
  });
  api.route('/runs', runsApi(server, sources));
  api.route('/bots', botsApi(server));
  api.route('/sample-events', sampleEventsApi());
  api.route('/server-log', serverLogApi(server, refused));
  api.route('/resources', resourcesApi(server, createFhirClient(app, server)));
  if (external) {
    api.route('/comparison', comparisonApi(server, external));
    api.route(
      '/faults',
      faultsApi(external, () => live.send('faults', {})),
    );
  }
  app.route('/_local', api);
}
