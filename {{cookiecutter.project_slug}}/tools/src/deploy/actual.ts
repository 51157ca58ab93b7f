// What is on the server: three requests, however many bots there are, and one more for each further page of 1,000.
import type {
  AccessPolicy,
  Bot,
  Coding,
  Project,
  ProjectMembership,
  Resource,
  Subscription,
} from '@medplum/fhirtypes';
import { isDeepStrictEqual } from 'node:util';
import { UserError } from '../terminal/user-error.ts';
import { RequestError, searchAll } from './server.ts';
import type { Fields, Server } from './server.ts';

/** A resource as a server returns it. */
export type Stored<T extends Resource> = T & { id: string };

export interface Actual {
  /** Undefined where the credentials have no right of a project admin. */
  project: Project | undefined;
  /** Every bot of the project, also those of other repositories. */
  bots: Stored<Bot>[];
  /** Of bots; undefined without an admin's right. */
  memberships: Stored<ProjectMembership>[] | undefined;
  /** Every subscription of the project, whatever its status. */
  subscriptions: Stored<Subscription>[];
  /** Undefined where the credentials may not read them. */
  policies: Stored<AccessPolicy>[] | undefined;
}

/**
 * Reads the project's bots and what belongs to them. Everything is read and sorted here rather than searched for by
 * identifier: bots of the same name that come from elsewhere and subscriptions that nobody knows of are found by that.
 *
 * @throws UserError where the credentials may not read bots or subscriptions
 */
export async function readActual(server: Server): Promise<Actual> {
  const all = '_count=1000&_sort=_lastUpdated';
  const [project, [bots, memberships, subscriptions, policies]] = await Promise.all([
    readProject(server),
    searchAll(server, [
      `Bot?${all}`,
      `ProjectMembership?profile-type=Bot&${all}`,
      `Subscription?${all}`,
      `AccessPolicy?${all}`,
    ]),
  ]);
  if (!bots || !subscriptions) {
    throw new UserError(
      'These credentials may not read bots or subscriptions: their access policy has to allow it.',
    );
  }
  return { project, bots, memberships: project && memberships, subscriptions, policies } as Actual;
}

/** Its features, and the names of its secrets; undefined without an admin's right. */
export async function readProject(server: Server): Promise<Stored<Project> | undefined> {
  try {
    return await server.send<Stored<Project>>('GET', `Project/${server.environment.projectId}`);
  } catch (error) {
    if (error instanceof RequestError && error.status === 403) return undefined;
    throw error;
  }
}

type OwnBot = { name: string; bot: Stored<Bot> };
/** The bots of one repository and environment, by the name in their identifier. */
export function ownBots(bots: Stored<Bot>[], system: string, environment: string): OwnBot[] {
  return bots.flatMap((bot) => {
    const keys = (bot.identifier ?? [])
      .filter((one) => one.system === system)
      .map(({ value = '' }) => value);
    return keys
      .filter((key) => key.startsWith(`${environment}/`))
      .map((key) => ({ name: nameIn(key), bot }));
  });
}

/** `staging/hapi-sync-bot` -> `hapi-sync-bot` */
export function nameIn(key: string): string {
  return key.split('/')[1] ?? key;
}

/** The code of the tag with this system, where there is one. */
export function tagOf(resource: Resource | undefined, system: string): string | undefined {
  return resource?.meta?.tag?.find((tag) => tag.system === system)?.code;
}

/** The codes of all tags with this system. */
export function tagsOf(resource: Resource | undefined, system: string): string[] {
  return (resource?.meta?.tag ?? [])
    .filter((tag) => tag.system === system)
    .map((tag) => tag.code ?? '');
}

/**
 * @param existing - a resource, or nothing
 * @param wanted - values by member; `meta.tag` stands for the tags, undefined for a member that should not be there
 * @returns those that differ
 */
export function differences(existing: Resource | undefined, wanted: Fields): Fields {
  const there = { ...existing, 'meta.tag': existing?.meta?.tag } as Fields;
  return Object.fromEntries(
    Object.entries(wanted).filter(([member, value]) => !isDeepStrictEqual(there[member], value)),
  );
}

/** The resource's tags, with those of one system replaced. */
export function withTags(
  existing: Resource | undefined,
  system: string,
  codes: string[],
): Coding[] | undefined {
  const others = (existing?.meta?.tag ?? []).filter((tag) => tag.system !== system);
  const tags = [...others, ...codes.map((code) => ({ system, code }))];
  return tags.length > 0 ? tags : undefined;
}
