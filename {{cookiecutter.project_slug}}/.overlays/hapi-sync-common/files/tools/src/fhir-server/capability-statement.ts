// What `GET /metadata` returns: enough for a client that asks whether a FHIR server is there.
import type { CapabilityStatement } from '@medplum/fhirtypes';

export const capabilityStatement: CapabilityStatement = {
  resourceType: 'CapabilityStatement',
  status: 'active',
  date: '2026-01-01',
  kind: 'instance',
  software: { name: 'HAPI FHIR Server', version: '8.8.0' },
  fhirVersion: '4.0.1',
  format: ['application/fhir+json'],
  rest: [{ mode: 'server' }],
};
