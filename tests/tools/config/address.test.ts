// The address of a server, the files of variables, and the notes of local servers: what is read,
// and what is refused.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { isLocal } from '../../tools/src/config/address.ts';
import { readEnvironment } from '../../tools/src/config/environment.ts';
import { findRunningServer } from '../../tools/src/config/running-server.ts';

const folder = mkdtempSync(join(tmpdir(), 'address-'));
const before = process.cwd();
process.chdir(folder);
afterAll(() => {
  vi.unstubAllEnvs();
  process.chdir(before);
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  for (const variable of ['BASE_URL', 'PROJECT_ID', 'CLIENT_ID', 'CLIENT_SECRET']) {
    vi.stubEnv(`MEDPLUM_${variable}`, '');
  }
});

const fileWith = (address: string): string =>
  `MEDPLUM_BASE_URL=${address}
MEDPLUM_PROJECT_ID=p
MEDPLUM_CLIENT_ID=c
MEDPLUM_CLIENT_SECRET=topsecret
`;

function addressOf(address: string): string {
  writeFileSync('.env.staging', fileWith(address));
  return readEnvironment('staging').baseUrl;
}

describe('MEDPLUM_BASE_URL', () => {
  it.each([
    ['https://api.medplum.com', 'https://api.medplum.com/'],
    ['HTTPS://API.Medplum.com/', 'https://api.medplum.com/'],
    ['https://example.com/medplum', 'https://example.com/medplum/'],
    ['http://localhost:8103', 'http://localhost:8103/'],
    ['HTTP://127.0.0.1:8103/', 'http://127.0.0.1:8103/'],
    ['http://[::1]:8103/', 'http://[::1]:8103/'],
  ])('can be %s', (address, baseUrl) => {
    expect(addressOf(address)).toBe(baseUrl);
    expect(isLocal(baseUrl)).toBe(baseUrl.startsWith('http:'));
  });

  it.each([
    'http://medplum.example.com/',
    'HTTP://medplum.example.com/',
    'ht\ttp://medplum.example.com/',
    'http:medplum.example.com',
    'http:\\\\medplum.example.com',
    'http://10.0.0.1/',
    'http://127.0.0.2/',
    'http://0.0.0.0:8103/',
    'http://[::ffff:127.0.0.1]/',
    'http://localhost.evil.example/',
    'http://localhost./',
  ])('is refused before anything is sent: %s', (address) => {
    expect(() => addressOf(`"${address}"`)).toThrow('over http the client secret could be read');
  });

  it.each([
    'https://user:topsecret@example.com/',
    'https://topsecret@example.com/',
    'https://example.com/?key=topsecret',
    'https://example.com/#topsecret',
    'http://user:topsecret@localhost/',
  ])('is refused with more than an address, which is not shown: %s', (address) => {
    const refusal = 'without a user name, a password, "?" or "#" (in .env.staging).';
    expect(() => addressOf(`"${address}"`)).toThrow(refusal);
    expect(() => addressOf(`"${address}"`)).not.toThrow('topsecret');
  });

  it.each(['ftp://example.com/', 'file:///etc/passwd', 'example.com', 'https://', '//example.com'])(
    'is not an address: %s',
    (address) => {
      expect(() => addressOf(address)).toThrow('MEDPLUM_BASE_URL is not an address');
    },
  );
});

describe('.env.<name>', () => {
  const text = fileWith('https://example.com/');

  it('may begin with a byte order mark', () => {
    writeFileSync('.env.staging', `\uFEFF${text}`);
    expect(readEnvironment('staging').baseUrl).toBe('https://example.com/');
  });

  it.each([
    ['UTF-16, which PowerShell writes', Buffer.from(`\uFEFF${text}`, 'utf16le')],
    ['UTF-16 without a mark', Buffer.from(text, 'utf16le')],
    ['Latin-1', Buffer.from(`${text}PASSWORD=pässwort\n`, 'latin1')],
  ])('is refused in another encoding: %s', (_, content) => {
    writeFileSync('.env.staging', content);
    expect(() => readEnvironment('staging')).toThrow(
      '.env.staging is not UTF-8. Save it as UTF-8.',
    );
  });
});

describe('the notes of local servers', () => {
  const notes = 'node_modules/.cache/medplum-bots/local-servers';
  const server = {
    baseUrl: 'http://localhost:8103/',
    projectId: 'p',
    clientId: 'c',
    clientSecret: 's',
    pid: process.pid,
  };

  it('are read beside one that a full disk cut off, or that is gone by now', () => {
    mkdirSync(notes, { recursive: true });
    writeFileSync(join(notes, '8103.json'), JSON.stringify(server));
    writeFileSync(join(notes, '8104.json'), '');
    mkdirSync(join(notes, '8105.json'));
    expect(findRunningServer(undefined)).toEqual(server);
    expect(findRunningServer('http://LOCALHOST:8103')).toEqual(server);
    expect(findRunningServer('http://localhost.evil.example:8103/')).toBeUndefined();
  });
});
