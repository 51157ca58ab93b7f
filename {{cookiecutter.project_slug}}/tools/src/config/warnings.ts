// Warnings about settings in medplum.config.json that are allowed, but risky.
import type { Finding } from '../bundling/finding.ts';
import type { BotConfig } from './config.ts';

/**
 * @param bots - of medplum.config.json
 * @returns the bots that may do anything in the project
 */
export function botsWithoutPolicy(bots: readonly BotConfig[]): BotConfig[] {
  return bots.filter((bot) => bot.accessPolicy === undefined && bot.runAsUser !== true);
}

/** What is said of each of them, by build, plan and doctor alike. */
export function noPolicyMessage({ name }: BotConfig): string {
  return `${name} has no access policy: it may read, change and delete everything in the project, other bots included. Add "accessPolicy" to it in medplum.config.json`;
}

/** @returns warnings about the configuration */
export function configWarnings(bots: readonly BotConfig[]): Finding[] {
  return botsWithoutPolicy(bots).map((bot) => ({
    severity: 'warning',
    kind: 'no-access-policy',
    message: noPolicyMessage(bot),
    bots: [bot.name],
  }));
}
