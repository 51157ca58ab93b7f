// Looks into one bundle that esbuild wrote.
import type { Metafile } from 'esbuild';
import { readFileSync } from 'node:fs';
import type { BotConfig } from '../config/config.ts';
import type { Finding } from './finding.ts';
import type { BundleInfo } from './manifest.ts';
import { packageOf } from './npm-packages.ts';
import { sha256Of } from './sha256.ts';

export type Inputs = Metafile['outputs'][string]['inputs'];

/** Hashes of source files, shared by all bundles of a build. */
export type SourceHashes = Map<string, string>;

/**
 * @param bot - whose bundle it is
 * @param file - the bundle, from the repository's folder
 * @param contents - of the bundle
 * @param inputs - the files in it, as esbuild says
 * @param hashes - filled in as files are read
 * @returns what the manifest says about it
 */
export function describeBundle(
  bot: BotConfig,
  file: string,
  contents: Uint8Array,
  inputs: Inputs,
  hashes: SourceHashes,
): BundleInfo {
  const info: BundleInfo = {
    file,
    bytes: contents.length,
    sha256: sha256Of(contents),
    own: 0,
    shared: {},
    packages: {},
    sources: {},
  };
  for (const source of Object.keys(inputs).toSorted()) {
    const bytes = inputs[source]!.bytesInOutput;
    const owner = packageOf(source);
    if (source.startsWith('src/')) {
      info.sources[source] = hashOf(source, hashes);
    }
    if (owner) {
      const label = `${owner.name}@${owner.version}`;
      const before = info.packages[label]?.bytes ?? 0;
      if (bytes > 0) {
        info.packages[label] = { bytes: before + bytes };
      }
    } else if (source === bot.source || !isShared(source)) {
      info.own += bytes;
    } else if (bytes > 0) {
      info.shared[source] = { bytes, sha256: hashOf(source, hashes) };
    }
  }
  return info;
}

function isShared(source: string): boolean {
  return source.startsWith('src/') && !source.startsWith('src/bots/');
}

function hashOf(source: string, hashes: SourceHashes): string {
  let hash = hashes.get(source);
  if (hash === undefined) {
    hash = sha256Of(readFileSync(source));
    hashes.set(source, hash);
  }
  return hash;
}

/**
 * @param bot - whose bundle it is
 * @param code - of the bundle
 * @param bytes - how many it has
 * @param inputs - the files in it
 * @param botSources - the files of all bots, to find another bot's among the inputs
 * @returns errors for a bundle without handler or over its size, a warning for another bot's
 *   handler in it
 */
export function checkContents(
  bot: BotConfig,
  code: string,
  bytes: number,
  inputs: Inputs,
  botSources: ReadonlySet<string>,
): Finding[] {
  const findings: Finding[] = [];
  const found = (severity: Finding['severity'], kind: string, message: string): void => {
    findings.push({ severity, kind, message, file: bot.source, bots: [bot.name] });
  };
  if (!hasHandler(code)) {
    found(
      'error',
      'no-handler',
      'exports no handler: add "export async function handler(medplum, event)"',
    );
  }
  if (bytes > bot.maxBytes) {
    found(
      'error',
      'too-large',
      `makes a bundle of ${bytes} bytes, more than its ${bot.maxBytes}; ` +
        `the largest part is ${largestPart(inputs)}: ` +
        'import less, or raise maxBytes in medplum.config.json',
    );
  }
  for (const [source, { bytesInOutput }] of Object.entries(inputs)) {
    if (source !== bot.source && botSources.has(source) && bytesInOutput > 0) {
      found(
        'warning',
        'bot-in-bot',
        `imports the bot ${source}, and carries its handler: move what both need to src/shared`,
      );
    }
  }
  return findings;
}

/** @returns the file or the npm package with the most bytes in a bundle: `zod 4.6.7` */
function largestPart(inputs: Inputs): string {
  const sizes = new Map<string, number>();
  for (const [file, { bytesInOutput }] of Object.entries(inputs)) {
    const owner = packageOf(file);
    const part = owner ? `${owner.name} ${owner.version}` : file;
    sizes.set(part, (sizes.get(part) ?? 0) + bytesInOutput);
  }
  const [largest] = [...sizes].toSorted(([, a], [, b]) => b - a);
  return largest![0];
}

/** esbuild ends a CommonJS file with a list of its exports, which never runs, for Node to read. */
function hasHandler(code: string): boolean {
  const list = /\(module\.exports ?= ?\{([^}]*)\}/.exec(
    code.slice(code.lastIndexOf('(module.exports')),
  );
  return /\bhandler\b/.test(list?.[1] ?? '');
}
