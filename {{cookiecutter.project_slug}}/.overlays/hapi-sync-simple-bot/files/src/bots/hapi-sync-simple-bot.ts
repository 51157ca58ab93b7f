// The shortest sync: a conditional PUT for a patient that is there, look-up and delete for one that is not.
//
// It trusts its event, so it does not guard against: an older event that comes late (it overwrites newer data), events
// in the wrong order, a write that is held up on its way (it brings a deleted patient back), parallel creates (they can
// make two patients); and it leaves all references out. hapi-sync-bot guards against all of this.
import type { BotEvent, MedplumClient } from '@medplum/core';
import type { Bundle, Patient } from '@medplum/fhirtypes';
import { changeFrom } from '../shared/fhir-events.ts';
import type { Change } from '../shared/fhir-events.ts';
import { identifierQuery } from '../shared/fhir-identifier.ts';
import { sanitize } from '../shared/fhir-sanitize.ts';
import { isMerged } from '../shared/fhir-target.ts';
import {
  HTTP_VERBS,
  logExternalRequest,
  makeConditionalFhirRequest,
  makeExternalRequest,
} from '../shared/http-helpers.ts';
import { optionalSecret, requiredSecret } from '../shared/secrets.ts';

const SYSTEM = 'https://medplum.com/patient-id';
const VERBS = { upsert: HTTP_VERBS.PUT, delete: HTTP_VERBS.DELETE };

/**
 * Runs on each creation, update and deletion of a Patient.
 *
 * @param _medplum - Not used: everything this bot knows is in the event.
 * @param event - The event.
 * @returns True when the external server took it.
 * @throws RequestFailure, after logging it.
 */
export async function handler(_medplum: MedplumClient, event: BotEvent): Promise<boolean> {
  let change: Change | undefined;
  try {
    change = changeFrom(event);
    const { kind, id, resource } = change;
    const baseUrl = requiredSecret(event.secrets, 'HAPI_BASE_URL').replace(/\/+$/, '');
    const token = optionalSecret(event.secrets, 'HAPI_BEARER_TOKEN');
    const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};
    const query = identifierQuery(SYSTEM, id);
    if (kind === 'delete') {
      // Never a conditional DELETE: look first, and delete by id.
      const fresh = { ...headers, 'cache-control': 'no-cache' };
      const found = await makeConditionalFhirRequest<Bundle<Patient>>(baseUrl, 'Patient', query, 'GET', null, fresh);
      const patients = (found?.entry ?? []).flatMap((entry) => entry.resource ?? []);
      for (const patient of patients.filter((one) => !isMerged(one, SYSTEM))) {
        await makeExternalRequest(`${baseUrl}/Patient/${patient.id}`, HTTP_VERBS.DELETE, null, headers);
      }
    } else {
      const { body } = sanitize(resource as Patient, { system: SYSTEM, value: id }, () => undefined);
      await makeConditionalFhirRequest(baseUrl, 'Patient', query, HTTP_VERBS.PUT, body, headers);
    }
    logExternalRequest(`${VERBS[kind]} Patient`, id, true);
    return true;
  } catch (error) {
    logExternalRequest(`${change ? VERBS[change.kind] : 'SYNC'} Patient`, change?.id ?? '', false, error);
    throw error;
  }
}
