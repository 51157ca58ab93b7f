// Keeps the external FHIR server in sync with Medplum: each event brings one resource up to date.
import type { BotEvent, MedplumClient } from '@medplum/core';
import { connectExternalServer } from '../shared/external-server.ts';
import { changeFrom } from '../shared/fhir-events.ts';
import type { Change } from '../shared/fhir-events.ts';
import { logExternalRequest } from '../shared/http-helpers.ts';
import { clock } from '../shared/retry.ts';
import { checkTarget, sync, syncConfig } from '../shared/sync/index.ts';
import type { SyncResult, TargetCheck } from '../shared/sync/index.ts';

/** Five seconds less than the bot's timeout in medplum.config.json: time to log what went wrong. */
export const TIME_BUDGET_MS = 25_000;

/** For the log: the last request to the external server. */
const VERBS = {
  created: 'PUT',
  updated: 'PUT',
  unchanged: 'PUT',
  deactivated: 'PUT',
  deleted: 'DELETE',
  absent: 'GET',
  merged: 'GET',
};

/**
 * Runs on each creation, update and deletion of a synced type (see `subscriptions` in
 * medplum.config.json).
 *
 * @param medplum - Acts as this bot. It must be allowed to read the synced types, without criteria.
 * @param event - The event; `{ resourceType, id }` as input syncs that resource by hand
 *   (`npm run resync`), and `{ check: 'target' }` checks the external server
 *   (`npm run doctor -- --target`).
 * @returns What was done.
 * @throws What went wrong, after logging it. Medplum does not run a failed bot again:
 *   hapi-reconcile-bot repairs.
 */
export async function handler(
  medplum: MedplumClient,
  event: BotEvent,
): Promise<SyncResult | { checks: TargetCheck[] }> {
  const started = clock.now();
  const deadline = started + TIME_BUDGET_MS;
  if ((event.input as { check?: unknown } | null)?.check === 'target') {
    const target = connectExternalServer(event.secrets, deadline);
    return { checks: await checkTarget({ target, config: syncConfig(event.secrets) }) };
  }
  let change: Change | undefined;
  try {
    change = changeFrom(event);
    const { kind, resourceType, id } = change;
    const target = connectExternalServer(event.secrets, deadline);
    const context = { medplum, target, config: syncConfig(event.secrets), deadline };
    const result = await sync(context, resourceType, id, { isDeletionKnown: kind === 'delete' });
    const { action, version, attempts, leftOut } = result;
    const details = { version, attempt: attempts, leftOut, ms: clock.now() - started };
    logExternalRequest(`${VERBS[action]} ${resourceType}`, id, true, undefined, details);
    return result;
  } catch (error) {
    const { resourceType = 'resource', id = '' } = change ?? {};
    logExternalRequest(`SYNC ${resourceType}`, id, false, error, { ms: clock.now() - started });
    throw error;
  }
}
