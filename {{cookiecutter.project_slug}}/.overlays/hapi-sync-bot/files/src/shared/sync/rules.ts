// The copy rules: what of a Medplum resource goes to the target, decided by the types of its
// elements. Text is never touched. The tests hold the names of elements below to FHIR's definitions
// of the supported types (R4).
import type { Reference, Resource, ResourceType } from '@medplum/fhirtypes';
import type { SyncConfig } from './config.ts';
import { markedMeta, sourceSystem, withSourceIdentifier } from './marks.ts';
import type { SyncContext } from './target.ts';
import { rulesOf } from './types.ts';

/** Extensions that only Medplum understands. */
const MEDPLUM_EXTENSION = 'https://medplum.com/';

/** Elements of the type Attachment. Their `url` may be an address that only Medplum can serve. */
export const ATTACHMENTS = new Set([
  'photo',
  'presentedForm',
  'attachment',
  'contentAttachment',
  'valueAttachment',
]);

/**
 * Elements of the type canonical. `Questionnaire/<id>` in one of them is a reference to the target
 * (HAPI 8.8).
 */
export const CANONICALS = new Set([
  'instantiatesCanonical',
  'derivedFrom',
  'answerValueSet',
  'questionnaire',
  'valueCanonical',
]);

/** Elements with a member `reference` that is not a reference to a resource: a uri in both. */
export const WITH_OTHER_REFERENCE = new Set(['education', 'valueExpression']);

/**
 * In the query of an address that carries its own permission, as Medplum returns for files: it
 * expires.
 */
const SIGNATURES = ['Signature', 'X-Amz-Signature', 'X-Goog-Signature', 'sig'];

/**
 * Where the value of a required element would be, if it may not leave Medplum (FHIR R4,
 * data-absent-reason).
 */
const MASKED = {
  extension: [
    { url: 'http://hl7.org/fhir/StructureDefinition/data-absent-reason', valueCode: 'masked' },
  ],
};

/** What of a SyncContext the rules depend on: the types, the marks, and Medplum's address. */
type RulesContext = Pick<SyncContext, 'config' | 'medplum'>;

/** A copy for the target. */
export interface Copy {
  /** What to write. */
  body: Resource;
  /** How many references and canonicals were left out, or cut from one version to the resource. */
  leftOut: number;
}

/**
 * Makes the copy for the target.
 *
 * Left out: Medplum's own meta and extensions, addresses of files that only Medplum can serve, and
 * references to what is not on the target. Such a reference becomes a logical one (an identifier
 * instead of an address), so that required elements stay. Added: the tag and the source identifier
 * of this sync.
 *
 * @param context - What the sync works with.
 * @param source - The resource, as Medplum has it; it is not changed.
 * @param existing - The resource as the target has it, if it is there.
 * @param canReferTo - Whether the target has (or will have) `Type/id`, so that a reference to it
 *   holds.
 * @returns The copy, and how many references were left out.
 * @example const { body } = copyOf(context, patient, undefined, () => true);
 */
export function copyOf(
  context: RulesContext,
  source: Resource,
  existing: Resource | undefined,
  canReferTo: (reference: string) => boolean,
): Copy {
  const { config } = context;
  const walk = new Walk(context, canReferTo);
  const { meta, ...content } = walk.dropDeadLinks(source);
  const copy = { ...walk.object(content), id: source.id, meta: markedMeta(config, meta) };
  const body = withSourceIdentifier(config, copy as unknown as Resource, existing);
  return { body, leftOut: walk.leftOut };
}

/**
 * Lists the resources of synced types that a resource refers to.
 *
 * @param context - What the sync works with.
 * @param source - The resource, as Medplum has it.
 * @returns `Type/id` of each, once.
 */
export function referencesOf(context: RulesContext, source: Resource): string[] {
  const found = new Set<string>();
  copyOf(context, source, undefined, (reference) => Boolean(found.add(reference)));
  return [...found];
}

/** A walk through one resource. */
class Walk {
  leftOut = 0;
  readonly #config: SyncConfig;
  /**
   * The address of Medplum, with which absolute references to it begin:
   * `https://api.medplum.com/fhir/R4/`.
   */
  readonly #sourceUrl: string;
  readonly #canReferTo: (reference: string) => boolean;

  constructor({ config, medplum }: RulesContext, canReferTo: (reference: string) => boolean) {
    this.#config = config;
    this.#sourceUrl = `${medplum.fhirUrl().toString().replace(/\/+$/, '')}/`;
    this.#canReferTo = canReferTo;
  }

  /**
   * The resource without those links (see TypeRules.link) whose resource is not on the target.
   */
  dropDeadLinks(source: Resource): Resource {
    const { link } = rulesOf(source.resourceType);
    const links = link && (source as unknown as Record<string, unknown>)[link.element];
    if (!link || !Array.isArray(links)) {
      return source;
    }
    const living = links.filter((entry: Record<string, Reference | undefined>) => {
      const reference = entry[link.reference]?.reference;
      return (
        reference === undefined || reference.startsWith('#') || this.#resolve(reference).isKept
      );
    });
    this.leftOut += links.length - living.length;
    return { ...source, [link.element]: living };
  }

