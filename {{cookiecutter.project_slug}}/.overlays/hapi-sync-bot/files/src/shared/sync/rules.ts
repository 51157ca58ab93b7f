// The copy rules: what of a Medplum resource goes to the target, decided by the types of its
// elements. Text is never touched. The tests hold the names of elements below to FHIR's definitions
// of the supported types (R4).
import type { Coding, Identifier, Reference, Resource, ResourceType } from '@medplum/fhirtypes';
import type { SyncConfig } from './config.ts';
import { identifiersOf, sourceIdsOf, sourceSystem, syncTag } from './marks.ts';
import { rulesOf } from './types.ts';
import type { SyncedType } from './types.ts';

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

/** What the rules depend on, beside the resource. */
export interface CopyOptions {
  config: SyncConfig;
  /**
   * The FHIR address of the source, with a slash at its end: an absolute reference to it is a local
   * one.
   */
  sourceUrl: string;
  /** The resource as the target has it, if it is there. */
  existing: Resource | undefined;
  /** Whether the target has (or will have) `Type/id`, so that a reference to it holds. */
  canReferTo: (reference: string) => boolean;
}

/** A copy for the target. */
export interface Copy {
  /** What to write. */
  body: Resource;
  /** How many references were left out, or cut from one version to the resource. */
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
 * @param source - The resource, as Medplum has it; it is not changed.
 * @param options - The configuration, and what the target has.
 * @returns The copy, and how many references were left out.
 * @example
 * const canReferTo = (): boolean => true;
 * const { body } = copyOf(patient, { config, sourceUrl, existing: undefined, canReferTo });
 */
export function copyOf(source: Resource, options: CopyOptions): Copy {
  const walk = new Walk(options);
  const { meta: _meta, ...content } = walk.dropDeadLinks(source);
  const { id } = source;
  const copy = { ...walk.object(content), id, meta: metaFor(source, options.config) };
  const body = withIdentifiers(copy as unknown as Resource, options);
  return { body, leftOut: walk.leftOut };
}

/**
 * Lists the resources of synced types that a resource refers to.
 *
 * @param source - The resource, as Medplum has it.
 * @param config - The configuration.
 * @param sourceUrl - The FHIR address of the source.
 * @returns `Type/id` of each, once.
 */
export function referencesOf(source: Resource, config: SyncConfig, sourceUrl: string): string[] {
  const found = new Set<string>();
  const canReferTo = (reference: string): boolean => Boolean(found.add(reference));
  copyOf(source, { config, sourceUrl, existing: undefined, canReferTo });
  return [...found];
}

/**
 * Security labels, tags and profiles cross; a label or a tag without a code means nothing, and HAPI
 * drops it.
 */
function metaFor({ meta }: Resource, config: SyncConfig): Resource['meta'] {
  const tag = syncTag(config);
  const others = withCode(meta?.tag).filter(
    ({ system, code }) => system !== tag.system || code !== tag.code,
  );
  const security = withCode(meta?.security);
  return {
    ...(meta?.profile?.length ? { profile: meta.profile } : {}),
    ...(security.length > 0 ? { security } : {}),
    tag: [...others, tag],
  };
}

function withCode(codings: Coding[] = []): Coding[] {
  return codings.filter(({ code }) => code !== undefined);
}

/**
 * The resource's own identifiers, those under which it was merged on the target, and the source
 * identifier.
 *
 * An identifier of our system with another id comes with data that was imported again: it does not
 * cross, or the copy would look like a merged one. But what was merged on the target stays merged:
 * without the identifier of the other patient, a deletion of this one would delete the record for
 * both.
 */
function withIdentifiers(body: Resource, { config, existing }: CopyOptions): Resource {
  const type = body.resourceType as SyncedType;
  if (rulesOf(type).identifier !== 'list') {
    return body;
  }
  const system = sourceSystem(config, type);
  const own = identifiersOf(body).filter((identifier) => identifier.system !== system);
  const mergedIds = existing ? sourceIdsOf(config, existing).filter((id) => id !== body.id) : [];
  const identifier: Identifier[] = [
    ...own,
    ...[body.id, ...new Set(mergedIds)].map((value) => ({ system, value: value ?? '' })),
  ];
  return { ...body, identifier } as Resource;
}

/** A walk through one resource. */
class Walk {
  leftOut = 0;
  readonly #options: CopyOptions;

