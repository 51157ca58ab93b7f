// What the demo does in Medplum, and which patients the external server has to hold afterwards.
import type { MedplumClient, WithId } from '@medplum/core';
import type { Patient } from '@medplum/fhirtypes';

export interface Step {
  /** What is done, as a sentence. */
  title: string;
  interaction: 'create' | 'update' | 'delete';
  act(medplum: MedplumClient): Promise<unknown>;
  /** The patients of the external server after the step. */
  expected: readonly Patient[];
}

const FLORENCE: Patient = {
  resourceType: 'Patient',
  active: true,
  identifier: [{ system: 'https://example.com/mrn', value: 'MRN-1' }],
  name: [{ given: ['Florence'], family: 'Nightingale' }],
};
const BIRTH_DATE = '1820-05-12';

export const STEPS: readonly Step[] = [
  {
    title: 'A patient is created in Medplum',
    interaction: 'create',
    act: async (medplum) => medplum.createResource(FLORENCE),
    expected: [FLORENCE],
  },
  {
    title: 'She gets a birth date',
    interaction: 'update',
    act: async (medplum) => {
      const patient = await readFlorence(medplum);
      return medplum.updateResource({ ...patient, birthDate: BIRTH_DATE });
    },
    expected: [{ ...FLORENCE, birthDate: BIRTH_DATE }],
  },
  {
    title: 'She is deleted',
    interaction: 'delete',
    act: async (medplum) => {
      const { id } = await readFlorence(medplum);
      return medplum.deleteResource('Patient', id);
    },
    expected: [],
  },
];

/** The only patient of the local Medplum. */
async function readFlorence(medplum: MedplumClient): Promise<WithId<Patient>> {
  const patient = await medplum.searchOne('Patient', '', { cache: 'reload' });
  return patient!;
}
