// `require` inside a bot: a server has Node's own modules and some packages, and nothing else.
import { createRequire, isBuiltin } from 'node:module';
import { join } from 'node:path';
import { BOT_LAYER, isExternal } from '../config/bot-layer.ts';
import type { ExternalPackage, RuntimeVersion } from '../config/config.ts';

/**
 * @param runtime - that the bot runs on
 * @param given - modules to use instead of the installed ones, by name
 * @returns a `require` that finds Node's own modules, the bot layer's and those that
 *   medplum.config.json calls external, as far as they are installed here
 */
export function requireFromBotLayer(
  runtime: 'vmcontext' | 'awslambda',
  given: Record<string, unknown> = {},
): (name: string) => unknown {
  const require = createRequire(join(process.cwd(), 'package.json'));
  return (name) => {
    if (name in given) {
      return given[name];
    }
    if (isBuiltin(name) || runtimeHas(name, runtime)) {
      return require(name);
    }
    throw Object.assign(new Error(`Cannot find module '${name}'`), { code: 'MODULE_NOT_FOUND' });
  };
}

/**
 * @param specifier - what a bot requires, such as `pdfmake/interfaces.js`
 * @param runtime - that the bot runs on
 * @returns whether a server has it: the bot layer, and what medplum.config.json calls external
 */
export function runtimeHas(specifier: string, runtime: RuntimeVersion): boolean {
  return isExternal(specifier, BOT_LAYER) || isExternal(specifier, addedPackages(runtime));
}

/**
 * Packages beside the bot layer. None where the configuration cannot be read, which other commands
 * report.
 */
function addedPackages(runtime: RuntimeVersion): string[] {
  try {
    // Loaded here, as it takes longer to load than all else that a thread needs.
    const { loadConfig } = createRequire(import.meta.url)('../config/config.ts') as {
      loadConfig(): { external: ExternalPackage[] };
    };
    const { external } = loadConfig();
    const present = external.filter(({ runtimes }) => runtimes.includes(runtime));
    return present.map((entry) => entry.package);
  } catch {
    return [];
  }
}
