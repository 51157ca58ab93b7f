// Files of secrets: what is read, and what is refused before anything is sent.
import type { Project } from '@medplum/fhirtypes';
import { execFileSync } from 'node:child_process';
import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseSecretsFile } from '../../tools/src/deploy/secrets-file.ts';
import {
  ADMIN,
  PROJECT,
  SECRETS,
  isWrite,
  startProxiedMedplum,
  writeRepository,
} from './harness.ts';
import type { CommandResult, ProxiedMedplum } from './harness.ts';
import { runCommand } from '../run-command.ts';

describe('a file of secrets', () => {
  it.each<[string, string, Record<string, string>]>([
    ['plain lines', 'A=1\nB=two words\n', { A: '1', B: 'two words' }],
    ['quotes, with # and = inside', `A="x # = y"\nB='z'\n`, { A: 'x # = y', B: 'z' }],
    ['a value of several lines', 'A="first\nsecond"\nB=1\n', { A: 'first\nsecond', B: '1' }],
    ['a byte order mark and Windows line ends', '\uFEFFA=1\r\nB=2\r\n', { A: '1', B: '2' }],
    ['comments and "export"', '# why\nexport A=1 # because\n\n', { A: '1' }],
  ])('holds %s', (_, text, secrets) => {
    const parsed = parseSecretsFile(text);
    expect(parsed.problems).toEqual([]);
    expect(Object.fromEntries(parsed.secrets)).toEqual(secrets);
  });

  it.each([
    ['a line without =', 'A=1\nTOKEN topsecret\n', 'line 2 is not NAME=value'],
    ['a value that would be cut', 'A=topsecret#rest\n', 'line 1 (A): "#" starts a comment'],
    ['a quote without end', 'A="topsecret\nB=1\n', 'line 1 (A): the closing quote is missing'],
    [
      'text after a quote',
      'A="x" topsecret\n',
      'line 1 (A): there is text after the closing quote',
    ],
    ['a name twice', 'A=1\nA=2\n', 'A is given twice'],
    ['a name without value', 'A=\n', 'A has no value'],
  ])('is refused with %s, without its value', (_, text, problem) => {
    const { problems } = parseSecretsFile(text);
    expect(problems.join('\n')).toContain(problem);
    expect(problems.join('\n')).not.toContain('topsecret');
  });
});

describe('npm run secrets', () => {
  let medplum: ProxiedMedplum;
  beforeEach(async () => {
    medplum = await startProxiedMedplum();
  });
  afterEach(() => medplum.stop());

  const call = (root: string, ...args: string[]): Promise<CommandResult> =>
    runCommand(root, SECRETS, ...args);
  const names = async (): Promise<string[]> => {
    const { secret = [] } = await medplum.server.repository.readResource<Project>(
      'Project',
      PROJECT,
    );
    return secret.map(({ name }) => name);
  };

  it.each([
    ['MEDPLUM_CLIENT_SECRET=abc\nTOKEN=1\n', 'MEDPLUM_CLIENT_SECRET'],
    [`TOKEN=${ADMIN.secret}\n`, 'TOKEN'],
  ])('refuses the credentials of the deployment', async (text, name) => {
    const root = writeRepository([]);
    writeFileSync(join(root, '.env.local.secrets'), text);
    const { code, stderr } = await call(root, 'push', '.env.local.secrets');
    expect(code).toBe(1);
    expect(stderr).toContain(`${name} is a credential of the deployment`);
    expect(stderr).not.toContain(ADMIN.secret);
    expect(medplum.requests.filter(isWrite)).toEqual([]);
  });

  it('refuses a file that git tracks', async () => {
    const root = writeRepository([]);
    writeFileSync(join(root, 'secrets.env'), 'TOKEN=1\n');
    execFileSync('git', ['init', '--quiet'], { cwd: root });
    execFileSync('git', ['add', 'secrets.env'], { cwd: root });
    const { code, stderr } = await call(root, 'push', 'secrets.env');
    expect(code).toBe(1);
    expect(stderr).toContain('secrets.env is tracked by git');
    expect(medplum.requests).toEqual([]);
  });

  it('refuses a file that git tracks elsewhere, also behind a link', async () => {
    const elsewhere = writeRepository([]);
    const file = join(elsewhere, 'secrets.env');
    writeFileSync(file, 'TOKEN=1\n');
    execFileSync('git', ['init', '--quiet'], { cwd: elsewhere });
    execFileSync('git', ['add', 'secrets.env'], { cwd: elsewhere });
    const root = writeRepository([]);
    symlinkSync(file, join(root, '.env.local.secrets'));
    for (const path of [file, '.env.local.secrets']) {
      const { code, stderr } = await call(root, 'push', path);
      expect(code, path).toBe(1);
      expect(stderr, path).toContain('is tracked by git');
    }
  });

  it('refuses a file of which git cannot say whether it tracks it', async () => {
    const root = writeRepository([]);
    writeFileSync(join(root, 'secrets.env'), 'TOKEN=1\n');
    writeFileSync(join(root, '.git'), 'gitdir: nowhere\n');
    const { code, stderr } = await call(root, 'push', 'secrets.env');
    expect(code).toBe(1);
    expect(stderr).toBe(
      'Error: git cannot say whether it tracks secrets.env. See why: git ls-files secrets.env\n',
    );
    expect(medplum.requests).toEqual([]);
  });

  it('refuses a file in another encoding, in which a secret would be another one', async () => {
    const root = writeRepository([]);
    writeFileSync(join(root, 'secrets.env'), Buffer.from('TOKEN=pässwort\n', 'latin1'));
    const { code, stderr } = await call(root, 'push', 'secrets.env');
    expect(code).toBe(1);
    expect(stderr).toBe('Error: secrets.env is not UTF-8. Save it as UTF-8.\n');
    expect(medplum.requests).toEqual([]);
  });

  it('lists names with the bots that need them; deletes a secret that none needs', async () => {
    const root = writeRepository([
      { name: 'sync-bot', secrets: ['TOKEN', { name: 'PROXY', optional: true }] },
    ]);
    writeFileSync(join(root, '.env.local.secrets'), 'TOKEN=topsecret\nOLD=topsecret\n');
    expect((await call(root, 'list')).stdout).toMatch(/^TOKEN +missing +sync-bot$/m);
    expect((await call(root, 'push', '.env.local.secrets')).code).toBe(0);
    const { stdout } = await call(root, 'list');
    expect(stdout).toMatch(/^TOKEN +set +sync-bot$/m);
    expect(stdout).toMatch(/^PROXY +not set +sync-bot$/m);
    expect(stdout).toMatch(/^OLD +set$/m);
    expect(stdout).not.toContain('topsecret');

    const refused = await call(root, 'delete', 'TOKEN');
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.stderr).toContain('sync-bot needs TOKEN');
    expect((await call(root, 'delete', 'OLD')).code).toBe(0);
    expect(await names()).toEqual(['TOKEN']);
    expect((await call(root, 'delete', 'TOKEN', '--force')).code).toBe(0);
    expect(await names()).toEqual([]);
    expect((await call(root, 'delete', 'TOKEN')).stderr).toContain(
      'The project has no secret TOKEN',
    );
  });
});
