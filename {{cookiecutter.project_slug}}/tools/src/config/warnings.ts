// Warnings about settings in medplum.config.json that are allowed, but risky.
import { listNames } from '../terminal/list-names.ts';
import type { BotConfig } from './config.ts';

/**
 * @param bots - of medplum.config.json
 * @returns the bots that may do anything in the project
 */
export function botsWithoutPolicy(bots: readonly BotConfig[]): BotConfig[] {
  return bots.filter((bot) => bot.accessPolicy === undefined && bot.runAsUser !== true);
}

/** How many bots a message names. */
const MAX_NAMED = 5;

/**
 * What is said of such bots, by build, plan and doctor alike.
 *
 * @param names - of the bots
 */
export function noPolicyMessage(names: readonly string[]): string {
  return (
    `Without an access policy, ${listNames(names, MAX_NAMED)} ` +
    'may read, change and delete everything in the project, other bots included. ' +
    'Add "accessPolicy" in medplum.config.json'
  );
}
