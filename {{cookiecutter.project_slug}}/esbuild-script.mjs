// Bundles every bot into one file for Medplum: src/bots -> dist/bots/<name>.js. dist/manifest.json
// lists what is in it.
//   npm run build                   checks the code too
//   npm run build -- --production   and minifies
import './tools/bin/require-environment.cjs'; // what is imported from here on needs Node 24
const { Command } = await import('commander');
const { build } = await import('esbuild');
const { externalPackages } = await import('./tools/src/config/bot-layer.ts');
const { bundleBots } = await import('./tools/src/bundling/bundle-bots.ts');
const { LOG_OVERRIDE } = await import('./tools/src/bundling/esbuild-messages.ts');
const { TEXT_LOADERS } = await import('./tools/src/bundling/text-files.ts');
const { runCommandLine } = await import('./tools/src/command-line.ts');
const { loadConfig } = await import('./tools/src/config/config.ts');

/**
 * Bundles the bots of medplum.config.json. A bot with an error is left out, and the others are
 * built.
 *
 * @param { { production?: boolean, outdir?: string, checkSize?: boolean } } [options] -
 *   `production` minifies; without `checkSize` a bundle may be larger than its maxBytes
 * @returns {Promise<import('./tools/src/bundling/bundle-bots.ts').BuiltBots>} what was built; also
 *   in manifest.json next to `outdir`
 * @throws {import('./tools/src/bundling/bundle-bots.ts').BuildError} if a bot has an error, after
 *   the others were built
 */
export async function bundle({ production = false, outdir = 'dist/bots', checkSize = true } = {}) {
  const config = loadConfig();
  return bundleBots(config, { outdir, production, checkSize }, (bots, runtime) =>
    build({
      entryPoints: bots.map((bot) => ({ in: bot.source, out: bot.name })),
      outdir,
      absWorkingDir: process.cwd(), // so that no path in a bundle says whose machine built it
      // copies in what a bot imports, but no exports that it does not use (tree shaking)
      bundle: true,
      external: externalPackages(runtime, config.external), // the runtime has these packages
      loader: TEXT_LOADERS, // import html from './letter.html'
      platform: 'node',
      target: 'node22',
      format: 'cjs',
      // vmcontext has no import(): it becomes a require() of the same package.
      supported: { 'dynamic-import': false },
      // esbuild replaces module.exports as a whole; vmcontext looks at the `exports` that was there
      // before.
      footer: { js: 'Object.assign(exports, module.exports);' },
      // Names stay: stack traces can be read, and a change reaches only the bundles that use what
      // changed.
      minifyWhitespace: production,
      minifySyntax: production,
      sourcemap: true,
      metafile: true,
      logLevel: 'silent',
      logOverride: LOG_OVERRIDE,
    }),
  );
}

/**
 * @param {import('./tools/src/bundling/manifest.ts').Manifest} manifest
 * @returns {string} a sentence for people
 */
export function summary({ bots, failed }) {
  const sizes = Object.values(bots).map((bot) => bot.bytes);
  const kilobytes = Math.ceil(sizes.reduce((sum, bytes) => sum + bytes, 0) / 1000);
  const built =
    `Built ${sizes.length} ${sizes.length === 1 ? 'bot' : 'bots'} into dist/bots, ` +
    `${kilobytes} kB in all.`;
  const names = Object.keys(failed);
  return names.length === 0 ? built : `${built} Not built: ${names.join(', ')}.`;
}

export const command = new Command('node esbuild-script.mjs')
  .description('Bundle every bot into one file in dist/bots, without checking the code')
  .option('--production', 'minify, as for a deployment')
  .action(async (options) => console.log(summary(await bundle(options))));

if (import.meta.main) {
  await runCommandLine(() => command);
}
