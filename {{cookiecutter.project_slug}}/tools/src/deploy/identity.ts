// How a resource on the server is recognised as one of this repository: by an identifier or a tag,
// never by an id in git.
import type { Bot, Coding, Resource } from '@medplum/fhirtypes';
import type { Stored } from './stored.ts';

/** `staging` and `hapi-sync-bot` -> `staging/hapi-sync-bot`: the value of a Bot's identifier. */
export function keyOf(environment: string, name: string): string {
  return `${environment}/${name}`;
}

/** `staging/hapi-sync-bot` and `staging/hapi-sync-bot/0` -> `hapi-sync-bot` */
export function nameInKey(key: string): string {
  return key.split('/')[1] ?? key;
}

export interface OwnBot {
  /** As in the identifier, which is not always the name that the Bot shows. */
  name: string;
  bot: Stored<Bot>;
}

/** The bots that carry an identifier of this repository and environment. */
export function ownBots(
  bots: readonly Stored<Bot>[],
  system: string,
  environment: string,
): OwnBot[] {
  return bots.flatMap((bot) => {
    const keys = (bot.identifier ?? [])
      .filter((identifier) => identifier.system === system)
      .map((identifier) => identifier.value ?? '');
    return keys
      .filter((key) => key.startsWith(`${environment}/`))
      .map((key) => ({ name: nameInKey(key), bot }));
  });
}

/** The system of the tag that names the file of a resource: `<environment>/<file>`. */
export function resourceTag(system: string): string {
  return `${system}/resource`;
}

/** The code of the tag with this system, if there is one. */
export function tagOf(resource: Resource | undefined, system: string): string | undefined {
  return resource?.meta?.tag?.find((tag) => tag.system === system)?.code;
}

/** The codes of all tags with this system. */
export function tagsOf(resource: Resource | undefined, system: string): string[] {
  const tags = resource?.meta?.tag ?? [];
  return tags.filter((tag) => tag.system === system).map((tag) => tag.code ?? '');
}

/** The resource's tags, with those of one system replaced; undefined if none are left. */
export function withTags(
  existing: Resource | undefined,
  system: string,
  codes: readonly string[],
): Coding[] | undefined {
  const others = (existing?.meta?.tag ?? []).filter((tag) => tag.system !== system);
  const tags = [...others, ...codes.map((code) => ({ system, code }))];
  return tags.length > 0 ? tags : undefined;
}
