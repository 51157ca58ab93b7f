// The shape of sync bot that guides show: the resource of the event goes to the other server in one
// conditional request.
import type { BotEvent, MedplumClient } from '@medplum/core';
import type { Patient } from '@medplum/fhirtypes';

const SYSTEM = 'https://medplum.com/patient-id';

export async function handler(_medplum: MedplumClient, event: BotEvent): Promise<boolean> {
  const { deletedResource, ...written } = event.input as Patient & { deletedResource?: Patient };
  const patient = deletedResource ?? written;
  const { id, meta: _meta, ...body } = patient;
  const query = `identifier=${encodeURIComponent(`${SYSTEM}|${id}`)}`;
  const base = event.secrets['HAPI_BASE_URL']?.valueString ?? '';
  const answer = await fetch(`${base}/Patient?${query}`, {
    method: deletedResource ? 'DELETE' : 'PUT',
    headers: { 'content-type': 'application/fhir+json' },
    ...(!deletedResource && {
      body: JSON.stringify({
        ...body,
        identifier: [...(body.identifier ?? []), { system: SYSTEM, value: id }],
      }),
    }),
  });
  if (!answer.ok) {
    throw new Error(`HTTP ${answer.status}`);
  }
  return true;
}
