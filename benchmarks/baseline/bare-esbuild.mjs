// One bare call of esbuild for all bots: the least that bundling can cost.
import { build } from 'esbuild';
import { globSync } from 'node:fs';
import { OPTIONS } from './options.mjs';

await build({ ...OPTIONS, entryPoints: globSync('src/bots/*.ts'), outdir: 'dist/bots' });
