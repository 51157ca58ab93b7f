// The settings of a bot in medplum.config.json that the explanation of a failure needs.
import { loadConfig } from '../config/config.ts';
import type { BotConfig } from '../config/config.ts';
import { DEFAULT_RUNTIME, DEFAULT_TIMEOUT_SECONDS } from '../config/runtimes.ts';
import type { BotSettings } from './explain-failure.ts';

export function settingsOf(bot: BotConfig): BotSettings {
  return {
    name: bot.name,
    runtime: bot.runtimeVersion ?? DEFAULT_RUNTIME,
    timeout: bot.timeout ?? DEFAULT_TIMEOUT_SECONDS,
    accessPolicy: bot.accessPolicy,
  };
}

/**
 * The settings that a bot has now; defaults where medplum.config.json cannot be read, or has no
 * such bot.
 */
export function findSettings(name = '', environment = 'local'): BotSettings {
  try {
    const bot = loadConfig(undefined, environment).bots.find((entry) => entry.name === name);
    if (bot) {
      return { ...settingsOf(bot), environment };
    }
  } catch {
    // The command that reads the configuration says what is wrong with it.
  }
  return { name, runtime: DEFAULT_RUNTIME, timeout: DEFAULT_TIMEOUT_SECONDS };
}
