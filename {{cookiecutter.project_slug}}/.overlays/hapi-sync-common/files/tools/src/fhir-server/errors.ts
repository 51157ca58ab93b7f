// Errors and the OperationOutcome resources that HAPI FHIR answers with. HAPI tells its errors
// apart by the HTTP status and by a number such as HAPI-0450 in `diagnostics`; the wording here is
// shorter than HAPI's.
import type { OperationOutcome } from '@medplum/fhirtypes';

export interface FhirErrorOptions {
  /** `issue.code` of the OperationOutcome; HAPI uses `processing` for nearly everything. */
  code?: OperationOutcome['issue'][number]['code'];
  headers?: Record<string, string>;
}

/** An answer that is not a success: it becomes an OperationOutcome with this HTTP status. */
export class FhirError extends Error {
  readonly status: number;
  readonly code: NonNullable<FhirErrorOptions['code']>;
  readonly headers: Record<string, string>;

  constructor(status: number, diagnostics: string, options: FhirErrorOptions = {}) {
    super(diagnostics);
    this.name = 'FhirError';
    this.status = status;
    this.code = options.code ?? 'processing';
    this.headers = options.headers ?? {};
  }
}

/** A URL without a meaning: the resource type, operation or path does not exist. */
export class RoutingError extends FhirError {}

/**
 * A request body that HAPI's JSON parser refuses (400 HAPI-0450); `detail` begins with the parser's
 * own number.
 */
export function unparsable(detail: string): FhirError {
  return new FhirError(
    400,
    `HAPI-0450: Failed to parse request body as JSON resource. Error was: ${detail}`,
  );
}

/** Something that a real HAPI server can do and this server cannot. */
export function notAvailableLocally(what: string): FhirError {
  const text = `${what} is not available on the local FHIR server; a real HAPI server has it.`;
  return new FhirError(501, text, { code: 'not-supported' });
}

export function errorOutcome(error: FhirError, code = error.code): OperationOutcome {
  return {
    resourceType: 'OperationOutcome',
    issue: [{ severity: 'error', code, diagnostics: error.message }],
  };
}

/** HAPI's codes for what a write did; they are the `code` of `issue.details.coding`. */
export type StorageOutcomeCode =
  | 'SUCCESSFUL_CREATE'
  | 'SUCCESSFUL_CREATE_NO_CONDITIONAL_MATCH'
  | 'SUCCESSFUL_CREATE_WITH_CONDITIONAL_MATCH'
  | 'SUCCESSFUL_UPDATE'
  | 'SUCCESSFUL_UPDATE_AS_CREATE'
  | 'SUCCESSFUL_UPDATE_NO_CHANGE'
  | 'SUCCESSFUL_UPDATE_NO_CONDITIONAL_MATCH'
  | 'SUCCESSFUL_UPDATE_WITH_CONDITIONAL_MATCH'
  | 'SUCCESSFUL_UPDATE_WITH_CONDITIONAL_MATCH_NO_CHANGE'
  | 'SUCCESSFUL_DELETE'
  | 'SUCCESSFUL_DELETE_ALREADY_DELETED'
  | 'SUCCESSFUL_DELETE_NOT_FOUND';

const DISPLAYS: Record<StorageOutcomeCode, string> = {
  SUCCESSFUL_CREATE: 'Create succeeded.',
  SUCCESSFUL_CREATE_NO_CONDITIONAL_MATCH:
    'Conditional create succeeded: no existing resource matched the conditional URL.',
  SUCCESSFUL_CREATE_WITH_CONDITIONAL_MATCH:
    'Conditional create succeeded: an existing resource matched the conditional URL so no ' +
    'action was taken.',
  SUCCESSFUL_UPDATE: 'Update succeeded.',
  SUCCESSFUL_UPDATE_AS_CREATE: 'Update as create succeeded.',
  SUCCESSFUL_UPDATE_NO_CHANGE: 'Update succeeded: No changes were detected so no action was taken.',
  SUCCESSFUL_UPDATE_NO_CONDITIONAL_MATCH:
    'Conditional update succeeded: no existing resource matched the conditional URL.',
  SUCCESSFUL_UPDATE_WITH_CONDITIONAL_MATCH:
    'Conditional update succeeded: an existing resource matched the conditional URL and was ' +
    'updated.',
  SUCCESSFUL_UPDATE_WITH_CONDITIONAL_MATCH_NO_CHANGE:
    'Conditional update succeeded: an existing resource matched the conditional URL. ' +
    'No changes were detected so no action was taken.',
  SUCCESSFUL_DELETE: 'Delete succeeded.',
  SUCCESSFUL_DELETE_ALREADY_DELETED: 'Delete succeeded: Resource was already deleted.',
  SUCCESSFUL_DELETE_NOT_FOUND:
    'Delete succeeded: No existing resource was found so no action was taken.',
};

const STORAGE_RESPONSE_SYSTEM =
  'https://hapifhir.io/fhir/CodeSystem/hapi-fhir-storage-response-code';

/** What HAPI says about a write that succeeded. */
export function storageOutcome(
  code: StorageOutcomeCode,
  diagnostics: string,
  issue: { severity: 'information' | 'warning'; code: 'informational' | 'not-found' } = {
    severity: 'information',
    code: 'informational',
  },
): OperationOutcome {
  const coding = { system: STORAGE_RESPONSE_SYSTEM, code, display: DISPLAYS[code] };
  return {
    resourceType: 'OperationOutcome',
    issue: [{ ...issue, details: { coding: [coding] }, diagnostics }],
  };
}
