// The shortest sync, to learn from: a conditional PUT for a patient that exists, a DELETE for one
// that was deleted.
//
// It trusts its event, so events that come late or in the wrong order overwrite newer data, and
// parallel creates can make two patients. It copies a few elements only. hapi-sync-bot has none of
// these limits.
import type { BotEvent, MedplumClient } from '@medplum/core';
import type { Bundle, Patient } from '@medplum/fhirtypes';
import {
  HTTP_VERBS,
  logExternalRequest,
  makeConditionalFhirRequest,
  makeExternalRequest,
} from '../shared/http-helpers.ts';
import { optionalSecret, requiredSecret } from '../shared/secrets.ts';

/** The identifier that ties the two patients together: this system, with the id on Medplum. */
const SYSTEM = 'https://medplum.com/patient-id';

/**
 * Runs on each creation, update and deletion of a Patient.
 *
 * @param _medplum - Not used: everything this bot needs is in the event.
 * @param event - Its input is the patient, or `{ deletedResource }` after a deletion.
 * @returns True when the external server did it.
 * @throws Error, after logging it.
 */
export async function handler(_medplum: MedplumClient, event: BotEvent): Promise<boolean> {
  const { deletedResource } = event.input as { deletedResource?: Patient };
  const patient = deletedResource ?? (event.input as Patient);
  const id = patient.id ?? '';
  const operation = deletedResource ? 'DELETE Patient' : 'PUT Patient';
  try {
    const baseUrl = requiredSecret(event.secrets, 'HAPI_BASE_URL').replace(/\/+$/, '');
    const token = optionalSecret(event.secrets, 'HAPI_BEARER_TOKEN');
    const headers: Record<string, string> = { 'cache-control': 'no-cache' };
    if (token) {
      headers['authorization'] = `Bearer ${token}`;
    }
    const query = `identifier=${SYSTEM}|${id}`;
    const request = <T>(method: HTTP_VERBS, resource?: Patient): Promise<T | undefined> =>
      makeConditionalFhirRequest<T>(baseUrl, 'Patient', query, method, resource, headers);

    // Look first: a server that ignores the identifier would overwrite or delete another patient.
    const result = await request<Bundle<Patient>>(HTTP_VERBS.GET);
    if (result?.resourceType !== 'Bundle') {
      throw new Error('The external server did not answer with a search result');
    }
    const found = result.entry?.map(({ resource }) => resource) ?? [];
    const copies = found.filter((other) => carriesOnly(id, other));
    if (deletedResource) {
      for (const copy of copies) {
        const url = `${baseUrl}/Patient/${encodeURIComponent(copy.id ?? '')}`;
        await makeExternalRequest(url, HTTP_VERBS.DELETE, null, headers);
      }
    } else if (copies.length < found.length) {
      throw new Error(
        'The external server found a patient that does not carry exactly this identifier',
      );
    } else {
      await request(HTTP_VERBS.PUT, copyOf(patient));
    }
    logExternalRequest(operation, id, true);
    return true;
  } catch (error) {
    logExternalRequest(operation, id, false, error);
    throw error;
  }
}

/** False also for a record that was merged there, with the identifiers of two patients. */
function carriesOnly(id: string, patient: Patient | undefined): patient is Patient {
  const identifiers = patient?.identifier?.filter(({ system }) => system === SYSTEM) ?? [];
  const isPatient = patient?.resourceType === 'Patient' && patient.id !== undefined;
  return isPatient && identifiers.length > 0 && identifiers.every(({ value }) => value === id);
}

/** The elements that are copied, with the identifier that ties the two patients together. */
function copyOf(patient: Patient): Patient {
  const { active, name, telecom, gender, birthDate, address } = patient;
  const others = patient.identifier?.filter(({ system }) => system !== SYSTEM) ?? [];
  const identifier = [...others, { system: SYSTEM, value: patient.id }];
  return { resourceType: 'Patient', identifier, active, name, telecom, gender, birthDate, address };
}
