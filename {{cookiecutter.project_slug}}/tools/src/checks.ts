// Runs the checks that overlays add to the build: each file of checks/ is one.
import { existsSync, readdirSync } from 'node:fs';
import type { Finding } from './bundling/finding.ts';
import type { BotConfig } from './config/config.ts';

const FOLDER = new URL('./checks/', import.meta.url);

interface CheckModule {
  /** Returns what is wrong, and what helps. */
  check(bots: BotConfig[]): Finding[];
}

/**
 * Runs all checks.
 *
 * @param bots - The bots of medplum.config.json.
 * @returns What they found.
 */
export async function runChecks(bots: BotConfig[]): Promise<Finding[]> {
  const files = existsSync(FOLDER)
    ? readdirSync(FOLDER).filter((file) => file.endsWith('.ts'))
    : [];
  const modules = files.toSorted().map(async (file) => {
    return (await import(new URL(file, FOLDER).href)) as CheckModule;
  });
  return (await Promise.all(modules)).flatMap(({ check }) => check(bots));
}
