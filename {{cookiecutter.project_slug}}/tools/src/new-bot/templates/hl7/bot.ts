// my-bot: keeps the patient of an HL7 v2 ADT message, and acknowledges the message.
import type { BotEvent, Hl7Message, MedplumClient } from '@medplum/core';
import type { Patient } from '@medplum/fhirtypes';

const MRN_SYSTEM = 'https://example.com/mrn';

/**
 * @param medplum - client for the project, with the rights of this bot
 * @param event - `input` is the parsed message
 * @returns the acknowledgement, which Medplum sends as HL7 v2
 */
export async function handler(
  medplum: MedplumClient,
  event: BotEvent<Hl7Message>,
): Promise<Hl7Message> {
  const pid = event.input.getSegment('PID');
  const mrn = pid?.getComponent(3, 1);
  if (!mrn) {
    return event.input.buildAck({ ackCode: 'AE' });
  }
  const patient: Patient = {
    resourceType: 'Patient',
    identifier: [{ system: MRN_SYSTEM, value: mrn }],
    name: [{ family: pid?.getComponent(5, 1), given: [pid?.getComponent(5, 2) ?? ''] }],
  };
  await medplum.upsertResource(patient, `identifier=${MRN_SYSTEM}|${mrn}`);
  return event.input.buildAck();
}
