// Puts an earlier version of a bot back, and holds it there until it is released, so that the next
// deployment does not bring the bad code back.
import type { Bot, Coding, Resource } from '@medplum/fhirtypes';
import { commandFor } from '../config/environment.ts';
import { UserError } from '../terminal/user-error.ts';
import { deployStored } from './deploy-code.ts';
import { commitSubject } from './git.ts';
import { readHistory } from './history.ts';
import { tagOf, tagsOf, withTags } from './identity.ts';
import { isOwnTitle } from './kinds/bot.ts';
import type { Server } from './server.ts';
import type { Stored } from './stored.ts';
import { patch } from './write.ts';

/** A version that can be put back: of a bot, code whose `$deploy` succeeded. */
export interface Version {
  /**
   * The sha256 of its code; the id of the version of another resource, and of code that another
   * tool deployed.
   */
  version: string;
  /** The resource as it was. */
  stored: Stored;
  /** Whether the resource has this code, or this content, now. */
  isCurrent: boolean;
  /** The git commit, with `-dirty` if files differed from it. */
  commit: string | undefined;
  /** The first line of the commit's message, if this clone has the commit. */
  subject: string | undefined;
  /** Who deployed it. */
  author: string | undefined;
  time: string;
  /** `http-helpers@1a2b3c4d5e6f`, … */
  shared: string[];
}

/** How many characters of a version are shown. */
const SHORT = 16;

export function shortVersion(version: string): string {
  return version.slice(0, SHORT);
}

/** The version that the resource is held at, and why; undefined if it is not held. */
export function holdOf(resource: Resource, system: string): Coding | undefined {
  return resource.meta?.tag?.find((tag) => tag.system === `${system}/held`);
}

/**
 * @param root - the repository's folder, for the messages of commits
 * @returns the versions that can be put back, newest first
 */
export async function listVersions(
  server: Server,
  system: string,
  bot: Stored<Bot>,
  root: string,
): Promise<Version[]> {
  const versions = new Map<string, Stored<Bot>>();
  for (const old of await readHistory<Bot>(server, `Bot/${bot.id}`)) {
    const version = versionOf(system, old);
    if (version !== undefined && !versions.has(version)) {
      versions.set(version, old);
    }
  }
  return [...versions].map(([version, old]) => {
    const commit = tagOf(old, `${system}/commit`);
    return {
      version,
      stored: old,
      isCurrent: old.executableCode?.title === bot.executableCode?.title,
      commit,
      subject: commit && commitSubject(root, commit.replace('-dirty', '')),
      author: old.meta?.author?.display ?? old.meta?.author?.reference,
      time: old.meta?.lastUpdated ?? '',
      shared: tagsOf(old, `${system}/shared`),
    };
  });
}

/** Undefined for a version without code, and for one whose `$deploy` did not succeed. */
function versionOf(system: string, bot: Stored<Bot>): string | undefined {
  if (!bot.executableCode) {
    return undefined;
  }
  const { title = '' } = bot.executableCode;
  const deployed = tagOf(bot, `${system}/deployed`);
  if (deployed && title.includes(deployed.slice(0, 16))) {
    return deployed;
  }
  return !deployed && isOwnTitle(title) ? undefined : bot.meta?.versionId;
}

/**
 * @param name - of the bot, for messages
 * @param wanted - the beginning of a version; the newest one that is not current if left out
 * @throws UserError if there is no such version, or if several begin so
 */
export function chooseVersion(
  versions: readonly Version[],
  name: string,
  environment: string,
  wanted: string | undefined,
): Version {
  const candidates = versions.filter(({ version, isCurrent }) =>
    wanted === undefined ? !isCurrent : version.startsWith(wanted),
  );
  const [version, second] = candidates;
  const list = commandFor(environment, 'rollback', name, '--list');
  if (!version) {
    const what =
      wanted === undefined ? 'no earlier version' : `no version beginning with ${wanted}`;
    throw new UserError(`${name} has ${what}. See: ${list}`);
  }
  if (wanted !== undefined && second) {
    throw new UserError(`${name} has several versions beginning with ${wanted}. See: ${list}`);
  }
  return version;
}

/**
 * Puts a version back: one PATCH, then `$deploy`. The hold is written along with the code, so that
 * an interrupted rollback is recognised as one.
 *
 * @param message - why, for the people who meet the held bot
 */
export async function putBack(
  server: Server,
  system: string,
  bot: Stored<Bot>,
  { version, stored }: Version,
  message: string | undefined,
): Promise<void> {
  const old = stored as Stored<Bot>;
  const isOf =
    (names: readonly string[]) =>
    (tag: Coding): boolean =>
      names.some((name) => tag.system === `${system}/${name}`);
  const describesCode = isOf(['shared', 'source', 'commit']);
  const isReplaced = isOf(['shared', 'source', 'commit', 'deployed', 'held']);
  const held: Coding = { system: `${system}/held`, code: version };
  if (message) {
    held.display = message;
  }
  const tags = [
    ...(bot.meta?.tag ?? []).filter((tag) => !isReplaced(tag)),
    ...(old.meta?.tag ?? []).filter(describesCode),
    held,
  ];
  const { executableCode } = old;
  const patched = await patch(server, bot, { executableCode, 'meta.tag': tags });
  await deployStored(server, system, patched as Stored<Bot>, version);
}

/** Ends the hold: the next deployment changes the resource again. */
export async function releaseHold(server: Server, system: string, resource: Stored): Promise<void> {
  await patch(server, resource, { 'meta.tag': withTags(resource, `${system}/held`, []) });
}
