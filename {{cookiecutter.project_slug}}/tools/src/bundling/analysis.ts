// What is in each bundle: sizes, shared modules, npm packages, and which exports of shared code.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { bundle } from '../../../esbuild-script.mjs';
import { loadConfig } from '../config/config.ts';
import { suggest } from '../terminal/suggest.ts';
import { UserError } from '../terminal/user-error.ts';
import { withoutThrowing } from './bundle-bots.ts';
import { carriedExports } from './carried-exports.ts';
import type { Finding } from './finding.ts';
import type { BundleInfo, Manifest } from './manifest.ts';
import { sharedExports } from './shared-exports.ts';
import type { SharedExport } from './shared-exports.ts';

export interface BotAnalysis extends Pick<BundleInfo, 'bytes' | 'own' | 'shared' | 'packages'> {
  name: string;
  minified: number;
  gzip: number;
  maxBytes: number;
  /** Exports of src/shared in it: `phoneOf (src/shared/contact.ts:10)` */
  carries: string[];
}

export interface Analysis {
  bots: BotAnalysis[];
  /** Functions of src/shared that no bundle carries. */
  unused: string[];
  /** Of the minified bundles. */
  manifest: Manifest;
  /** Why bots are missing here. */
  errors: Finding[];
}

/**
 * Builds everything as it is now, plain and minified. A bot with an error is left out; a bundle
 * that is too large is not: what is in it is the question.
 *
 * @param folder - to build in
 */
export async function analyze(folder: string): Promise<Analysis> {
  const plain = await withoutThrowing(() =>
    bundle({ outdir: join(folder, 'plain'), checkSize: false }),
  );
  const minified = await withoutThrowing(() =>
    bundle({ outdir: join(folder, 'minified'), production: true, checkSize: false }),
  );
  const exports = sharedExports();
  const bots = loadConfig().bots.flatMap(({ name, maxBytes }) => {
    const [plainBundle, minifiedBundle] = [plain.bots[name], minified.bots[name]];
    return plainBundle && minifiedBundle
      ? [analyzeBot(name, maxBytes, plainBundle, minifiedBundle, exports)]
      : [];
  });
  const carried = new Set(bots.flatMap(({ carries }) => carries));
  const functions = exports.filter((item) => item.function).map(labelOf);
  return {
    bots,
    unused: functions.filter((label) => !carried.has(label)),
    manifest: minified,
    errors: plain.findings.filter(({ severity }) => severity === 'error'),
  };
}

function analyzeBot(
  name: string,
  maxBytes: number,
  plain: BundleInfo,
  minified: BundleInfo,
  exports: readonly SharedExport[],
): BotAnalysis {
  const code = readFileSync(plain.file, 'utf8');
  const map = readFileSync(`${plain.file}.map`, 'utf8');
  return {
    name,
    bytes: plain.bytes,
    minified: minified.bytes,
    gzip: gzipSync(readFileSync(minified.file)).length,
    own: plain.own,
    shared: plain.shared,
    packages: plain.packages,
    maxBytes,
    carries: carriedExports(code, map, dirname(plain.file), exports).map(labelOf),
  };
}

function labelOf({ name, file, first }: SharedExport): string {
  return `${name} (${file}:${first})`;
}

/**
 * @param name - of an export of src/shared; several modules may have one of that name
 * @param bots - that were analyzed
 * @returns for each of them, the bots whose bundles carry it
 * @throws UserError if src/shared exports nothing of that name
 */
export function findExport(
  name: string,
  bots: readonly BotAnalysis[],
): { export: string; bots: string[] }[] {
  const exports = sharedExports();
  const labels = exports.filter((item) => item.name === name).map(labelOf);
  if (labels.length === 0) {
    const names = exports.map((item) => item.name);
    throw new UserError(
      `Nothing that src/shared exports is called "${name}".${suggest(name, names)}`,
    );
  }
  return labels.map((label) => ({
    export: label,
    bots: bots.filter(({ carries }) => carries.includes(label)).map((bot) => bot.name),
  }));
}
