// Every version of every resource, in memory; current ones are found by id and by identifier without a scan.
import { resolveId } from '@medplum/core';
import type { WithId } from '@medplum/core';
import type { Identifier, Meta, Reference, Resource } from '@medplum/fhirtypes';
import { randomUUID } from 'node:crypto';
import { LOCAL } from './local-project.ts';

/** One version of a resource. A tombstone's resource has only type, id and meta. */
export interface Version {
  resource: WithId<Resource>;
  deleted: boolean;
  /** Counts all writes: orders versions of the same millisecond. */
  order: number;
}

/** Resources that went in are never changed: whoever wants to change one makes a copy. */
export class Store {
  /** What Binary resources hold, by id. */
  readonly contents = new Map<string, Buffer>();
  private readonly types = new Map<string, Map<string, Version[]>>();
  private readonly identifiers = new Map<string, Set<string>>();
  private order = 0;

  /** @returns all versions, oldest first */
  versions(type: string, id: string): readonly Version[] {
    return this.types.get(type)?.get(id) ?? [];
  }

  latest(type: string, id: string): Version | undefined {
    return this.versions(type, id).at(-1);
  }

  /** @returns the latest version of each resource of the type, in the order of their creation */
  *all(type: string): Generator<Version> {
    for (const versions of this.types.get(type)?.values() ?? []) yield versions.at(-1)!;
  }

  /**
   * @param token - as in a search: `system|value`, `system|`, `|value` or `value`
   * @returns the latest version of each resource that has such an identifier now
   */
  *withIdentifier(type: string, token: string): Generator<Version> {
    for (const id of this.identifiers.get(`${type} ${token}`) ?? []) yield this.latest(type, id)!;
  }

  add(resource: WithId<Resource>, deleted = false): void {
    const { resourceType: type, id } = resource;
    const ofType = this.types.get(type) ?? new Map<string, Version[]>();
    this.types.set(type, ofType);
    const versions = ofType.get(id) ?? [];
    ofType.set(id, versions);
    const previous = versions.at(-1);
    if (previous) this.index(previous.resource, (ids) => ids.delete(id));
    versions.push({ resource, deleted, order: ++this.order });
    this.index(resource, (ids) => ids.add(id));
  }

  /** Puts a tombstone on top of a resource's versions. */
  bury({ resourceType, id, meta }: WithId<Resource>): void {
    const tombstone = {
      versionId: randomUUID(),
      lastUpdated: new Date().toISOString(),
      project: meta!.project,
    };
    this.add({ resourceType, id, meta: tombstone } as WithId<Resource>, true);
  }

  /** Forgets a resource as if it had never been. */
  expunge(type: string, id: string): void {
    const latest = this.latest(type, id);
    if (latest) this.index(latest.resource, (ids) => ids.delete(id));
    this.types.get(type)?.delete(id);
    this.contents.delete(id);
  }

  private index(resource: WithId<Resource>, change: (ids: Set<string>) => void): void {
    const { identifier } = resource as { identifier?: Identifier | Identifier[] };
    for (const { system, value = '' } of identifier ? [identifier].flat() : []) {
      for (const token of [value, `${system ?? ''}|${value}`, ...(system ? [`${system}|`] : [])]) {
        const key = `${resource.resourceType} ${token}`;
        const ids = this.identifiers.get(key) ?? new Set();
        change(ids);
        if (ids.size > 0) this.identifiers.set(key, ids);
        else this.identifiers.delete(key);
      }
    }
  }
}

/** A resource as it is stored next: with the members of meta that only the server writes. */
export function stamped(
  resource: WithId<Resource>,
  existing: Resource | undefined,
  author: Reference,
): WithId<Resource> {
  const project = projectOf(resource) ?? existing?.meta?.project ?? LOCAL.projectId;
  const times = { versionId: randomUUID(), lastUpdated: new Date().toISOString() };
  const own = {
    author: author as NonNullable<Meta['author']>,
    project,
    compartment: compartments(resource, project),
  };
  return { ...resource, meta: { ...resource.meta, ...times, ...own } };
}

function projectOf(resource: Resource): string | undefined {
  if (resource.resourceType === 'Project') return resource.id;
  return resource.resourceType === 'ProjectMembership' ? resolveId(resource.project) : undefined;
}

/** The project, and the patients that the resource is about. */
function compartments(resource: WithId<Resource>, project: string): Reference[] {
  const own = resource.resourceType === 'Patient' ? [`Patient/${resource.id}`] : [];
  const values = Object.values(resource).flat() as ({ reference?: string } | undefined)[];
  const others = values.flatMap((value) =>
    /^Patient\/[0-9a-f-]{36}$/.test(value?.reference ?? '') ? [value!.reference!] : [],
  );
  return [...new Set([`Project/${project}`, ...own, ...others])].map((reference) => ({
    reference,
  }));
}
