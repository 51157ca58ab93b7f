// A fault of Medplum's read cache, for tests (`--stale-cache`): a resource that is read at about
// the time of its deletion comes back when it is read by id, for a day. Searches ask the database
// and do not find it.
import type { WithId } from '@medplum/core';
import type { Resource } from '@medplum/fhirtypes';

/** A read this long before a deletion counts as one that overlaps it. */
const OVERLAP_MILLISECONDS = 1000;

export class StaleReads {
  private readonly lastReads = new Map<string, number>();
  private readonly cached = new Map<string, WithId<Resource>>();

  /** @returns the deleted resource that the cache still has, if there is one */
  read(type: string, id: string): WithId<Resource> | undefined {
    const key = `${type}/${id}`;
    this.lastReads.set(key, Date.now());
    return this.cached.get(key);
  }

  deleted(resource: WithId<Resource>): void {
    const key = `${resource.resourceType}/${resource.id}`;
    const lastRead = this.lastReads.get(key) ?? 0;
    if (Date.now() - lastRead < OVERLAP_MILLISECONDS) {
      this.cached.set(key, resource);
    }
  }

  written(resource: WithId<Resource>): void {
    this.cached.delete(`${resource.resourceType}/${resource.id}`);
  }
}
