// Other ways to work than the default: no CI service, several repositories in a project, more than
// 1,000 bots.
import type { Bot } from '@medplum/fhirtypes';
import { execFileSync } from 'node:child_process';
import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { all, run, startProxiedMedplum, SYSTEM, writeRepository } from './harness.ts';
import type { TestBot, ProxiedMedplum } from './harness.ts';

let medplum: ProxiedMedplum;
beforeEach(async () => {
  medplum = await startProxiedMedplum();
});
afterEach(() => medplum.stop());

describe('a repository without CI', () => {
  const git = (root: string, ...args: string[]): string => {
    const who = ['-c', 'user.name=Tester', '-c', 'user.email=tester@example.invalid'];
    return execFileSync('git', [...who, ...args], { cwd: root, encoding: 'utf8' }).trim();
  };
  const commitOf = async (): Promise<string | undefined> => {
    const [bot] = await all<Bot>(medplum, 'Bot');
    return bot!.meta?.tag?.find(({ system }) => system === `${SYSTEM}/commit`)?.code;
  };

  it('that is deployed from a clean clone of a tag says on the server what runs', async () => {
    const root = writeRepository([{ name: 'sync-bot' }]);
    writeFileSync(join(root, '.gitignore'), 'dist/\n');
    git(root, 'init', '--quiet');
    git(root, 'add', '--all');
    git(root, 'commit', '--quiet', '--message', 'First');
    git(root, 'tag', 'v1.0.0');
    await run(medplum, root);
    expect(await commitOf()).toBe(git(root, 'rev-parse', 'v1.0.0'));

    // Work that is not committed is marked.
    appendFileSync(join(root, 'medplum.config.json'), '\n');
    await run(medplum, root, { force: true });
    expect(await commitOf()).toBe(`${git(root, 'rev-parse', 'v1.0.0')}-dirty`);
  });
});

describe('several repositories in one project', () => {
  const BOT: TestBot = { name: 'sync-bot', subscriptions: [{ criteria: 'Patient' }] };

  it('do not see, change or remove the bots of each other', async () => {
    const ours = writeRepository([BOT, { name: 'other-bot' }]);
    const theirs = writeRepository([BOT], undefined, 'urn:medplum-bots:their-team');
    expect((await run(medplum, ours)).failed).toEqual([]);
    expect((await run(medplum, theirs)).failed).toEqual([]);
    expect(await all<Bot>(medplum, 'Bot')).toHaveLength(3);
    for (const root of [ours, theirs]) {
      expect((await run(medplum, root, { prune: true })).writes).toEqual([]);
    }
    writeRepository([], theirs, 'urn:medplum-bots:their-team');
    const pruned = await run(medplum, theirs, { prune: true });
    expect(pruned.changed).toEqual(['sync-bot']);
    const left = await all<Bot>(medplum, 'Bot');
    expect(left.map(({ name }) => name).toSorted()).toEqual(['other-bot', 'sync-bot']);
    expect((await run(medplum, ours)).writes).toEqual([]);
  });
});

describe('a project with 1,001 bots', () => {
  it('is deployed, read in pages, and then unchanged', { timeout: 300_000 }, async () => {
    const code = 'exports.handler = async () => true;\n';
    const names = Array.from({ length: 1001 }, (_, index) => `bot-${index}`);
    const root = writeRepository(names.map((name) => ({ name, code, runAsUser: true })));
    const first = await run(medplum, root);
    expect(first.failed).toEqual([]);
    expect(first.changed).toHaveLength(1001);
    const again = await run(medplum, root);
    expect(again.unchanged).toHaveLength(1001);
    expect(again.writes).toEqual([]);
    // One more for each second page: bots and memberships.
    expect(again.requests).toBeLessThanOrEqual(7);
  });
});
