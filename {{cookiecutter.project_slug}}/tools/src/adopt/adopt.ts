// Brings the bots of an existing repository into this one: what is written, and what is left to do
// for each bot.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import type { RawConfig } from '../config/schema.ts';
import { appendBots } from '../config/append-bots.ts';
import { CONFIG_FILE, parseConfig } from '../config/config.ts';
import { UserError } from '../terminal/user-error.ts';
import { planLayout } from './layout.ts';
import type { Layout } from './layout.ts';
import { neededPackages } from './packages.ts';
import type { NeededPackages } from './packages.ts';
import { rewrite } from './rewrite.ts';
import type { SourceBot, SourceRepository } from './source-repository.ts';

export interface AdoptOptions {
  /** A folder below src/bots, src/shared and tests, or ''. */
  into: string;
  /** Put before each name. */
  prefix: string;
  /** Names of the bots to adopt; all of them if empty. */
  only: readonly string[];
}

export interface AdoptedBot {
  name: string;
  source: string;
  /** Its entry in medplum.config.json and its files are there. */
  isAdopted: boolean;
  /** It was here before. */
  wasAdopted: boolean;
  /** What was done that its authors may not expect. */
  done: string[];
  /** What a person has to do. */
  left: string[];
}

export interface AdoptedFile {
  /** In this repository. */
  path: string;
  text: string;
  /** `kept`: another text is there already, and stays. */
  state: 'new' | 'same' | 'kept';
}

export interface Adoption {
  bots: AdoptedBot[];
  files: AdoptedFile[];
  packages: NeededPackages;
  /** The new text of medplum.config.json. */
  config: string;
}

/**
 * Finds out what an adoption would do. Writes nothing.
 *
 * @param repository - that is adopted
 * @param root - the folder of this repository
 * @param options - where to, and which bots
 * @throws UserError if it has no bots, or none of the given names
 */
export function planAdoption(
  repository: SourceRepository,
  root: string,
  options: AdoptOptions,
): Adoption {
  const all = repository.bots();
  const chosen = choose(all, options.only);
  const present = all.filter(({ source }) => repository.has(source));
  const sources = [...new Set(present.map(({ source }) => source))];
  const layout = planLayout(repository, sources, options.into);
  const ownText = readFileSync(join(root, CONFIG_FILE), 'utf8');
  const config = JSON.parse(ownText) as RawConfig;
  const ownBots = config.bots.length;
  const known = new Map(config.bots.map(({ name, source }) => [name.toLowerCase(), source]));
  const bots = chosen.map((bot) => {
    const report = nameBot(bot, { repository, layout, options, known });
    known.set(report.name.toLowerCase(), known.get(report.name.toLowerCase()) ?? report.source);
    return { bot, report };
  });
  const adopted = bots.filter(({ report }) => report.isAdopted);
  const wanted = new Set(adopted.map(({ bot }) => bot.source));
  const needed = neededFiles(repository, layout, wanted);
  const files = needed.map((file) => adoptedFile(repository, file, layout, root));
  for (const { bot, report } of adopted) {
    report.left.push(...problemsOfCode(bot.source, repository, layout));
    if (!report.wasAdopted) {
      report.left.push(...keptFiles(bot.source, layout, files));
      config.bots.push(entryFor(bot, report, config.bots[0]?.runtimeVersion));
    }
  }
  const text = appendBots(ownText, config.bots.slice(ownBots));
  parseConfig(text);
  return {
    bots: bots.map(({ report }) => report),
    files,
    packages: neededPackages(repository, needed, root),
    config: text,
  };
}

function entryFor(
  bot: SourceBot,
  { name, source }: AdoptedBot,
  runtimeVersion: RawConfig['bots'][number]['runtimeVersion'],
): RawConfig['bots'][number] {
  return {
    name,
    ...(bot.id !== undefined && { id: bot.id }),
    source,
    dist: `dist/bots/${name}.js`,
    ...(runtimeVersion !== undefined && { runtimeVersion }),
  };
}

function choose(bots: readonly SourceBot[], only: readonly string[]): SourceBot[] {
  if (bots.length === 0) {
    throw new UserError(
      'There are no bots: no medplum.config.json, and no file that exports a handler.',
    );
  }
  const unknown = only.filter((name) => !bots.some((bot) => bot.name === name));
  if (unknown.length > 0) {
    const names = bots.map(({ name }) => name).join(', ');
    throw new UserError(`There is no bot "${unknown[0]}" in that repository. There are: ${names}.`);
  }
  return only.length === 0 ? [...bots] : bots.filter(({ name }) => only.includes(name));
}

