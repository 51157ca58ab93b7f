import { HumanName, Patient } from '@medplum/fhirtypes';

export function firstName(patient: Patient): string {
  const name = patient.name as HumanName[];
  return name?.[0]?.given?.[0] ?? 'friend';
}
