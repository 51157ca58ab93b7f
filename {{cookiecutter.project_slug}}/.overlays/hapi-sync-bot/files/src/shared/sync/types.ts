// The types that can be synced, and what is special about each. The tests hold this table to FHIR's
// own definitions.

/** What the sync must know about a type, beyond what holds for every resource. */
export interface TypeRules {
  /**
   * Whether the type has a list of identifiers (to which the source identifier is added), one, or
   * none.
   */
  identifier: 'list' | 'single' | 'none';
  /** Whether the type has `active`, so that `onDelete: 'deactivate'` is possible. */
  hasActive?: boolean;
  /**
   * An element that does nothing but link to other resources, such as Patient.link. When the other
   * resource is deleted, the link goes, so that it does not block the deletion.
   */
  link?: { element: string; reference: string };
}

const LIST: TypeRules = { identifier: 'list' };
const LIST_AND_ACTIVE: TypeRules = { identifier: 'list', hasActive: true };
const SINGLE: TypeRules = { identifier: 'single' };

/**
 * The supported types, each after most of those it refers to. This is the order in which the
 * reconciler writes; it deletes in reverse. References against the order, and circles, are written
 * in one transaction.
 */
export const TYPES = {
  Organization: LIST_AND_ACTIVE,
  Location: LIST,
  Practitioner: LIST_AND_ACTIVE,
  HealthcareService: LIST_AND_ACTIVE,
  PractitionerRole: LIST_AND_ACTIVE,
  Patient: {
    identifier: 'list',
    hasActive: true,
    link: { element: 'link', reference: 'other' },
  },
  RelatedPerson: LIST_AND_ACTIVE,
  Device: LIST,
  Medication: LIST,
  Questionnaire: LIST,
  Coverage: LIST,
  CareTeam: LIST,
  EpisodeOfCare: LIST,
  Schedule: LIST_AND_ACTIVE,
  Slot: LIST,
  ServiceRequest: LIST,
  Appointment: LIST,
  Encounter: LIST,
  Condition: LIST,
  AllergyIntolerance: LIST,
  FamilyMemberHistory: LIST,
  Specimen: LIST,
  Goal: LIST,
  CarePlan: LIST,
  Procedure: LIST,
  MedicationRequest: LIST,
  MedicationStatement: LIST,
  MedicationAdministration: LIST,
  MedicationDispense: LIST,
  Immunization: LIST,
  QuestionnaireResponse: SINGLE,
  Observation: LIST,
  DiagnosticReport: LIST,
  DocumentReference: LIST,
  Composition: SINGLE,
  Flag: LIST,
  Communication: LIST,
  Task: LIST,
} as const satisfies Record<string, TypeRules>;

/** The name of a supported type. */
export type SyncedType = keyof typeof TYPES;

/**
 * Looks up what is special about a type.
 *
 * @param type - A FHIR type.
 * @returns Its row of the table; of another type, that nothing is.
 */
export function rulesOf(type: string): TypeRules {
  return isSupported(type) ? TYPES[type] : { identifier: 'none' };
}

/**
 * Sorts types into the order of the table.
 *
 * @param types - Types in any order.
 * @returns The supported ones, each after most of those it refers to.
 */
export function inOrder(types: readonly string[]): SyncedType[] {
  return (Object.keys(TYPES) as SyncedType[]).filter((type) => types.includes(type));
}

/**
 * Tells whether a type can be synced.
 *
 * @param type - The name of a FHIR type.
 * @returns True if the table has it.
 */
export function isSupported(type: string): type is SyncedType {
  return Object.hasOwn(TYPES, type);
}
