// What the repository wants to be deployed: medplum.config.json and dist/, checked before any
// request.
import type { Manifest } from '../bundling/manifest.ts';
import { loadConfig } from '../config/config.ts';
import type { BotConfig } from '../config/config.ts';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../terminal/user-error.ts';
import { readManifest, SourceHashes } from './bundle-code.ts';
import { loadResources } from './desired-resources.ts';
import type { DesiredResource } from './desired-resources.ts';
import { desiredBot } from './desired-bot.ts';
import type { DesiredBot } from './desired-bot.ts';

export interface Desired {
  environment: string;
  /** identifierSystem of medplum.config.json; the systems of the tags begin with it. */
  system: string;
  bots: DesiredBot[];
  /** Of the files in resources/. */
  resources: DesiredResource[];
  /** Whether there are, or were, such files: the server has to be asked for them. */
  hasResources: boolean;
  /** Bots whose bundle cannot be deployed, if they are to be skipped. */
  failed: { name: string; message: string }[];
  /** Every name that the configuration holds, also if only some bots are to be deployed. */
  names: string[];
  /** The pattern of `--only`. */
  only: string | undefined;
}

interface DesiredOptions {
  only?: string | undefined;
  without?: readonly string[] | undefined;
  skipFailed?: boolean;
  sourceRoot?: string | undefined;
}

/**
 * @param root - the repository's folder
 * @param environment - its name
 * @param options - `only`: a pattern for names, `*` for any characters; `skipFailed`: return bots
 *   without a usable bundle in `failed`; `without`: names of bots that are left as they are on the
 *   server; `sourceRoot`: the folder that the sources' paths in dist/manifest.json are relative to,
 *   if it is not `root`
 * @throws UserError with one line for each bundle that is missing, out of date or broken
 */
export function loadDesired(
  root: string,
  environment: string,
  { only, without = [], skipFailed = false, sourceRoot = root }: DesiredOptions = {},
): Desired {
  const config = loadConfig(root, environment);
  const pattern = only ?? '*';
  const matching = config.bots.filter(({ name }) => matches(name, pattern));
  const chosen = matching.filter(({ name }) => !without.includes(name));
  const files = loadResources(root, config.resources);
  const resources = files.filter(({ file }) => matches(file, pattern));
  if (only !== undefined && matching.length + resources.length === 0) {
    const known = config.bots.map(({ name }) => name).join(', ');
    throw new UserError(
      `--only ${only} matches no bot of medplum.config.json. There are: ${known}.`,
    );
  }
  const manifest = readManifest(root);
  const sources = new SourceHashes(sourceRoot);
  const loaded = chosen.map((bot) => tryToLoad(root, environment, bot, manifest, sources));
  const failed = loaded.flatMap(({ failure }) => failure ?? []);
  if (failed.length > 0 && !skipFailed) {
    // Bots that share a module can have the same message.
    const messages = new Set(failed.map(({ message }) => message));
    throw new UserError([...messages].join('\n'));
  }
  return {
    environment,
    system: config.identifierSystem,
    bots: loaded.flatMap(({ bot }) => bot ?? []),
    resources,
    hasResources: resources.length > 0 || existsSync(join(root, config.resources)),
    failed,
    names: config.bots.map(({ name }) => name),
    only,
  };
}

function tryToLoad(
  root: string,
  environment: string,
  bot: BotConfig,
  manifest: Manifest,
  sources: SourceHashes,
): { bot?: DesiredBot; failure?: { name: string; message: string } } {
  try {
    return { bot: desiredBot(root, environment, bot, manifest, sources) };
  } catch (error) {
    if (!(error instanceof UserError)) {
      throw error;
    }
    return { failure: { name: bot.name, message: error.message } };
  }
}

/** Whether a name fits a pattern in which `*` stands for any characters. */
function matches(name: string, pattern: string): boolean {
  const source = pattern.replaceAll(/[^\w*/-]/g, '.').replaceAll('*', '.*');
  return new RegExp(`^${source}$`).test(name);
}
