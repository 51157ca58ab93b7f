// dist/manifest.json: what was built, from what.
import { readFileSync } from 'node:fs';

export interface Manifest {
  /** Minified. */
  production: boolean;
  bots: Record<string, BundleInfo>;
  /** Bots that could not be built, with the reasons, one line each. */
  failed: Record<string, string[]>;
}

export interface BundleInfo {
  file: string;
  bytes: number;
  /** Of the .js file. */
  sha256: string;
  /** Bytes of the bot's own code in the bundle: its file, and helpers in src/bots. */
  own: number;
  /**
   * Modules of src outside src/bots in it: bytes in the bundle, and the hash of their source text.
   */
  shared: Record<string, { bytes: number; sha256: string }>;
  /** npm packages in it, by `name@version`: bytes in the bundle. */
  packages: Record<string, { bytes: number }>;
  /**
   * Every file of src that was read for it, also those that left nothing in it: the hash of its
   * text.
   */
  sources: Record<string, string>;
}

/** @throws where the file cannot be read */
export function readManifestFile(path: string): Manifest {
  return JSON.parse(readFileSync(path, 'utf8')) as Manifest;
}
