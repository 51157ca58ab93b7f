// `npm run rollback -- <bot>`: puts an earlier version's code back, and holds it there until it is released, so that the
// next deployment does not bring the bad code back.
import type { Bot, Bundle } from '@medplum/fhirtypes';
import { UserError, main, readArgs, table } from '../cli.ts';
import { loadConfig } from '../config.ts';
import { readEnvironment } from '../env.ts';
import { tagOf, tagsOf, withTags } from './actual.ts';
import type { Stored } from './actual.ts';
import { deployStored, patch } from './apply.ts';
import { confirm } from './deploy.ts';
import { connect } from './server.ts';

const USAGE = 'npm run rollback -- <bot> [--to <version>] [--list] [--release] [--env <name>] [--yes]';

await main(async () => {
  const { values, positionals } = readArgs({
    allowPositionals: true,
    options: {
      env: { type: 'string' },
      to: { type: 'string' },
      list: { type: 'boolean' },
      release: { type: 'boolean' },
      yes: { type: 'boolean' },
    },
  });
  const [name, ...more] = positionals;
  if (!name || more.length > 0) throw new UserError(`Name one bot: ${USAGE}`);
  const { identifierSystem: system } = loadConfig();
  const environment = readEnvironment(values.env);
  const server = await connect(environment);
  const query = `identifier=${encodeURIComponent(system)}|${environment.name}/${name}`;
  const bots = ((await server.send<Bundle<Bot>>('GET', `Bot?${query}`)).entry ?? []).map(
    (entry) => entry.resource as Stored<Bot>,
  );
  const [bot] = bots;
  if (!bot || bots.length > 1)
    throw new UserError(`${environment.name} has ${bots.length || 'no'} ${name} of this repository.`);
  const held = tagOf(bot, `${system}/held`);

  if (values.release) {
    if (!held) throw new UserError(`${name} is not held.`);
    await confirm(values, server, `let ${name} go`);
    await patch(server, bot, { 'meta.tag': withTags(bot, `${system}/held`, []) });
    return console.log(`${name} is no longer held: npm run setup:bots deploys what dist/ holds.`);
  }

  const history = await server.send<Bundle<Bot>>('GET', `Bot/${bot.id}/_history?_count=1000`);
  const versions = finishedVersions(
    system,
    (history.entry ?? []).map((entry) => entry.resource as Stored<Bot>),
  );
  const carries = (one: Bot) => tagsOf(one, `${system}/shared`).join(' ');
  if (values.list) {
    const rows = [...versions].map(([version, one]) => {
      const now = one.executableCode?.title === bot.executableCode?.title ? (held ? 'now, held' : 'now') : '';
      return [
        short(version),
        one.meta?.lastUpdated ?? '',
        tagOf(one, `${system}/commit`)?.slice(0, 12) ?? '',
        carries(one),
        now,
      ];
    });
    return console.log(table(['version', 'last', 'commit', 'shared modules', ''], rows));
  }

  const isTarget = ([version, one]: [string, Bot]): boolean =>
    values.to
      ? version.startsWith(values.to)
      : held
        ? version === held
        : one.executableCode?.title !== bot.executableCode?.title;
  const [target, ambiguous] = [...versions].filter(isTarget);
  if (!target || (values.to && ambiguous)) {
    const what = values.to
      ? `${ambiguous ? 'several versions begin' : 'no version begins'} with ${values.to}`
      : 'no earlier version';
    throw new UserError(`${name} has ${what}. See: npm run rollback -- ${name} --list`);
  }
  const [version, old] = target;
  await confirm(values, server, `put ${name} back to ${short(version)}`);
  // As of that version; what it is held at is written along with it, so that an interrupted rollback is known as one.
  const code = ['shared', 'source', 'commit'].map((kind) => `${system}/${kind}`);
  const tags = [
    ...(bot.meta?.tag ?? []).filter(
      (tag) => ![...code, `${system}/deployed`, `${system}/held`].includes(tag.system ?? ''),
    ),
    ...(old.meta?.tag ?? []).filter((tag) => code.includes(tag.system ?? '')),
    { system: `${system}/held`, code: version },
  ];
  const executableCode = { ...old.executableCode, url: binaryOf(old.executableCode?.url ?? '') };
  await deployStored(
    server,
    system,
    (await patch(server, bot, { executableCode, 'meta.tag': tags })) as Stored<Bot>,
    version,
  );
  const shared = carries(old) && `, with ${carries(old)}`;
  console.log(
    `${name} runs ${short(version)} again${shared}. It is held there until: npm run rollback -- ${name} --release`,
  );
});

/** The versions whose `$deploy` worked, newest first, by the hash of their code (or by their id, if deployed by another tool). */
function finishedVersions(system: string, history: Stored<Bot>[]): Map<string, Stored<Bot>> {
  const versions = new Map<string, Stored<Bot>>();
  for (const one of history) {
    if (!one?.executableCode) continue;
    const mark = tagOf(one, `${system}/deployed`);
    const ours = /\.[0-9a-f]{16}\.cjs$/.test(one.executableCode.title ?? '');
    const version = mark ?? (ours ? undefined : one.meta?.versionId);
    if (version && !versions.has(version)) versions.set(version, one);
  }
  return versions;
}

/** Medplum answers with a presigned address, `…/<id of the Binary>/<its version>?…`, and stores a reference. */
function binaryOf(url: string): string {
  const id = /^Binary\/([^/?]+)/.exec(url)?.[1] ?? /\/([0-9a-f-]{36})\/[0-9a-f-]{36}(?:\?|$)/.exec(url)?.[1];
  if (!id) throw new UserError('The code of that version has an address of an unknown form, so it cannot be put back.');
  return `Binary/${id}`;
}

function short(version: string): string {
  return version.slice(0, 16);
}
