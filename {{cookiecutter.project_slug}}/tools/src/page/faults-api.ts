// The routes about faults of the external FHIR server: switched on for its next requests, to see
// how bots cope.
import { Hono } from 'hono';
import { loadFhirServer } from '../external-server.ts';
import type { ExternalServer } from '../external-server.ts';
import type { FaultList, FaultView } from './api-types.ts';
import { PageError } from './page-error.ts';
import { readJson } from './resources-api.ts';

/** @param changed - is called when faults were switched on or off */
export function faultsApi(external: ExternalServer, changed: () => void): Hono {
  const api = new Hono();
  api.get('/', async (c) => {
    const { KINDS } = await loadFhirServer();
    const faults = external.faults.list().map((fault): FaultView => {
      return { kind: fault.kind, times: (fault as { times?: number }).times };
    });
    const list: FaultList = { faults, kinds: [...KINDS] };
    return c.json(list);
  });
  api.post('/', async (c) => {
    const body = await readJson(c);
    const { parseFault } = await loadFhirServer();
    try {
      external.faults.add(parseFault(body));
    } catch (error) {
      throw new PageError(400, (error as Error).message);
    }
    changed();
    return c.json({});
  });
  api.delete('/', (c) => {
    external.faults.clear();
    changed();
    return c.json({});
  });
  return api;
}
