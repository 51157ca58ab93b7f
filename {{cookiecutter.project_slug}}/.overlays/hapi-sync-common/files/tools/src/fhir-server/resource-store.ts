// All versions of all resources, in memory, with the indexes that make reads, searches by
// identifier and checks of references quick. A group of changes can be undone: a transaction
// happens as a whole or not at all.
import type { WithId } from '@medplum/core';
import type { Identifier, Resource } from '@medplum/fhirtypes';
import type { Link } from './references.ts';
import type { Tag } from './tags.ts';

/** One version; a tombstone (after a deletion) has no resource. */
export interface Version {
  versionId: number;
  /** As in `meta.lastUpdated`. */
  lastUpdated: string;
  /** Counts the groups of changes: versions that were written together have the same number. */
  transaction: number;
  /** With `id` and `meta`, as a read returns it. */
  resource?: WithId<Resource>;
}

/** A resource through all its versions. It stays when the resource is deleted. */
export interface ResourceRecord {
  readonly type: string;
  readonly id: string;
  /** In the order of creation: HAPI's default order of search results. */
  readonly sequence: number;
  versions: readonly Version[];
  /** Those of the latest version, or of the last one before the deletion. */
  tags: ReadonlySet<Tag>;
  /** The resource without id and meta, as text: equal text means that an update changes nothing. */
  content: string;
  links: readonly Link[];
}

/** What the next version of a resource consists of; without a resource it is a tombstone. */
export interface Change {
  version: Omit<Version, 'transaction'>;
  tags: ReadonlySet<Tag>;
  content: string;
  links: readonly Link[];
}

export class ResourceStore {
  private readonly types = new Map<string, Map<string, ResourceRecord>>();
  private readonly identifiers = new Map<string, Set<ResourceRecord>>();
  private readonly referrers = new Map<string, Map<ResourceRecord, string>>();
  private lastAssignedId = 999;
  private sequence = 0;
  private transaction = 0;
  private undo: (() => void)[] | undefined;

  /** @returns an id as HAPI assigns them: 1000, 1001, … */
  assignId(): string {
    this.lastAssignedId += 1;
    return String(this.lastAssignedId);
  }

  find(type: string, id: string): ResourceRecord | undefined {
    return this.types.get(type)?.get(id);
  }

  /** @returns all records of a type, deleted ones as well, in the order of their creation */
  all(type: string): Iterable<ResourceRecord> {
    return this.types.get(type)?.values() ?? [];
  }

  /** @returns how many resources of the type exist now */
  count(type: string): number {
    return [...this.all(type)].filter(isLiving).length;
  }

  /** @returns the records whose latest version has an identifier with this value, of any system */
  withIdentifier(type: string, value: string): Iterable<ResourceRecord> {
    return this.identifiers.get(`${type} ${value}`) ?? [];
  }

  /**
   * @returns the records whose latest version refers to this resource, with the path of the
   *   reference
   */
  referringTo(type: string, id: string): ReadonlyMap<ResourceRecord, string> {
    return this.referrers.get(`${type}/${id}`) ?? new Map();
  }

  /**
   * Adds a resource that has no version yet: it cannot be found or read until `addVersion` gives it
   * one.
   */
  create(type: string, id: string): ResourceRecord {
    this.sequence += 1;
    const record: ResourceRecord = {
      type,
      id,
      sequence: this.sequence,
      versions: [],
      tags: new Set(),
      content: '',
      links: [],
    };
    const records = this.types.get(type) ?? new Map<string, ResourceRecord>();
    this.types.set(type, records);
    records.set(id, record);
    this.undo?.push(() => records.delete(id));
    return record;
  }

  addVersion(record: ResourceRecord, change: Change): void {
    const { versions, tags, content, links } = record;
    this.removeFromIndexes(record);
    const version = { ...change.version, transaction: this.transaction };
    Object.assign(record, {
      versions: [...versions, version],
      tags: change.tags,
      content: change.content,
      links: change.links,
    });
    this.addToIndexes(record);
    this.undo?.push(() => {
      this.removeFromIndexes(record);
      Object.assign(record, { versions, tags, content, links });
      this.addToIndexes(record);
    });
  }

  /**
   * Runs changes that belong together.
   *
   * @throws what `change` throws; all its changes are undone then
   */
  atomically<T>(change: () => T): T {
    if (this.undo) {
      return change();
    }
    this.undo = [];
    this.transaction += 1;
    try {
      return change();
    } catch (error) {
      for (const step of this.undo.toReversed()) {
        step();
      }
      throw error;
    } finally {
      this.undo = undefined;
    }
  }

  private addToIndexes(record: ResourceRecord): void {
    for (const key of identifierKeysOf(record)) {
      const records = this.identifiers.get(key) ?? new Set();
      this.identifiers.set(key, records.add(record));
    }
    for (const { target, path } of record.links) {
      const referrers = this.referrers.get(target) ?? new Map<ResourceRecord, string>();
      this.referrers.set(target, referrers.set(record, path));
    }
  }

  private removeFromIndexes(record: ResourceRecord): void {
    for (const key of identifierKeysOf(record)) {
      const records = this.identifiers.get(key);
      records?.delete(record);
      if (records?.size === 0) {
        this.identifiers.delete(key);
      }
    }
    for (const { target } of record.links) {
      this.referrers.get(target)?.delete(record);
    }
  }
}

/** @returns 1 for a resource that has no version yet */
export function nextVersionId(record: ResourceRecord): number {
  return (record.versions.at(-1)?.versionId ?? 0) + 1;
}

export function latestVersionOf(record: ResourceRecord): Version {
  return record.versions.at(-1)!;
}

/** @returns the resource as it is now; undefined if it is deleted */
export function livingResourceOf(record: ResourceRecord | undefined): WithId<Resource> | undefined {
  return record?.versions.at(-1)?.resource;
}

export function isLiving(record: ResourceRecord): boolean {
  return livingResourceOf(record) !== undefined;
}

function identifierKeysOf(record: ResourceRecord): string[] {
  const { identifier } = (livingResourceOf(record) ?? {}) as {
    identifier?: Identifier | Identifier[];
  };
  const identifiers = identifier ? [identifier].flat() : [];
  return [...new Set(identifiers.map(({ value = '' }) => `${record.type} ${value}`))];
}
