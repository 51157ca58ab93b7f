// The patients of a server, and how the demo writes them.
import type { Patient } from '@medplum/fhirtypes';
import type { ExternalServer } from '../external-server.ts';
import { living, nameOf } from '../page/store-view.ts';

/** @returns the patients of a server that are not deleted */
export function patientsOf(store: ExternalServer['store']): Patient[] {
  return living<Patient>(store, 'Patient');
}

/** @returns one line, such as `Florence Nightingale, born 1820-05-12` */
export function describePatients(patients: readonly Patient[]): string {
  const texts = patients.map(({ name, birthDate }) => {
    return birthDate ? `${nameOf(name)}, born ${birthDate}` : nameOf(name);
  });
  return texts.join('; ') || 'none';
}
