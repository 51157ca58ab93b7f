// Every version of every resource, in memory; current ones are found by id and by identifier
// without a scan.
import type { WithId } from '@medplum/core';
import type { Identifier, Resource } from '@medplum/fhirtypes';
import { randomUUID } from 'node:crypto';
import type { StoreFiles } from './store-files.ts';
import type { Version } from './version.ts';

/** Stored resources are never changed: to change one, copy it. */
export class Store {
  /** What Binary resources hold, by id. */
  private readonly contents: Map<string, Buffer>;
  private readonly types = new Map<string, Map<string, Version[]>>();
  private readonly identifiers = new Map<string, Set<string>>();
  private readonly files: StoreFiles | undefined;
  private order = 0;

  /** @param files - where to keep everything; only in memory if left out */
  constructor(files?: StoreFiles) {
    const { versions, contents } = files?.read() ?? { versions: [], contents: new Map() };
    this.contents = contents;
    for (const version of versions) {
      this.remember(version);
    }
    this.files = files;
  }

  /** @returns what a Binary holds */
  content(id: string): Buffer | undefined {
    return this.contents.get(id);
  }

  /** @param id - of a Binary */
  setContent(id: string, bytes: Buffer): void {
    this.contents.set(id, bytes);
    this.files?.writeContent(id, bytes);
  }

  /** @returns all versions, oldest first */
  versions(type: string, id: string): readonly Version[] {
    return this.types.get(type)?.get(id) ?? [];
  }

  latest(type: string, id: string): Version | undefined {
    return this.versions(type, id).at(-1);
  }

  /** @returns the latest version of each resource of the type, in the order of their creation */
  *all(type: string): Generator<Version> {
    for (const versions of this.types.get(type)?.values() ?? []) {
      yield versions.at(-1)!;
    }
  }

  /** @returns the resources of the type that are not deleted, in the order of their creation */
  *living<T extends Resource>(type: T['resourceType']): Generator<WithId<T>> {
    for (const { resource, deleted } of this.all(type)) {
      if (!deleted) {
        yield resource as WithId<T>;
      }
    }
  }

  /**
   * @param token - as in a search: `system|value`, `system|`, `|value` or `value`
   * @returns the latest version of each resource that has such an identifier now
   */
  *withIdentifier(type: string, token: string): Generator<Version> {
    for (const id of this.identifiers.get(`${type} ${token}`) ?? []) {
      yield this.latest(type, id)!;
    }
  }

  add(resource: WithId<Resource>, deleted = false): void {
    const version = { resource, deleted, order: this.order + 1 };
    this.remember(version);
    this.files?.writeVersion(version);
  }

  private remember(version: Version): void {
    const { resource, order } = version;
    const { resourceType: type, id } = resource;
    const ofType = this.types.get(type) ?? new Map<string, Version[]>();
    this.types.set(type, ofType);
    const versions = ofType.get(id) ?? [];
    ofType.set(id, versions);
    const previous = versions.at(-1);
    if (previous) {
      this.index(previous.resource, (ids) => ids.delete(id));
    }
    versions.push(version);
    this.order = order;
    this.index(resource, (ids) => ids.add(id));
  }

  /** Puts a tombstone on top of a resource's versions. */
  createTombstone({ resourceType, id, meta }: WithId<Resource>): void {
    const tombstone = {
      versionId: randomUUID(),
      lastUpdated: new Date().toISOString(),
      project: meta!.project,
      deleted: true,
    };
    this.add({ resourceType, id, meta: tombstone } as WithId<Resource>, true);
  }

  /** Forgets a resource with all its versions. */
  expunge(type: string, id: string): void {
    const latest = this.latest(type, id);
    if (latest) {
      this.index(latest.resource, (ids) => ids.delete(id));
    }
    this.types.get(type)?.delete(id);
    this.contents.delete(id);
    this.files?.remove(type, id);
  }

  private index(resource: WithId<Resource>, change: (ids: Set<string>) => void): void {
    const { identifier } = resource as { identifier?: Identifier | Identifier[] };
    for (const token of identifier ? [identifier].flat().flatMap(searchTokens) : []) {
      const key = `${resource.resourceType} ${token}`;
      const ids = this.identifiers.get(key) ?? new Set();
      change(ids);
      if (ids.size > 0) {
        this.identifiers.set(key, ids);
      } else {
        this.identifiers.delete(key);
      }
    }
  }
}

/** @returns all values by which a search finds an identifier */
function searchTokens({ system = '', value = '', type }: Identifier): string[] {
  const tokens = [value.trim(), `${system.trim()}|${value.trim()}`];
  if (system) {
    tokens.push(`${system.trim()}|`);
  }
  if (type?.text) {
    tokens.push(type.text.trim());
  }
  return tokens;
}
