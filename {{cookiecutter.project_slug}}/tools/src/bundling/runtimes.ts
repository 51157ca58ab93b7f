// Which runtimes a bot has to run on.
import type { BotConfig, RuntimeVersion } from '../config/config.ts';

/** What a bot without runtimeVersion runs on. */
export const DEFAULT_RUNTIME: RuntimeVersion = 'awslambda';

/** @returns its own runtime, and both that Medplum has in all places if it is `portable` */
export function runtimesOf(bot: Pick<BotConfig, 'runtimeVersion' | 'portable'>): RuntimeVersion[] {
  const own = bot.runtimeVersion ?? DEFAULT_RUNTIME;
  return bot.portable ? [...new Set<RuntimeVersion>([own, 'awslambda', 'vmcontext'])] : [own];
}