  /** A copy of an object; undefined if nothing is left of it. */
  object(value: object): Record<string, unknown> | undefined {
    const copy: Record<string, unknown> = {};
    for (const [name, member] of Object.entries(value)) {
      const hasPlaces = name.startsWith('_') || `_${name}` in value;
      const kept = Array.isArray(member)
        ? this.#items(name, member, hasPlaces)
        : this.#item(name, member);
      if (kept !== undefined) {
        copy[name] = kept;
      }
    }
    return Object.keys(copy).length > 0 ? copy : undefined;
  }

  /**
   * What is left of a list. Primitives and their extensions (`given` and `_given`) belong together
   * by their places: there, what is left out becomes null.
   */
  #items(name: string, values: unknown[], hasPlaces: boolean): unknown[] | undefined {
    const items = values.map((value) => this.#item(name, value));
    const kept = hasPlaces
      ? items.map((item) => item ?? null)
      : items.filter((item) => item !== undefined);
    return kept.some((item) => item !== null) ? kept : undefined;
  }

  /** One value of an element; undefined if it is left out. */
  #item(name: string, value: unknown): unknown {
    if (typeof value === 'string' && CANONICALS.has(name)) {
      return this.#canonical(value);
    }
    if (typeof value !== 'object' || value === null) {
      return value;
    }
    if (name === 'extension') {
      return this.#extension(value);
    }
    if (name === 'contained') {
      return this.#contained(value);
    }
    if (ATTACHMENTS.has(name)) {
      return this.#attachment(value);
    }
    const isReference =
      'reference' in value &&
      typeof value.reference === 'string' &&
      !WITH_OTHER_REFERENCE.has(name);
    return isReference ? this.#reference(value as Reference) : this.object(value);
  }

  /** HAPI drops an extension without a value, so it must not count as a difference. */
  #extension(extension: object): object | undefined {
    const { url } = extension as { url?: unknown };
    if (typeof url === 'string' && url.startsWith(MEDPLUM_EXTENSION)) {
      return undefined;
    }
    const copy = this.object(extension);
    const names = Object.keys(copy ?? {});
    return names.some((name) => /^_?value[A-Z]|^extension$/.test(name)) ? copy : undefined;
  }

  #contained(resource: object): object {
    const { meta, ...content } = resource as Resource;
    const profile = meta?.profile;
    return { ...this.object(content), ...(profile ? { meta: { profile } } : {}) };
  }

  /**
   * A canonical is an address that any server may resolve, unless it is written like a reference.
   * Then its version or fragment is cut: HAPI 8.8 takes it for a part of the id.
   */
  #canonical(canonical: string): string | undefined {
    const [address = ''] = canonical.split(/[|#]/);
    if (!LOCAL_REFERENCE.test(address)) {
      return canonical;
    }
    const { isKept, local } = this.#resolve(address);
    this.leftOut += isKept && local === canonical ? 0 : 1;
    return isKept ? local : undefined;
  }

  /**
   * An address that only Medplum can serve, or that expires, does not cross; the rest of the
   * attachment does.
   */
  #attachment(attachment: object): unknown {
    const { url, ...rest } = attachment as { url?: unknown };
    if (typeof url !== 'string' || !this.#isMedplumFile(url)) {
      return this.object(attachment);
    }
    return this.object(rest) ?? { _url: MASKED };
  }

  #isMedplumFile(address: string): boolean {
    if (address.startsWith('Binary/') || address.startsWith(`${this.#sourceUrl}Binary/`)) {
      return true;
    }
    const url = URL.canParse(address) ? new URL(address) : undefined;
    return SIGNATURES.some((name) => url?.searchParams.has(name));
  }

  #reference(reference: Reference): unknown {
    const { reference: address = '', ...rest } = reference;
    if (address.startsWith('#')) {
      return this.object(reference); // a contained resource
    }
    const { isKept, local, isVersioned } = this.#resolve(address);
    if (isKept) {
      this.leftOut += isVersioned ? 1 : 0; // the target has other versions
      return { reference: local, ...this.object(rest) };
    }
    this.leftOut++;
    return { ...logicalReference(address, local, this.#config), ...this.object(rest) };
  }

  /** Which resource a reference means, and whether it holds on the target. */
  #resolve(address: string): { isKept: boolean; local: string | undefined; isVersioned: boolean } {
    const relative = address.startsWith(this.#sourceUrl)
      ? address.slice(this.#sourceUrl.length)
      : address;
    const [, local, type, version] = LOCAL_REFERENCE.exec(relative) ?? [];
    const isSynced = this.#config.types.some((synced) => synced === type);
    const isKept = local !== undefined && isSynced && this.#canReferTo(local);
    return { isKept, local, isVersioned: version !== undefined };
  }
}

/**
 * `Type/id`, perhaps with a version. An id of dots alone would lead somewhere else in an address.
 */
const LOCAL_REFERENCE =
  /^(([A-Z][A-Za-z]+)\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9.-]{1,64})(\/_history\/[A-Za-z0-9.-]+)?$/;

/**
 * A reference by identifier (FHIR R4, 2.3.0): it says what is meant, and needs nothing on the
 * target.
 */
function logicalReference(
  address: string,
  local: string | undefined,
  config: SyncConfig,
): Reference {
  const [type = '', id = ''] = local?.split('/') ?? [];
  if (!local) {
    return { identifier: { system: 'urn:ietf:rfc:3986', value: address } };
  }
  const identifier = { system: sourceSystem(config, type), value: id };
  return { type: type as ResourceType, identifier };
}
