// The address of a Medplum server: what it may be, and whether it is on this machine.
import { UserError } from '../terminal/user-error.ts';

/**
 * @param text - MEDPLUM_BASE_URL
 * @param file - where it is said, for messages
 * @returns the address as browsers write it, with a slash at the end
 * @throws UserError if it is not an address, or one that must not be used; without the text, which
 *   may hold a password
 */
export function parseBaseUrl(text: string, file: string): string {
  const url = URL.parse(text);
  if (!url || !['http:', 'https:'].includes(url.protocol)) {
    throw new UserError(
      `MEDPLUM_BASE_URL is not an address: write it like https://api.medplum.com/ (in ${file}).`,
    );
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new UserError(
      'MEDPLUM_BASE_URL must be an address alone, without a user name, a password, "?" or "#" ' +
        `(in ${file}).`,
    );
  }
  return url.href.endsWith('/') ? url.href : `${url.href}/`;
}

/**
 * Whether an address is on this machine: no confirmation is needed to write there, and http is
 * safe.
 */
export function isLocal(address: string): boolean {
  return ['localhost', '127.0.0.1', '[::1]'].includes(URL.parse(address)?.hostname ?? '');
}

/**
 * @param baseUrl - see parseBaseUrl
 * @param file - where it is said, for the message
 * @throws UserError if the client secret would cross a network that others can read
 */
export function refuseUnencrypted(baseUrl: string, file: string): void {
  if (new URL(baseUrl).protocol === 'http:' && !isLocal(baseUrl)) {
    throw new UserError(
      `MEDPLUM_BASE_URL (${file}) is ${baseUrl}: ` +
        'over http the client secret could be read on the way. ' +
        'Use https, or a tunnel to localhost.',
    );
  }
}
