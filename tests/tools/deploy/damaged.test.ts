// Files that are damaged, and a disk that is full: one line says so, and the next run is right.
import type { Bot } from '@medplum/fhirtypes';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { UserError } from '../../tools/src/terminal/user-error.ts';
import { BOT, projectForTest } from '../project.ts';
import { all, IMPORT, run, snapshot, startProxiedMedplum, writeRepository } from './harness.ts';
import type { ProxiedMedplum } from './harness.ts';
import { runCommand } from '../run-command.ts';

let medplum: ProxiedMedplum;
let reset: () => void;
beforeAll(async () => {
  medplum = await startProxiedMedplum();
  reset = snapshot(medplum);
});
beforeEach(() => reset());
afterAll(() => medplum.stop());

const BUILT = {
  file: 'dist/bots/sync-bot.js',
  bytes: 1,
  own: 1,
  sha256: 'x',
  shared: {},
  packages: {},
  sources: {},
};
const manifest = (bots: unknown, failed: unknown = {}): string =>
  JSON.stringify({ production: true, bots, failed });

describe('dist/manifest.json', () => {
  it.each([
    ['is empty', ''],
    ['ends in the middle', manifest({ 'sync-bot': BUILT }).slice(0, 40)],
    ['is not JSON', '<html>not found</html>'],
    ['holds bytes of something else', '\u0000\u0001\u0002'],
    ['is null', 'null'],
    ['is a list', '[]'],
    ['is a text', '"manifest"'],
    ['is an empty object', '{}'],
    ['has no bots', JSON.stringify({ production: true, failed: {} })],
    ['has null for its bots', manifest(null)],
    ['has a list of bots', manifest([BUILT])],
    ['has null for a bot', manifest({ 'sync-bot': null })],
    ['has a text for a bot', manifest({ 'sync-bot': 'dist/bots/sync-bot.js' })],
    ['has a bot without a hash', manifest({ 'sync-bot': { ...BUILT, sha256: undefined } })],
    ['has a number for a hash', manifest({ 'sync-bot': { ...BUILT, sha256: 1 } })],
    ['has a bot without modules', manifest({ 'sync-bot': { ...BUILT, shared: undefined } })],
    ['has null for a module', manifest({ 'sync-bot': { ...BUILT, shared: { a: null } } })],
    ['has a bot without sources', manifest({ 'sync-bot': { ...BUILT, sources: undefined } })],
    ['has a list of sources', manifest({ 'sync-bot': { ...BUILT, sources: [] } })],
    ['has null for its failures', manifest({ 'sync-bot': BUILT }, null)],
    ['has a number for a failure', manifest({ 'sync-bot': BUILT }, { 'sync-bot': 5 })],
    ['has null for a reason', manifest({ 'sync-bot': BUILT }, { 'sync-bot': [null] })],
    ['is of an older version', JSON.stringify({ production: true, bots: { 'sync-bot': BUILT } })],
  ])('that %s stops the deployment', async (_, text) => {
    const root = writeRepository([{ name: 'sync-bot' }]);
    writeFileSync(join(root, 'dist/manifest.json'), text);
    const refusal = run(medplum, root);
    await expect(refusal).rejects.toBeInstanceOf(UserError);
    await expect(refusal).rejects.toThrow(
      'dist/manifest.json is damaged, or of an older version of these tools. Run: npm run build',
    );
    expect(medplum.requests).toEqual([]);
    expect((await run(medplum, writeRepository([{ name: 'sync-bot' }], root))).failed).toEqual([]);
  });

  it.each([
    ['names another bundle', { 'sync-bot': BUILT }, 'is not the bundle that dist/manifest.json'],
    ['lacks the bot', {}, 'is not the bundle that dist/manifest.json describes'],
  ])('that %s stops the deployment', async (_, bots, message) => {
    const root = writeRepository([{ name: 'sync-bot' }]);
    writeFileSync(join(root, 'dist/manifest.json'), manifest(bots));
    await expect(run(medplum, root)).rejects.toThrow(message);
    expect(medplum.requests).toEqual([]);
  });
});

/** A device that takes no byte: writing to it fails as on a full disk. Linux has it. */
const FULL = '/dev/full';

describe.runIf(existsSync(FULL))('a full disk', () => {
  const importBot = (root: string) => runCommand(root, IMPORT, 'Legacy Sync');

  async function legacyRepository(): Promise<string> {
    await medplum.server.repository.createResource<Bot>({
      resourceType: 'Bot',
      name: 'Legacy Sync',
      sourceCode: {
        contentType: 'text/typescript',
        url: `${medplum.server.baseUrl}healthcheck`,
        title: 'index.ts',
      },
    });
    return writeRepository([]);
  }

  it.each(['medplum.config.json', 'src/bots/legacy-sync.ts'])(
    'while import writes %s leaves it as it was, and the next import completes it',
    async (file) => {
      const root = await legacyRepository();
      const path = join(root, file);
      const before = existsSync(path) ? readFileSync(path, 'utf8') : undefined;
      symlinkSync(FULL, `${path}.new`);
      expect(await importBot(root)).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(
          /^Error: .*could not be read or written: there is no space left on the disk\.\n$/,
        ),
      });
      expect(existsSync(path) ? readFileSync(path, 'utf8') : undefined).toBe(before);
      expect(await importBot(root)).toMatchObject({ code: 0, stderr: '' });
      expect(readFileSync(path, 'utf8')).not.toBe(before);
      const [bot] = await all<Bot>(medplum, 'Bot');
      expect(bot!.identifier).toHaveLength(1);
    },
  );

  it('while a build writes its manifest is said in one line; the next build works', async () => {
    const project = projectForTest({ 'src/bots/good-bot.ts': BOT });
    const file = join(project.root, 'dist/manifest.json');
    mkdirSync(join(project.root, 'dist'));
    symlinkSync(FULL, file);
    expect(await project.node('esbuild-script.mjs')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('there is no space left on the disk'),
    });
    rmSync(file);
    await expect(run(medplum, project.root)).rejects.toThrow('dist/manifest.json is missing');
    expect(await project.node('esbuild-script.mjs')).toMatchObject({ code: 0 });
    expect((await run(medplum, project.root)).changed).toEqual(['good-bot']);
  });
});
