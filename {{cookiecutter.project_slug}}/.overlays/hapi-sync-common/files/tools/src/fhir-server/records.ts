// The resources of the external FHIR server and the rules for changing them: conditional requests, references that
// hold, versions that fence. As HAPI FHIR JPA 8.8.0 does it; its words are shortened, its HAPI-nnnn kept.
import type { WithId } from '@medplum/core';
import type { Reference, Resource } from '@medplum/fhirtypes';
import { isDeepStrictEqual } from 'node:util';
import { criteriaOf, FhirError, matches, readToken, referencesOf } from './resources.ts';
import { Store } from '../medplum/store.ts';
import type { Version } from '../medplum/store.ts';

export type FhirRecords = ReturnType<typeof createFhirRecords>;

/** What a transaction does all at once, as `Type/id`: references may point there, or need not hold any more. */
export interface Together {
  arriving: Set<string>;
  leaving: Set<string>;
  /** What its conditional URLs and fullUrls became. */
  names: Map<string, string>;
}

/** @param now - milliseconds */
export function createFhirRecords(now: () => number) {
  const store = new Store();
  /** 'Patient/1' -> who refers to it -> by which path. */
  const referrers = new Map<string, Map<string, string>>();
  let lastId = 999;

  const timestamp = (): string => new Date(now()).toISOString().replace('Z', '+00:00');
  const latest = (type: string, id: string): Version | undefined => store.latest(type, id);
  const alive = (type: string, id: string): WithId<Resource> | undefined => {
    const version = latest(type, id);
    return version?.deleted ? undefined : version?.resource;
  };

  /** By identifier or id where the query names one, so that its time does not grow with the number of resources. */
  function find(type: string, query: string, search = false): WithId<Resource>[] {
    const criteria = criteriaOf(type, query, search);
    const ids = criteria.find(({ name, modifier }) => name === '_id' && !modifier);
    const identifier = criteria.find(({ name, modifier }) => name === 'identifier' && !modifier);
    const tokens = identifier?.values.map(readToken) ?? [{ value: '' }];
    let candidates = ids?.values.map((id) => latest(type, id));
    if (tokens.every(({ value }) => value))
      candidates ??= tokens.flatMap(({ value }) => [...store.withIdentifier(type, value)]);
    const living = [...new Set(candidates ?? store.all(type))].flatMap((one) =>
      one && !one.deleted ? [one.resource] : [],
    );
    return living.filter((resource) => criteria.every((criterion) => matches(resource, criterion)));
  }

  /** What a conditional request means. A PUT refuses a query that restricts nothing; a DELETE takes what is there. */
  function findOne(
    type: string,
    query: string,
    verb: 'UPDATE' | 'DELETE' | 'CREATE',
  ): WithId<Resource> | undefined {
    if (verb !== 'DELETE' && criteriaOf(type, query).length === 0) {
      throw new FhirError(
        400,
        `HAPI-0518: Invalid match URL[${type}?${query}] - URL has no search parameters`,
      );
    }
    const found = find(type, query);
    if (found.length <= 1) return found[0];
    const number = verb === 'DELETE' ? '0962' : '0988';
    throw new FhirError(
      412,
      `HAPI-${number}: Failed to ${verb} ${type} with match URL "${type}?${query}" because this search matched ${found.length} resources`,
    );
  }

  /** @throws FhirError 400 where a conditional PUT would create what its own query does not find */
  function checkSatisfies(resource: Resource, query: string): void {
    const criteria = criteriaOf(resource.resourceType, query).filter(
      ({ name }) => !['_id', '_lastUpdated'].includes(name),
    );
    if (criteria.every((criterion) => matches(resource as WithId<Resource>, criterion))) return;
    throw new FhirError(
      400,
      `HAPI-0929: Conditional create: the resource does not satisfy the conditional URL ${query}`,
    );
  }

  /** Conditional references become plain ones. */
  function resolve<T>(value: T, names?: Map<string, string>): T {
    if (Array.isArray(value)) return value.map((item: unknown) => resolve(item, names)) as T;
    if (typeof value !== 'object' || value === null) return value;
    const copy = Object.fromEntries(
      Object.entries(value).map(([key, member]) => [key, resolve(member, names)]),
    );
    const { reference } = copy as Reference;
    if (typeof reference !== 'string') return copy as T;
    const [, type = '', query] = /^(\w+)\?(.*)$/s.exec(reference) ?? [];
    const known = names?.get(reference);
    if (known ?? query === undefined)
      return { ...copy, reference: known ?? reference.replace(/\/_history\/.*$/, '') } as T;
    const [one, two] = find(type, query);
    if (!one)
      throw new FhirError(
        404,
        `HAPI-1091: Invalid match URL "${reference}" - No resources match this search`,
      );
    if (two)
      throw new FhirError(
        412,
        `HAPI-1092: Invalid match URL "${reference}" - Multiple resources match this search`,
      );
    return { ...copy, reference: `${type}/${one.id}` } as T;
  }

  function checkReferences(resource: Resource, together?: Together): void {
    for (const { target, path, types } of referencesOf(resource)) {
      if (/^https?:/.test(target))
        throw new FhirError(
          400,
          `HAPI-0507: Resource contains external reference to URL "${target}"`,
        );
      const [type = '', id] = target.split('/');
      if (!id)
        throw new FhirError(
          400,
          `HAPI-0505: Invalid resource reference found at path[${path}] - ${target}`,
        );
      if (!types.includes(type))
        throw new FhirError(422, `HAPI-0931: Resource type '${type}' is not valid for ${path}`);
      if (alive(type, id) ? !together?.leaving.has(target) : together?.arriving.has(target))
        continue;
      const [number, what] = latest(type, id) ? ['1096', 'is deleted'] : ['1094', 'not found'];
      throw new FhirError(
        400,
        `HAPI-${number}: Resource ${target} ${what}, specified in path: ${path}`,
      );
    }
  }

  function checkUnreferenced(type: string, id: string, together?: Together): void {
    const holder = [...(referrers.get(`${type}/${id}`) ?? [])].find(
      ([one]) => one !== `${type}/${id}` && !together?.leaving.has(one),
    );
    if (!holder) return;
    throw new FhirError(
      409,
      `Unable to delete ${type}/${id} because ${holder[0]} has a reference to it in ${holder[1]}`,
    );
  }

  /** What refers to a resource. */
  const referring = (type: string, id: string): WithId<Resource>[] =>
    [...(referrers.get(`${type}/${id}`) ?? [])].flatMap(
      ([one]) => alive(...(one.split('/') as [string, string])) ?? [],
    );

  /** What stands in the way of a PUT by id. HAPI does not look at `If-Match` where nothing ever was. */
  function checkFence(type: string, id: string, ifMatch?: string): void {
    const before = latest(type, id);
    if (!/^[A-Za-z0-9.-]{1,64}$/.test(id))
      throw new FhirError(400, `HAPI-0521: ID[${id}] is not a valid FHIR ID`);
    if (!before && /^\d+$/.test(id))
      throw new FhirError(400, `HAPI-0960: Can not create resource with ID[${id}]: all digits`);
    if (!before || ifMatch === undefined) return;
    const version = ifMatch.replace(/^(W\/)?"?(.*?)"?$/, '$2');
    if (!/^\d+$/.test(version))
      throw new FhirError(500, `HAPI-2223: For input string: "${version}"`);
    if (version === before.resource.meta?.versionId) return;
    throw new FhirError(
      409,
      `HAPI-0550: HAPI-0989: ${type}/${id}/_history/${version} is not the current version`,
    );
  }

  function add(resource: WithId<Resource>, deleted: boolean): void {
    const self = `${resource.resourceType}/${resource.id}`;
    const before = alive(resource.resourceType, resource.id);
    for (const { target } of before ? referencesOf(before) : [])
      referrers.get(target)?.delete(self);
    for (const { target, path } of deleted ? [] : referencesOf(resource)) {
      referrers.set(target, (referrers.get(target) ?? new Map<string, string>()).set(self, path));
    }
    store.add(resource, deleted);
  }

  /** Stores a version, unless nothing would change. Tags and labels only grow, but for those that `whole` names. */
  function write(
    id: string,
    body: Resource,
    whole: unknown = '',
  ): { resource: WithId<Resource>; status: 200 | 201; changed: boolean } {
    const before = latest(body.resourceType, id);
    const { versionId = '0', lastUpdated, ...old } = before?.resource.meta ?? {};
    const { versionId: _v, lastUpdated: _l, ...meta } = body.meta ?? {};
    for (const [list, name] of [['tag', 'TAG'] as const, ['security', 'SECURITY_LABEL'] as const]) {
      const kept = String(whole).includes(name) ? [] : (old[list] ?? []);
      const more = (meta[list] ?? []).filter(
        (one) => !kept.some((other) => isDeepStrictEqual(one, other)),
      );
      if (kept.length + more.length > 0) meta[list] = [...kept, ...more];
    }
    const same = { ...body, id, meta: { versionId, lastUpdated, ...meta } } as WithId<Resource>;
    const living = before && !before.deleted;
    if (living && isDeepStrictEqual(same, before.resource))
      return { resource: before.resource, status: 200, changed: false };
    Object.assign(same.meta ?? {}, {
      versionId: String(Number(versionId) + 1),
      lastUpdated: timestamp(),
    });
    add(same, false);
    return { resource: same, status: living ? 200 : 201, changed: true };
  }

  /** Leaves a tombstone. @returns its version */
  function remove({ resourceType, id, meta }: WithId<Resource>): string {
    const versionId = String(Number(meta?.versionId) + 1);
    add(
      { resourceType, id, meta: { versionId, lastUpdated: timestamp() } } as WithId<Resource>,
      true,
    );
    return versionId;
  }

  const newId = (): string => String(++lastId);
  const checks = { checkSatisfies, checkReferences, checkUnreferenced, checkFence };
  return {
    store,
    now,
    newId,
    latest,
    alive,
    referring,
    find,
    findOne,
    resolve,
    write,
    remove,
    ...checks,
  };
}
