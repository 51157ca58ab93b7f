// Bundles one bot after the other, as guides do; the options are those of the generated repository.
import { build } from 'esbuild';
import { globSync } from 'node:fs';
import { OPTIONS } from './options.mjs';

for (const bot of globSync('src/bots/*.ts')) {
  await build({ ...OPTIONS, entryPoints: [bot], outdir: 'dist/bots' });
}
