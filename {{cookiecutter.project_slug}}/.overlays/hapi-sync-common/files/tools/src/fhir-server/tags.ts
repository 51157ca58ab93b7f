// Tags, security labels and profiles of a resource. HAPI keeps them beside the resource: they
// outlive an update that does not name them, and a deletion. Only profiles are replaced, unless the
// request says otherwise.
import type { Coding, Meta } from '@medplum/fhirtypes';

type TagKind = 'tag' | 'security' | 'profile';

/** One tag, label or profile; the same object for all resources that have it. */
export interface Tag {
  readonly kind: TagKind;
  readonly coding: Readonly<Coding>;
}

/** What the header `X-Meta-Snapshot-Mode` calls them. */
const SNAPSHOT_NAMES: Record<string, TagKind> = {
  TAG: 'tag',
  SECURITY_LABEL: 'security',
  PROFILE: 'profile',
};

/**
 * The tags that any resource ever had: one with the same code and system takes the display of the
 * first.
 */
export class TagDefinitions {
  private readonly known = new Map<string, Tag>();

  /** @returns the tags of a `meta`, each once; a coding without code and display is dropped */
  read(meta: Meta | undefined): Set<Tag> {
    const tags = new Set<Tag>();
    for (const kind of ['tag', 'security'] as const) {
      for (const coding of meta?.[kind] ?? []) {
        if (coding.system || coding.code || coding.display) {
          tags.add(this.find(kind, coding));
        }
      }
    }
    for (const profile of meta?.profile ?? []) {
      tags.add(this.find('profile', { code: profile }));
    }
    return tags;
  }

  private find(kind: TagKind, coding: Coding): Tag {
    const { system, code, version, userSelected } = coding;
    const exact = this.key(kind, system, code, version, userSelected);
    // HAPI's query for a tag without a system finds one with any system.
    const known = this.known.get(exact) ?? (system ? undefined : this.findByCode(kind, code));
    if (known) {
      return known;
    }
    const tag = { kind, coding: { ...coding } };
    this.known.set(exact, tag);
    return tag;
  }

  private findByCode(kind: TagKind, code = ''): Tag | undefined {
    return [...this.known.values()].find((tag) => tag.kind === kind && tag.coding.code === code);
  }

  private key(...parts: unknown[]): string {
    return JSON.stringify(parts);
  }
}

/**
 * @param previous - what the resource had, also if it is deleted now
 * @param given - what the request's resource has
 * @param snapshotMode - the header `X-Meta-Snapshot-Mode`, for example `TAG, PROFILE`: these are
 *   replaced, others only grow
 */
export function mergeTags(
  previous: ReadonlySet<Tag>,
  given: ReadonlySet<Tag>,
  snapshotMode?: string,
): Set<Tag> {
  const replaced = replacedKinds(snapshotMode);
  return new Set([
    ...[...previous].filter((tag) => given.has(tag) || !replaced.has(tag.kind)),
    ...given,
  ]);
}

function replacedKinds(snapshotMode: string | undefined): ReadonlySet<TagKind> {
  if (snapshotMode === undefined) {
    return new Set(['profile']);
  }
  const kinds = snapshotMode.split(',').flatMap((name) => SNAPSHOT_NAMES[name.trim()] ?? []);
  return new Set(kinds);
}

export function hasSameTags(first: ReadonlySet<Tag>, second: ReadonlySet<Tag>): boolean {
  return first.size === second.size && [...first].every((tag) => second.has(tag));
}

/** @returns the lists of a `meta` that hold these tags, sorted as HAPI sorts them */
export function tagsAsMeta(tags: Iterable<Tag>): Pick<Meta, 'tag' | 'security' | 'profile'> {
  const codings = (kind: TagKind): Coding[] =>
    [...tags].filter((tag) => tag.kind === kind).map((tag) => tag.coding);
  const tag = codings('tag').toSorted(compareCodings);
  const security = codings('security')
    .toSorted(compareCodings)
    .map(({ system, code, display }) => withoutUndefined({ system, code, display }));
  const profile = codings('profile')
    .map(({ code = '' }) => code)
    .toSorted();
  return {
    ...(profile.length > 0 && { profile }),
    ...(security.length > 0 && { security }),
    ...(tag.length > 0 && { tag }),
  };
}

function compareCodings(first: Coding, second: Coding): number {
  const keys = [first, second].map(({ system = '', code = '' }) => `${system} ${code}`);
  return keys[0]! < keys[1]! ? -1 : Number(keys[0] !== keys[1]);
}

function withoutUndefined(coding: { [name in keyof Coding]: Coding[name] | undefined }): Coding {
  return Object.fromEntries(Object.entries(coding).filter(([, value]) => value !== undefined));
}
