// What a real Medplum has and the local one does not: it answers 501 and says so. docs/runtimes.md
// lists all of it.
import * as core from '@medplum/core';
import type { OperationOutcome } from '@medplum/fhirtypes';

const NOT_AVAILABLE = 'not-available-locally';

/** Thrown where a request needs something that the local server does not have. */
export class NotAvailableError extends core.OperationOutcomeError {
  /** @param what - begins the sentence that the caller reads */
  constructor(what: string) {
    const text = `${what} is not available locally; a real Medplum has it`;
    super({
      resourceType: 'OperationOutcome',
      id: NOT_AVAILABLE,
      issue: [{ severity: 'error', code: 'not-supported', details: { text } }],
    });
    this.name = 'NotAvailableError';
  }
}

/** @returns the HTTP status of an outcome */
export function statusOf(outcome: OperationOutcome): number {
  return outcome.id === NOT_AVAILABLE ? 501 : core.getStatus(outcome);
}

/** Operations, by the code that follows `$`. */
export const OPERATIONS_NOT_AVAILABLE = new Set([
  'ai',
  'apply',
  'aws-textract',
  'book',
  'bulk-status',
  'cancel',
  'ccda-export',
  'clone',
  'confirm',
  'csv',
  'evaluate-measure',
  'expand-profile',
  'export',
  'extract',
  'fetch-logs',
  'find',
  'generate-smart-health-card',
  'generate-smart-health-link',
  'get-ws-binding-token',
  'graph',
  'hold',
  'import',
  'init',
  'install',
  'lookup',
  'match',
  'presigned-url',
  'push',
  'rate-limits',
  'refresh-reference-display',
  'reload-config',
  'rescope',
  'resend',
  'resolve-smart-health-link',
  'rotate-secret',
  'set-accounts',
  'smart-launch',
  'stats',
  'status',
  'submit',
  'subsumes',
  'summary',
  'translate',
  'update-email',
  'upgrade',
  'verify-smart-health-card',
]);

/** Paths of the server beside FHIR. */
export const PATHS_NOT_AVAILABLE = [
  'auth',
  'dicom',
  'fhircast',
  'keyvalue',
  'mcp',
  'oauth2',
  'scim',
  'shl',
];
