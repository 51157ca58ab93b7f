// `npm run rollback -- <bot>`: puts an earlier version's code back, and holds it there until it is released, so that the
// next deployment does not bring the bad code back.
import { Command } from 'commander';
import type { Bot, Bundle } from '@medplum/fhirtypes';
import { table } from '../terminal/output.ts';
import { suggest } from '../terminal/suggest.ts';
import { UserError } from '../terminal/user-error.ts';
import { loadConfig } from '../config/config.ts';
import { commandFor, readEnvironment } from '../config/environment.ts';
import { readActual } from '../deploy/actual.ts';
import { confirm } from '../deploy/confirm.ts';
import { deployStored } from '../deploy/deploy-code.ts';
import { ownBots, tagOf, tagsOf, withTags } from '../deploy/identity.ts';
import type { Stored } from '../deploy/stored.ts';
import { patch } from '../deploy/write.ts';
import { connect } from '../deploy/server.ts';

interface RollbackOptions {
  env?: string;
  to?: string;
  list?: boolean;
  release?: boolean;
  yes?: boolean;
}

export const command = new Command('rollback')
  .description('Put an earlier version of a bot back, and hold it there until it is released')
  .argument('<bot>', 'the name of the bot')
  .option('--to <version>', 'the version, or the beginning of it (default: the one before)')
  .option('--list', 'show the versions; change nothing')
  .option('--release', 'end the hold, so that deployments change the bot again')
  .option('--env <name>', 'the environment whose .env.<name> is read (default: local)')
  .option('--yes', 'do not ask before writing')
  .addHelpText('after', '\nExample: npm run rollback -- hapi-sync-bot --env production')
  .action(rollback);

async function rollback(name: string, values: RollbackOptions): Promise<void> {
  const { identifierSystem: system } = loadConfig();
  const environment = readEnvironment(values.env);
  const server = await connect(environment);
  const all = ownBots((await readActual(server)).bots, system, environment.name);
  const [bot, twin] = all.filter((one) => one.name === name).map((one) => one.bot);
  const names = twin ? [] : all.map((one) => one.name);
  const where = `${twin ? 'twice on' : 'not deployed to'} ${environment.name}`;
  if (!bot || twin) throw new UserError(`${name} is ${where}.${suggest(name, names)}`);
  const held = tagOf(bot, `${system}/held`);
  if (values.release) {
    if (!held) return console.log(`${name} is not held: nothing to do.`);
    await confirm(values, server, `let ${name} go`);
    await patch(server, bot, { 'meta.tag': withTags(bot, `${system}/held`, []) });
    return console.log(
      `${name} is no longer held. ${commandFor(environment.name, 'setup:bots')} deploys what dist/ holds.`,
    );
  }

  const history = await server.send<Bundle<Bot>>('GET', `Bot/${bot.id}/_history?_count=1000`);
  const versions = finishedVersions(system, history);
  const isNow = (one: Bot): boolean => one.executableCode?.title === bot.executableCode?.title;
  const carries = (one: Bot): string => tagsOf(one, `${system}/shared`).join(' ');
  if (values.list) {
    const rows = versions.map(({ version, old }) => {
      const commit = tagOf(old, `${system}/commit`)?.replace(/^(.{12})[0-9a-f]*/, '$1') ?? '';
      const now = isNow(old) ? `now${held ? ', held' : ''}` : '';
      return [short(version), old.meta?.lastUpdated ?? '', commit, carries(old), now];
    });
    return console.log(table(['version', 'last', 'commit', 'shared modules', ''], rows));
  }
  // A rollback that did not finish is finished; else --to, or the newest that is not the present one.
  if (held && !values.to && tagOf(bot, `${system}/deployed`) === held)
    return console.log(
      `${name} is held at ${short(held)} already. For another version add: --to <version>`,
    );
  const wanted = values.to ?? held;
  const [target, second] = versions.filter(({ version, old }) =>
    wanted ? version.startsWith(wanted) : !isNow(old),
  );
  if (!target || (wanted && second)) {
    const found = `${second ? 'several versions' : 'no version'} beginning with ${wanted}`;
    const list = commandFor(environment.name, 'rollback', name, '--list');
    throw new UserError(`${name} has ${wanted ? found : 'no earlier version'}. See: ${list}`);
  }
  const { version, old } = target;
  await confirm(values, server, `put ${name} back to ${short(version)}`);
  // The hold is written along with the code, so that a rollback that is interrupted is known as one.
  const isOfCode = ({ system: kind }: { system?: string }): boolean =>
    ['shared', 'source', 'commit', 'deployed', 'held'].some((one) => kind === `${system}/${one}`);
  const tags = (bot.meta?.tag ?? []).filter((tag) => !isOfCode(tag));
  tags.push(
    ...(old.meta?.tag ?? []).filter(
      (tag) => isOfCode(tag) && !/\/(deployed|held)$/.test(tag.system ?? ''),
    ),
  );
  tags.push({ system: `${system}/held`, code: version });
  const put = await patch(server, bot, { executableCode: old.executableCode, 'meta.tag': tags });
  await deployStored(server, system, put as Stored<Bot>, version);
  const shared = carries(old) && `, with ${carries(old)}`;
  const release = commandFor(environment.name, 'rollback', name, '--release');
  console.log(`${name} runs ${short(version)} again${shared}. It is held there until: ${release}`);
}

/** Those whose `$deploy` worked, newest first: by the hash of their code, or by id where something else deployed them. */
function finishedVersions(
  system: string,
  { entry = [] }: Bundle<Bot>,
): { version: string; old: Bot }[] {
  const versions = new Map<string, Bot>();
  for (const { resource: old } of entry) {
    if (!old?.executableCode) continue;
    const { title = '' } = old.executableCode;
    const deployed = tagOf(old, `${system}/deployed`);
    const isUnfinished = !deployed && /\.[0-9a-f]{16}\.cjs$/.test(title);
    const isOurs = deployed && title.includes(deployed.slice(0, 16));
    const version = isOurs ? deployed : isUnfinished ? undefined : old.meta?.versionId;
    if (version && !versions.has(version)) versions.set(version, old);
  }
  return [...versions].map(([version, old]) => ({ version, old }));
}

function short(version: string): string {
  return version.slice(0, 16);
}
