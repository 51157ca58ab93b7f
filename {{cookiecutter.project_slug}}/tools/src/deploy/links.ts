// Links between resources of one deployment. A resource has no id before it is created. Until then,
// other resources of the plan refer to it by a link, which is its type and key:
// `Bot/staging/hapi-sync-bot`. When the steps are carried out (apply.ts), and for bots that exist
// already (plan-resources.ts), ids take the place of the links.
import type { Resource } from '@medplum/fhirtypes';

/** The links whose ids are known: `Bot/staging/hapi-sync-bot` -> `Bot/<id>`. */
export type Links = ReadonlyMap<string, string>;

/** @returns the link to a resource, `Bot/staging/hapi-sync-bot` */
export function linkTo(resourceType: Resource['resourceType'], key: string): string {
  return `${resourceType}/${key}`;
}

/** @returns the same value, with references by id in place of the links that are known */
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
