// The hash by which bundles, their sources and the files of the template are told apart.
import { createHash } from 'node:crypto';

/** @returns the SHA-256 of the data, or of the text in UTF-8, in hexadecimal */
export function sha256Of(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}
