// The plan for the files of resources/: one resource each, found by url or identifier, and marked
// with the path of its file.
import type { Coding } from '@medplum/fhirtypes';
import type { Actual } from './actual.ts';
import type { Change, Step } from './change.ts';
import type { Desired } from './desired.ts';
import type { DesiredResource } from './desired-resources.ts';
import { keyOf, ownBots, resourceTag, tagOf } from './identity.ts';
import { REMOVE_ORDER } from './kinds/kind.ts';
import type { PlanOptions } from './kinds/kind.ts';
import { linkTo, resolveLinks } from './links.ts';
import type { Links } from './links.ts';
import type { Obstacle } from './reasons.ts';
import { differences } from './stored.ts';
import type { Fields, Stored } from './stored.ts';

/**
 * @param botChanges - what is planned for the bots
 * @returns one change for each file, and one for each resource whose file is gone
 */
export function planResources(
  desired: Desired,
  actual: Actual,
  botChanges: readonly Change[],
  options: PlanOptions,
): Change[] {
  const bots: BotReferences = {
    links: linksToBots(desired, actual, botChanges),
    isCreated: (name) =>
      botChanges.some((change) => change.name === name && change.action === 'new'),
  };
  const changes = desired.resources.map((wanted) => planResource(wanted, desired, actual, bots));
  const orphans = desired.only === undefined ? planOrphans(desired, actual, options) : [];
  return [...changes, ...orphans];
}

/** What references to bots by name become. */
interface BotReferences {
  /** `Bot/hapi-sync-bot` -> `Bot/<id>`, for the bots that exist. */
  links: Links;
  /** Whether this run creates the bot. */
  isCreated(name: string): boolean;
}

function linksToBots(
  { system, environment }: Desired,
  { bots }: Actual,
  botChanges: readonly Change[],
): Links {
  const own = ownBots(bots, system, environment);
  const links = new Map(own.map(({ name, bot }) => [linkTo('Bot', name), `Bot/${bot.id}`]));
  // A bot that is about to be renamed has its old name on the server.
  for (const { name, existing } of botChanges) {
    if (existing) {
      links.set(linkTo('Bot', name), `Bot/${existing.id}`);
    }
  }
  return links;
}

function planResource(
  wanted: DesiredResource,
  desired: Desired,
  actual: Actual,
  bots: BotReferences,
): Change {
  const { file, resourceType } = wanted;
  const { system, environment } = desired;
  const candidates = (actual.resources ?? []).filter((resource) => isSame(resource, wanted));
  const missing = botsNamedIn(wanted.fields).filter((name) => !bots.links.has(linkTo('Bot', name)));
  const obstacle =
    findObstacle(candidates, desired) ?? findMissingBots(wanted, missing, desired, bots);
  const [existing] = candidates;
  if (obstacle) {
    return { name: file, action: 'blocked', reasons: [obstacle], steps: [], existing };
  }
  const held = existing?.meta?.tag?.find((tag) => tag.system === `${system}/held`);
  if (existing && held) {
    const version = held.code ?? '';
    const reason = { type: 'held', version, name: file, message: held.display } as const;
    return { name: file, action: 'held', reasons: [reason], steps: [], existing };
  }
  const tag = { system: resourceTag(system), code: keyOf(environment, file) };
  const fields = differences(existing, wantedFields(wanted, existing, tag, bots.links));
  const members = Object.keys(fields).toSorted();
  const step: Step = {
    type: 'write',
    order: 1,
    resourceType,
    link: linkTo(resourceType, file),
    existing,
    fields,
    createQuery: existing ? undefined : wanted.query,
    marksCommit: true,
  };
  if (!existing) {
    return { name: file, action: 'new', reasons: [], steps: [step], waitsFor: missing };
  }
  return members.length > 0
    ? {
        name: file,
        action: 'change',
        reasons: [{ type: 'resource-changed', resourceType, members }],
        steps: [step],
        existing,
        waitsFor: missing,
      }
    : { name: file, action: 'unchanged', reasons: [], steps: [], existing };
}

function isSame(stored: Stored, { resourceType, identity }: DesiredResource): boolean {
  if (stored.resourceType !== resourceType) {
    return false;
  }
  const { url, identifier } = stored as unknown as Fields;
  if ('url' in identity) {
    return url === identity.url;
  }
  const identifiers = [identifier].flat() as ({ system?: string; value?: string } | undefined)[];
  return identifiers.some(
    (candidate) => candidate?.system === identity.system && candidate.value === identity.value,
  );
}

