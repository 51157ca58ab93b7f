// What the repository wants to be deployed: medplum.config.json and dist/, checked before any request.
import { loadConfig } from '../config/config.ts';
import { UserError } from '../terminal/user-error.ts';
import { readManifest } from './bundle-code.ts';
import { desiredBot } from './desired-bot.ts';
import type { DesiredBot } from './desired-bot.ts';

export interface Desired {
  environment: string;
  /** identifierSystem of medplum.config.json; the systems of the tags begin with it. */
  system: string;
  bots: DesiredBot[];
  /** Every name that the configuration holds, also if only some bots are to be deployed. */
  names: string[];
  /** The pattern of `--only`. */
  only: string | undefined;
}

/**
 * @param root - the repository's folder
 * @param environment - its name
 * @param only - a pattern for names, `*` for any characters
 * @throws UserError with one line for each bundle that is missing, out of date or broken
 */
export function loadDesired(root: string, environment: string, only?: string): Desired {
  const config = loadConfig(root, environment);
  const chosen = config.bots.filter(({ name }) => matches(name, only ?? '*'));
  if (only !== undefined && chosen.length === 0) {
    const known = config.bots.map(({ name }) => name).join(', ');
    throw new UserError(
      `--only ${only} matches no bot of medplum.config.json. There are: ${known}.`,
    );
  }
  const manifest = readManifest(root);
  const errors: string[] = [];
  const bots = chosen.flatMap((bot): DesiredBot[] => {
    try {
      return [desiredBot(root, environment, bot, manifest)];
    } catch (error) {
      if (!(error instanceof UserError)) {
        throw error;
      }
      errors.push(error.message);
      return [];
    }
  });
  if (errors.length > 0) {
    throw new UserError(errors.join('\n'));
  }
  const names = config.bots.map(({ name }) => name);
  return { environment, system: config.identifierSystem, bots, names, only };
}

/** Whether a name fits a pattern in which `*` stands for any characters. */
function matches(name: string, pattern: string): boolean {
  const source = pattern.replaceAll(/[^\w*-]/g, '.').replaceAll('*', '.*');
  return new RegExp(`^${source}$`).test(name);
}
