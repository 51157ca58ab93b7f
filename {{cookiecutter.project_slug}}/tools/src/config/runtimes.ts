// Which runtime a bot runs on, and for how long, where medplum.config.json does not say it.
import type { BotConfig, RuntimeVersion } from './config.ts';

/** What a bot without runtimeVersion runs on. */
export const DEFAULT_RUNTIME: RuntimeVersion = 'awslambda';

/** Seconds that a bot without timeout has. */
export const DEFAULT_TIMEOUT_SECONDS = 10;

/** @returns its own runtime, and both that Medplum has in all places if it is `portable` */
export function runtimesOf(bot: Pick<BotConfig, 'runtimeVersion' | 'portable'>): RuntimeVersion[] {
  const own = bot.runtimeVersion ?? DEFAULT_RUNTIME;
  return bot.portable ? [...new Set<RuntimeVersion>([own, 'awslambda', 'vmcontext'])] : [own];
}
