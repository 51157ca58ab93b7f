// `npm run rollback -- <bot>`: puts an earlier version of a bot back, and holds it there until it
// is released.
import { Command } from 'commander';
import { relative } from 'node:path';
import { loadConfig } from '../config/config.ts';
import { commandFor, readEnvironment } from '../config/environment.ts';
import { confirm } from '../deploy/confirm.ts';
import { loadResources } from '../deploy/desired-resources.ts';
import type { DesiredResource } from '../deploy/desired-resources.ts';
import { findOwnBot } from '../deploy/find-own-bot.ts';
import { tagOf } from '../deploy/identity.ts';
import {
  findOwnResource,
  listResourceVersions,
  putResourceBack,
} from '../deploy/rollback-resource.ts';
import {
  chooseVersion,
  holdOf,
  listVersions,
  putBack,
  releaseHold,
  shortVersion,
} from '../deploy/rollback.ts';
import type { Version } from '../deploy/rollback.ts';
import { connect } from '../deploy/server.ts';
import type { Server } from '../deploy/server.ts';
import type { Stored } from '../deploy/stored.ts';
import { oneLine, printable, table } from '../terminal/output.ts';

interface RollbackOptions {
  env?: string;
  to?: string;
  list?: boolean;
  release?: boolean;
  message?: string;
  yes?: boolean;
}

export const command = new Command('rollback')
  .description('Put an earlier version of a bot back, and hold it there until it is released')
  .argument('<bot>', 'the name of the bot, or the path of a file in resources/')
  .option('--to <version>', 'the version, or the beginning of it (default: the one before)')
  .option('--list', 'show the versions; change nothing')
  .option('--message <text>', 'why; plans show it as long as the bot is held')
  .option('--release', 'end the hold, so that deployments change the bot again')
  .option('--env <name>', 'the environment whose .env.<name> is read (default: local)')
  .option('--yes', 'do not ask before writing')
  .addHelpText('after', '\nExample: npm run rollback -- hapi-sync-bot --env production')
  .action(rollback);

/** A bot, or the resource of a file: how its versions are listed and put back. */
interface Target {
  name: string;
  stored: Stored;
  listVersions(): Promise<Version[]>;
  putBack(version: Version, message: string | undefined): Promise<void>;
  /** Whether the version that it is held at is in place. */
  isFinished(held: string): boolean;
}

async function rollback(name: string, options: RollbackOptions): Promise<void> {
  const { identifierSystem: system, resources } = loadConfig();
  const server = await connect(readEnvironment(options.env));
  const path = relative(process.cwd(), name).replaceAll('\\', '/');
  const file = loadResources(process.cwd(), resources).find((resource) => resource.file === path);
  const target = file
    ? await resourceTarget(server, system, file)
    : await botTarget(server, system, name);
  if (options.release) {
    await release(server, system, target, options);
  } else if (options.list) {
    const isHeld = holdOf(target.stored, system) !== undefined;
    console.log(versionTable(await target.listVersions(), isHeld));
  } else {
    await rollBackTo(server, system, target, options);
  }
}

async function botTarget(server: Server, system: string, name: string): Promise<Target> {
  const bot = await findOwnBot(server, system, name);
  return {
    name,
    stored: bot,
    listVersions: () => listVersions(server, system, bot, process.cwd()),
    putBack: (version, message) => putBack(server, system, bot, version, message),
    isFinished: (held) => tagOf(bot, `${system}/deployed`) === held,
  };
}

async function resourceTarget(
  server: Server,
  system: string,
  file: DesiredResource,
): Promise<Target> {
  const stored = await findOwnResource(server, system, file);
  return {
    name: file.file,
    stored,
    listVersions: () => listResourceVersions(server, system, stored, process.cwd()),
    putBack: (version, message) => putResourceBack(server, system, stored, version, message),
    isFinished: () => true,
  };
}

async function release(
  server: Server,
  system: string,
  { name, stored }: Target,
  options: RollbackOptions,
): Promise<void> {
  if (!holdOf(stored, system)) {
    console.log(`${name} is not held: nothing to do.`);
    return;
  }
  await confirm(options, server, `end the hold of ${name}`);
  await releaseHold(server, system, stored);
  const setup = commandFor(server.environment.name, 'setup:bots');
  console.log(`${name} is no longer held. ${setup} deploys what dist/ holds.`);
}

async function rollBackTo(
  server: Server,
  system: string,
  target: Target,
  options: RollbackOptions,
): Promise<void> {
  const { name } = target;
  const environment = server.environment.name;
  const held = holdOf(target.stored, system)?.code;
  if (held && target.isFinished(held) && options.to === undefined) {
    const version = shortVersion(held);
    console.log(`${name} is held at ${version} already. For another version add: --to <version>`);
    return;
  }
  // A rollback that did not finish is finished first.
  const versions = await target.listVersions();
  const chosen = chooseVersion(versions, name, environment, options.to ?? held);
  const version = shortVersion(chosen.version);
  await confirm(options, server, `put ${name} back to ${version}`);
  const message = options.message === undefined ? undefined : oneLine(options.message);
  await target.putBack(chosen, message);
  const current = versions.find(({ isCurrent }) => isCurrent);
  const changed = otherModules(chosen, current);
  const modules = changed.length > 0 ? `, with ${changed.join(' ')}` : '';
  const end = commandFor(environment, 'rollback', name, '--release');
  const what = target.stored.resourceType === 'Bot' ? 'runs' : 'is';
  console.log(`${name} ${what} ${version} again${modules}. It is held there until: ${end}`);
}

function versionTable(versions: readonly Version[], isHeld: boolean): string {
  const rows = versions.map((version, index) => {
    const older = versions[index + 1];
    return [
      shortVersion(version.version),
      version.time,
      printable(version.author ?? ''),
      version.commit?.replace(/^(.{12})[0-9a-f]*/, '$1') ?? '',
      printable(version.subject ?? ''),
      older ? otherModules(version, older).join(' ') : '',
      version.isCurrent ? `now${isHeld ? ', held' : ''}` : '',
    ];
  });
  const headers = ['version', 'deployed', 'by', 'commit', 'message', 'changed shared modules', ''];
  return table(headers, rows);
}

/** @returns the shared modules that the other version lacks, as `http-helpers@1a2b3c4d5e6f` */
function otherModules(version: Version, other: Version | undefined): string[] {
  return version.shared.filter((module) => !other?.shared.includes(module));
}
