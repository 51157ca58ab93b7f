// What a real Medplum has and the local one does not: it answers 501 and says so. docs/runtimes.md
// lists all of it.
import * as core from '@medplum/core';
import type { Bundle, OperationOutcome } from '@medplum/fhirtypes';

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

/** What a request for something that is not available locally is answered with. */
export function notAvailable(what: string): OperationOutcome {
  return new NotAvailableError(what).outcome;
}

/**
 * Gives refused entries of a batch's answer the status 501, which @medplum/fhir-router does not
 * know.
 */
export function withRefusedEntries(bundle: Bundle): Bundle {
  const entry = bundle.entry?.map((answer) => {
    const { response } = answer;
    const refused = response?.outcome && statusOf(response.outcome as OperationOutcome) === 501;
    return refused ? { ...answer, response: { ...response, status: '501' } } : answer;
  });
  return { ...bundle, ...(entry && { entry }) };
}

/** Operations of a real server, by their paths below the FHIR address. */
export const OPERATIONS_NOT_AVAILABLE: readonly string[] = [
  '$export',
  '$resolve-smart-health-link',
  '$verify-smart-health-card',
  ':resourceType/:id/$aws-textract',
  ':resourceType/:id/$graph',
  ':resourceType/:id/$refresh-reference-display',
  ':resourceType/:id/$resend',
  ':resourceType/:id/$set-accounts',
  'Agent/$bulk-status',
  'Agent/$fetch-logs',
  'Agent/$reload-config',
  'Agent/$stats',
  'Agent/$status',
  'Agent/$upgrade',
  'Agent/:id/$fetch-logs',
  'Agent/:id/$reload-config',
  'Agent/:id/$stats',
  'Agent/:id/$status',
  'Agent/:id/$upgrade',
  'Appointment/$book',
  'Appointment/$find',
  'Appointment/$hold',
  'Appointment/:id/$cancel',
  'Appointment/:id/$confirm',
  'AsyncJob/:id/$cancel',
  'Binary/:id/$presigned-url',
  'Bot/$init',
  'ChargeItemDefinition/:id/$apply',
  'Claim/$export',
  'Claim/$submit',
  'Claim/:id/$export',
  'Claim/:id/$submit',
  'ClientApplication/:id/$rotate-secret',
  'ClientApplication/:id/$smart-launch',
  'CodeSystem/$import',
  'CodeSystem/$lookup',
  'CodeSystem/$subsumes',
  'CodeSystem/$validate-code',
  'CodeSystem/:id/$import',
  'CodeSystem/:id/$lookup',
  'CodeSystem/:id/$subsumes',
  'CodeSystem/:id/$validate-code',
  'ConceptMap/$import',
  'ConceptMap/$translate',
  'ConceptMap/:id/$import',
  'ConceptMap/:id/$translate',
  'Group/:id/$export',
  'Measure/:id/$evaluate-measure',
  'PackageRelease/:id/$install',
  'Patient/$export',
  'Patient/$match',
  'Patient/:id/$ccda-export',
  'Patient/:id/$generate-smart-health-card',
  'Patient/:id/$generate-smart-health-link',
  'Patient/:id/$summary',
  'PlanDefinition/:id/$apply',
  'Project/$init',
  'Project/:id/$clone',
  'Project/:id/$rate-limits',
  'QuestionnaireResponse/$extract',
  'QuestionnaireResponse/:id/$extract',
  'StructureDefinition/$expand-profile',
  'Subscription/:id/$get-ws-binding-token',
  'User/:id/$rescope',
  'User/:id/$update-email',
];

/** Operations that a real server does not find inside a Bundle. */
export const OPERATIONS_NOT_IN_BUNDLES: readonly string[] = [
  '$ai',
  ':resourceType/$csv',
  'Agent/$push',
  'Agent/:id/$push',
];

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
  'ws',
];