  constructor(options: CopyOptions) {
    this.#options = options;
  }

  /**
   * The resource without those links (see TypeRules.link) whose resource is not on the target.
   */
  dropDeadLinks(source: Resource): Resource {
    const { link } = rulesOf(source.resourceType as SyncedType);
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
      const kept = this.#member(name, member, value);
      if (kept !== undefined) {
        copy[name] = kept;
      }
    }
    return Object.keys(copy).length > 0 ? copy : undefined;
  }

  #member(name: string, value: unknown, parent: object): unknown {
    if (name === 'extension' && Array.isArray(value)) {
      return this.#extensions(value);
    }
    if (name.startsWith('_')) {
      return this.#besidePrimitives(value);
    }
    if (name === 'contained' && Array.isArray(value)) {
      return value.map((resource: object) => this.#contained(resource));
    }
    if (CANONICALS.has(name)) {
      return this.#canonicals(value, `_${name}` in parent);
    }
    if (Array.isArray(value)) {
      const items = value
        .map((item: unknown) => this.#item(name, item))
        .filter((item) => item !== undefined);
      return items.length > 0 ? items : undefined;
    }
    return this.#item(name, value);
  }

  /**
   * One value of an element. Nulls stay: in arrays they keep primitives and their extensions side
   * by side.
   */
  #item(name: string, value: unknown): unknown {
    if (typeof value !== 'object' || value === null) {
      return value;
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
  #extensions(extensions: unknown[]): unknown {
    const kept = extensions.flatMap((extension) => {
      const { url } = Object(extension) as { url?: unknown };
      if (typeof url === 'string' && url.startsWith(MEDPLUM_EXTENSION)) {
        return [];
      }
      const copy = this.object(Object(extension) as object);
      const isEmpty =
        !copy || !Object.keys(copy).some((name) => /^_?value[A-Z]|^extension$/.test(name));
      return isEmpty ? [] : [copy];
    });
    return kept.length > 0 ? kept : undefined;
  }

  /**
   * `_given` and the like. In an array, each entry belongs to the primitive at its place: a removed
   * one leaves null.
   */
  #besidePrimitives(value: unknown): unknown {
    if (!Array.isArray(value)) {
      return typeof value === 'object' && value !== null ? this.object(value) : value;
    }
    const entries = value.map((entry: object | null) =>
      entry === null ? null : (this.object(entry) ?? null),
    );
    return entries.some((entry) => entry !== null) ? entries : undefined;
  }

  #contained(resource: object): object {
    const { meta, ...content } = resource as Resource;
    const profile = meta?.profile;
    return { ...this.object(content), ...(profile ? { meta: { profile } } : {}) };
  }

  #canonicals(value: unknown, hasExtensions: boolean): unknown {
    if (typeof value === 'string') {
      return this.#isKeptCanonical(value) ? value : undefined;
    }
    if (!Array.isArray(value)) {
      return this.#item('', value); // another type's element of the same name
    }
    const items = value.map((item: unknown) => {
      if (typeof item !== 'string') {
        return this.#item('', item);
      }
      return this.#isKeptCanonical(item) ? item : null;
    });
    const kept = hasExtensions
      ? items
      : items.filter((item, index) => item !== null || value[index] === null);
    return kept.some((item) => item !== null) ? kept : undefined;
  }

  /**
   * A canonical is an address that any server may resolve, unless it is written like a reference.
   */
  #isKeptCanonical(canonical: string): boolean {
    const [address = ''] = canonical.split(/[|#]/);
    if (!LOCAL_REFERENCE.test(address) || this.#resolve(address).isKept) {
      return true;
    }
    this.leftOut++;
    return false;
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
    if (address.startsWith('Binary/') || address.startsWith(`${this.#options.sourceUrl}Binary/`)) {
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
    return { ...logicalReference(address, local, this.#options.config), ...this.object(rest) };
  }

  /** Which resource a reference means, and whether it holds on the target. */
  #resolve(address: string): { isKept: boolean; local: string | undefined; isVersioned: boolean } {
    const { config, sourceUrl, canReferTo } = this.#options;
    const relative = address.startsWith(sourceUrl) ? address.slice(sourceUrl.length) : address;
    const [, local, type, version] = LOCAL_REFERENCE.exec(relative) ?? [];
    const isSynced = config.types.some((synced) => synced === type);
    const isKept = local !== undefined && isSynced && canReferTo(local);
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
