// Links between resources of one deployment. Before a resource is created it has no id, so what
// refers to it names its key, such as `Bot/staging/hapi-sync-bot`; ids take the place of the keys
// as soon as they are known.
import type { Resource } from '@medplum/fhirtypes';

/** `Bot/staging/hapi-sync-bot` -> `Bot/<id>` */
export type Links = ReadonlyMap<string, string>;

/** What refers to a resource by its key, as long as its id is not known. */
export function linkTo(resourceType: Resource['resourceType'], key: string): string {
  return `${resourceType}/${key}`;
}

/** @returns the same value, with ids for all links that are known */
export function resolveLinks<T>(value: T, links: Links): T {
  if (typeof value === 'string') {
    return (links.get(value) ?? value) as T;
  }
  if (Array.isArray(value)) {
    return value.map((item: unknown) => resolveLinks(item, links)) as T;
  }
  if (value !== null && typeof value === 'object') {
    const members = Object.entries(value).map(([name, member]) => [
      name,
      resolveLinks(member as unknown, links),
    ]);
    return Object.fromEntries(members) as T;
  }
  return value;
}

/** `system|code` for a query. */
export function token(system: string, code: string): string {
  return `${encodeURIComponent(system)}|${encodeURIComponent(code)}`;
}