function findObstacle(
  candidates: readonly Stored[],
  { system, environment }: Desired,
): Obstacle | undefined {
  if (candidates.length > 1) {
    const references = candidates.map(({ resourceType, id }) => `${resourceType}/${id}`);
    return { type: 'resource-ambiguous', references };
  }
  const owner = candidates[0]?.meta?.tag?.find((tag) => tag.system?.endsWith('/resource'));
  const isForeign = owner !== undefined && !isOwnTag(owner, system, environment);
  if (isForeign) {
    return { type: 'resource-of-other', owner: `${owner.system}|${owner.code}` };
  }
  return undefined;
}

/** A reference that leads nowhere is never written. */
function findMissingBots(
  { file }: DesiredResource,
  missing: readonly string[],
  { names }: Desired,
  { isCreated }: BotReferences,
): Obstacle | undefined {
  const unknown = missing.filter((name) => !names.includes(name));
  if (unknown.length > 0) {
    return { type: 'resource-bot-unknown', file, bots: unknown };
  }
  const absent = missing.filter((name) => !isCreated(name));
  return absent.length > 0 ? { type: 'resource-bot-missing', bots: absent } : undefined;
}

function isOwnTag(tag: Coding, system: string, environment: string): boolean {
  return tag.system === resourceTag(system) && tag.code?.startsWith(`${environment}/`) === true;
}

/** Names of bots that the resource refers to as `Bot/<name>`. An id is a UUID, and no name. */
function botsNamedIn(value: unknown): string[] {
  if (typeof value === 'string') {
    const [, name] = /^Bot\/([^/?|]+)$/.exec(value) ?? [];
    const isId = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(name ?? '');
    return name !== undefined && !isId ? [name] : [];
  }
  return value !== null && typeof value === 'object'
    ? Object.values(value).flatMap(botsNamedIn)
    : [];
}

/** The members of the file, with undefined for those that only the stored resource has. */
function wantedFields(
  { fields, meta }: DesiredResource,
  existing: Stored | undefined,
  tag: Coding,
  links: Links,
): Fields {
  const stored = Object.keys(existing ?? {}).filter(
    (member) => !['resourceType', 'id', 'meta'].includes(member),
  );
  const removed = Object.fromEntries(stored.map((member) => [member, undefined]));
  const wanted: Fields = { ...removed, ...resolveLinks(fields, links) };
  if (meta.profile) {
    wanted['meta.profile'] = meta.profile;
  }
  if (meta.security) {
    wanted['meta.security'] = meta.security;
  }
  wanted['meta.tag'] = wantedTags(existing?.meta?.tag ?? [], meta.tag ?? [], tag);
  return wanted;
}

function wantedTags(stored: readonly Coding[], ofFile: readonly Coding[], own: Coding): Coding[] {
  const wanted = [...ofFile, own];
  const isWanted = (tag: Coding): boolean =>
    wanted.some(({ system, code }) => system === tag.system && code === tag.code);
  const kept = stored.filter((tag) => !isWanted(tag) && tag.system !== own.system);
  const inPlace = stored.filter((tag) => isWanted(tag) || kept.includes(tag));
  const added = wanted.filter(
    ({ system, code }) => !stored.some((tag) => tag.system === system && tag.code === code),
  );
  return [...inPlace, ...added];
}

/** Resources with our tag whose file is gone. */
function planOrphans(
  { system, environment, resources }: Desired,
  actual: Actual,
  { prune }: PlanOptions,
): Change[] {
  const files = new Set(resources.map(({ file }) => keyOf(environment, file)));
  const orphans = (actual.resources ?? []).filter((resource) => {
    const key = tagOf(resource, resourceTag(system));
    const isKnown = resources.some((wanted) => isSame(resource, wanted));
    return key?.startsWith(`${environment}/`) && !files.has(key) && !isKnown;
  });
  return orphans.map((existing): Change => {
    const name = tagOf(existing, resourceTag(system))?.slice(environment.length + 1) ?? '';
    const step: Step = { type: 'remove', order: REMOVE_ORDER, existing };
    return {
      name,
      action: prune ? 'remove' : 'orphan',
      reasons: [
        { type: 'resource-not-in-repository', resourceType: existing.resourceType, removed: prune },
      ],
      steps: prune ? [step] : [],
      existing,
    };
  });
}
