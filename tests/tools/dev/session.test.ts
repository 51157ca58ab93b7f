// What `npm run dev` does when a file is saved.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { DevSession, startBuild } from '../../tools/src/dev/session.ts';
import { startLocal } from '../../tools/src/local-servers.ts';
import type { LocalServers } from '../../tools/src/local-servers.ts';
import { eventually } from '../medplum/support.ts';
import { BOT, makeProject } from '../project.ts';
import type { Project } from '../project.ts';

const startedIn = process.cwd();
let project: Project;
let servers: LocalServers;
let session: DevSession;
let printed: string[];

beforeEach(async () => {
  project = makeProject({ 'src/bots/one.ts': BOT, 'src/bots/two.ts': BOT });
  process.chdir(project.root);
  printed = [];
  const note = (text: string): void => void printed.push(text);
  vi.spyOn(console, 'log').mockImplementation(note);
  vi.spyOn(console, 'error').mockImplementation(note);
  const { build } = await startBuild();
  servers = await startLocal({ isPrivate: true });
  session = new DevSession(servers, build);
  await session.update([]);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await servers.stop();
  process.chdir(startedIn);
  project.remove();
});

async function prints(pattern: RegExp): Promise<void> {
  await eventually(
    async () => printed.join('\n'),
    (text) => pattern.test(text),
  );
  expect(printed.join('\n')).toMatch(pattern);
}

test('errors of type checker and linter follow the deployment and do not delay it', async () => {
  expect(printed.filter((text) => text.includes('deployed'))).toHaveLength(2);
  printed.length = 0;
  project.write({
    'src/bots/one.ts': `export async function handler(): Promise<{ ok: boolean }> {
  const ok: boolean = 'yes';
  Promise.reject(new Error('no one waits for this'));
  return { ok };
}
`,
  });
  await session.update(['src/bots/one.ts']);
  expect(printed.join('\n')).toContain('deployed one code (src/bots/one.ts changed)');
  expect(printed.join('\n')).not.toContain('TS2322');
  await prints(
    /src\/bots\/one\.ts:2:9: Type 'string' is not assignable to type 'boolean'. \(TS2322\)/,
  );
  await prints(/src\/bots\/one\.ts:3:3: .*\(no-floating-promises\)/);
  await prints(/ {2}2 \| {3}const ok: boolean = 'yes';/);
});

test('a file that is not of the changed ones is not checked', async () => {
  printed.length = 0;
  project.write({ 'src/bots/two.ts': BOT.replace('true', "'yes'") });
  await session.update(['src/bots/one.ts']);
  await session.update(['src/bots/two.ts']);
  await prints(/two\.ts:2:\d+: .*TS2322/);
  expect(printed.join('\n')).not.toContain('src/bots/one.ts:');
});