/** The files of the chosen bots, the tests of those files, and mocks of packages. */
function neededFiles(
  repository: SourceRepository,
  layout: Layout,
  sources: ReadonlySet<string>,
): string[] {
  const code = new Set(
    [...layout.closures]
      .filter(([source]) => sources.has(source))
      .flatMap(([, files]) => [...files]),
  );
  const tests = [...layout.tests].filter((test) => {
    const targets = repository.imports(test).flatMap(({ target }) => target ?? []);
    return targets.every((target) => code.has(target) || layout.tests.has(target));
  });
  const mocks = repository.files.filter((file) => file.startsWith('__mocks__/'));
  for (const mock of mocks) {
    layout.moved.set(mock, mock);
  }
  return [...code, ...tests, ...mocks];
}

function adoptedFile(
  repository: SourceRepository,
  file: string,
  layout: Layout,
  root: string,
): AdoptedFile {
  const path = layout.moved.get(file)!;
  const text = rewrite(repository, file, layout);
  if (!existsSync(join(root, path))) {
    return { path, text, state: 'new' };
  }
  const isSame = readFileSync(join(root, path), 'utf8') === text;
  return { path, text, state: isSame ? 'same' : 'kept' };
}

interface Context {
  repository: SourceRepository;
  layout: Layout;
  options: AdoptOptions;
  /** Sources of the bots that the configuration has, by name in lower case. */
  known: ReadonlyMap<string, string>;
}

/** The name of a bot here, and whether it can be adopted under it. */
function nameBot(bot: SourceBot, { repository, layout, options, known }: Context): AdoptedBot {
  const name = options.prefix + validName(bot.name);
  const source = layout.moved.get(bot.source) ?? bot.source;
  const report: AdoptedBot = {
    name,
    source,
    isAdopted: true,
    wasAdopted: false,
    done: [],
    left: [],
  };
  if (!repository.has(bot.source)) {
    report.isAdopted = false;
    report.left.push(
      `${bot.source} is not in that repository: remove the bot there, or find its file`,
    );
    return report;
  }
  const taken = known.get(name.toLowerCase());
  if (taken !== undefined && taken !== source) {
    report.isAdopted = false;
    report.left.push(
      `${taken} has this name already: adopt it with --name-prefix, such as --name-prefix lab-`,
    );
    return report;
  }
  if (taken !== undefined) {
    report.wasAdopted = true;
    report.done.push('was here already: what exists was left as it is');
    return report;
  }
  if (validName(bot.name) !== bot.name) {
    report.done.push(`called ${name}: "${bot.name}" cannot be a name here`);
  }
  if (!bot.isConfigured) {
    report.done.push('added to medplum.config.json; it was not in the one of that repository');
  }
  return report;
}

/** Files of a new bot whose place was taken. */
function keptFiles(source: string, layout: Layout, files: readonly AdoptedFile[]): string[] {
  const closure = [...(layout.closures.get(source) ?? [])];
  const paths = new Set(closure.map((file) => layout.moved.get(file)));
  return files
    .filter(({ path, state }) => state === 'kept' && paths.has(path))
    .map(
      ({ path }) => `${path} was there with another text, and was left as it is: compare the two`,
    );
}

/** What no tool can decide. */
function problemsOfCode(source: string, repository: SourceRepository, layout: Layout): string[] {
  const problems: string[] = [];
  if (/export (?:async )?function handler\(\s*_?event\b/.test(repository.read(source))) {
    problems.push('its handler takes (event, medplum): Medplum calls handler(medplum, event)');
  }
  for (const file of layout.closures.get(source) ?? []) {
    if (/\breadFile(Sync)?\(/.test(repository.read(file))) {
      problems.push(
        `${layout.moved.get(file)} reads a file when it runs: import it, as a bundle has no folder`,
      );
    }
  }
  return problems;
}

/** Letters, digits, single dashes and underscores. */
function validName(name: string): string {
  return name
    .replaceAll(/[^A-Za-z0-9_-]+/g, '-')
    .replaceAll(/([-_])[-_]+/g, '$1')
    .replaceAll(/^[-_]+|[-_]+$/g, '');
}

/**
 * Writes what planAdoption found. Nothing that exists is overwritten; medplum.config.json is added
 * to.
 *
 * @param adoption - of planAdoption
 * @param root - the folder of this repository
 */
export async function writeAdoption(adoption: Adoption, root: string): Promise<void> {
  for (const { path, text, state } of adoption.files) {
    if (state === 'new') {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
  }
  await writeFormatted(join(root, CONFIG_FILE), adoption.config);
}

async function writeFormatted(file: string, text: string): Promise<void> {
  writeFileSync(file, await format(text, { ...(await resolveConfig(file)), filepath: file }));
}
