// What of a Medplum resource goes to the external server: everything that means the same there, and nothing else.
import type { Resource } from '@medplum/fhirtypes';

/** An address that carries its own permission, as Medplum gives out for files; it expires, and differs at each read. */
const PRESIGNED_URL = /^https?:\/\/.*[?&](Signature|Expires|Key-Pair-Id|X-Amz-Signature|X-Goog-Signature|sig)=/i;

/** Extensions that only Medplum understands. */
const MEDPLUM_EXTENSION = 'https://medplum.com/';

/** How a reference such as `Patient/123` is written on the external server; undefined leaves it out. */
export type SpellReference = (reference: string) => string | undefined;

/**
 * Makes the copy for the external server.
 *
 * Left out: Medplum's meta (project, author, compartment, account) and extensions, presigned and Binary addresses, and
 * references that `spell` does not know (what they say in words stays). Kept: `meta.security`, `tag` and `profile`, and
 * the team's own identifiers. The source identifier is added once.
 *
 * @param source - The resource, as Medplum has it; it is not changed.
 * @param sourceIdentifier - Says which Medplum resource this is.
 * @param spell - Called with each reference to another resource, as `Type/id`.
 * @returns The copy, still with Medplum's id, and how many references were left out.
 * @example sanitize(patient, { system: 'https://medplum.com/patient-id', value: patient.id }, () => undefined)
 */
export function sanitize<T extends Resource>(
  source: T,
  sourceIdentifier: { system: string; value: string },
  spell: SpellReference,
): { body: T; leftOut: number } {
  let leftOut = 0;
  const { meta, ...rest } = source;
  const copy = clean(rest, (reference) => {
    const spelled = spell(reference);
    leftOut += spelled === undefined ? 1 : 0;
    return spelled;
  }) as T & { identifier?: unknown };
  const kept = Object.entries(meta ?? {}).filter(([name]) => ['security', 'tag', 'profile'].includes(name));
  if (kept.length > 0) {
    copy.meta = Object.fromEntries(kept);
  }
  if (copy.identifier === undefined || Array.isArray(copy.identifier)) {
    const others = (copy.identifier ?? []) as { system?: string; value?: string }[];
    const isSource = (one: (typeof others)[0]): boolean =>
      one.system === sourceIdentifier.system && one.value === sourceIdentifier.value;
    copy.identifier = [...others.filter((one) => !isSource(one)), sourceIdentifier];
  }
  return { body: copy, leftOut };
}

/**
 * The resources that a resource refers to.
 *
 * @param source - The resource.
 * @param types - The types that count.
 * @returns `Type/id` of each, once.
 */
export function referencesOf(source: Resource, types: readonly string[]): string[] {
  const found = new Set<string>();
  clean({ ...source, meta: undefined }, (reference) => {
    if (types.includes(reference.split('/')[0] ?? '')) {
      found.add(reference);
    }
    return reference;
  });
  return [...found];
}

/**
 * A resource with its references written in another way.
 *
 * @param resource - As it is on the external server; it is not changed.
 * @param spell - Called with each reference to another resource, as `Type/id`.
 * @returns The copy.
 */
export function withReferences(resource: Resource, spell: SpellReference): Resource {
  return clean(resource, spell) as Resource;
}

/** A copy without what must not travel; undefined where nothing is left. */
function clean(value: unknown, spell: SpellReference): unknown {
  if (Array.isArray(value)) {
    const items = value.map((item: unknown) => clean(item, spell)).filter((item) => item !== undefined);
    return items.length > 0 ? items : undefined;
  }
  if (typeof value === 'string') {
    return PRESIGNED_URL.test(value) ? undefined : value;
  }
  if (typeof value !== 'object' || value === null) {
    return value; // also the nulls in arrays: there they keep the places of primitives and their extensions together
  }
  if ('url' in value && typeof value.url === 'string' && value.url.startsWith(MEDPLUM_EXTENSION)) {
    return undefined;
  }
  const copy: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(value)) {
    const kept =
      name === 'reference' && typeof member === 'string'
        ? cleanReference(member, spell)
        : name === 'url' && typeof member === 'string' && member.startsWith('Binary/')
          ? undefined
          : clean(member, spell);
    if (kept !== undefined) {
      copy[name] = kept;
    }
  }
  // Patient.link is nothing without its `other` (1..1), and an extension nothing without its value.
  const lostLink = 'other' in value && !('other' in copy);
  const hasValue = (one: object): boolean => Object.keys(one).some((name) => /^value[A-Z]/.test(name));
  const lostValue = 'url' in value && hasValue(value) && !hasValue(copy);
  return Object.keys(copy).length > 0 && !lostLink && !lostValue ? copy : undefined;
}

function cleanReference(reference: string, spell: SpellReference): string | undefined {
  if (reference.startsWith('#')) {
    return reference; // to a contained resource
  }
  const [, local] = /^([A-Z][A-Za-z]+\/[A-Za-z0-9.-]{1,64})(\/_history\/.+)?$/.exec(reference) ?? [];
  return spell(local ?? reference);
}
