// Attachments are stored as references to a Binary, and go out with a signed address that differs
// at each read.
import { signature } from './tokens.ts';
import type { ServerState } from './server-state.ts';

const SIGNED_SECONDS = 3600;

/** @returns the JSON with the server's own addresses of Binaries turned into references again */
export function withBinaryReferences(json: string, { baseUrl }: ServerState): string {
  const signed = new RegExp(
    `"(url|path)"\\s*:\\s*"${baseUrl}(?:storage|fhir/R4/Binary)/([0-9a-f-]{36})[^"]*"`,
    'g',
  );
  return json.replaceAll(signed, '"$1":"Binary/$2"');
}

/**
 * @returns the JSON with the references to Binaries turned into signed addresses; those to a
 *   version also where the Binary is deleted, as the real server does
 */
export function withSignedUrls(json: string, state: ServerState): string {
  return json.replaceAll(
    /"(url|path)":"Binary\/([0-9a-f-]{36})(\/_history\/[0-9a-f-]{36})?"/g,
    (whole, key: string, id: string, version: string | undefined) => {
      const latest = state.store.latest('Binary', id);
      if (!latest || (latest.deleted && !version)) {
        return whole;
      }
      const url = signedUrl(state, id, latest.resource.meta!.versionId!);
      return `"${key}":${JSON.stringify(url)}`;
    },
  );
}

export function signedUrl({ baseUrl }: ServerState, id: string, versionId: string): string {
  const expires = `${Date.now() + SIGNED_SECONDS * 1000}.${Math.floor(Math.random() * 1e9)}`;
  const proof = signature(`${id}/${versionId}/${expires}`);
  return `${baseUrl}storage/${id}/${versionId}?Expires=${expires}&Signature=${proof}`;
}
