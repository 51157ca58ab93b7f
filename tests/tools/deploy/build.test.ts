// `npm run setup:bots` builds first: what it does if some bots cannot be built, and how it knows
// that a build is old.
import type { Bot } from '@medplum/fhirtypes';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { BOT, projectForTest } from '../project.ts';
import type { Outcome, Project } from '../project.ts';
import { all, PLAN, SETUP, startProxiedMedplum } from './harness.ts';
import type { ProxiedMedplum } from './harness.ts';

let medplum: ProxiedMedplum;
beforeEach(async () => {
  medplum = await startProxiedMedplum();
});
afterEach(() => medplum.stop());

const setup = (project: Project, ...args: string[]): Promise<Outcome> =>
  project.node(SETUP, '--build', ...args);

const deployed = async (): Promise<(string | undefined)[]> =>
  (await all<Bot>(medplum, 'Bot')).map(({ name }) => name);

it('deploys the bots that were built only if it is told to', async () => {
  const project = projectForTest({
    'src/bots/good-bot.ts': BOT,
    'src/bots/bad-bot.ts': `import { missing } from '../shared/missing.ts';
export const handler = missing;
`,
  });

  const refused = await setup(project);
  expect(refused.code).toBe(1);
  expect(refused.stdout).toContain('Not built: bad-bot.');
  expect(refused.stderr).toContain(
    'src/bots/bad-bot.ts:1:25: "../shared/missing.ts" cannot be found',
  );
  expect(refused.stderr).toMatch(
    /^Error: Nothing was deployed, because bad-bot could not be built\. To deploy the bots without an error: npm run setup:bots -- --skip-failed$/m,
  );
  expect(await deployed()).toEqual([]);
  const elsewhere = await setup(project, '--env', 'staging');
  expect(elsewhere.stderr).toContain('npm run setup:bots -- --skip-failed --env staging\n');

  const wrongOne = await setup(project, '--only', 'bad-*');
  expect(wrongOne.code).toBe(1);
  expect(wrongOne.stderr).toMatch(/^Error: bad-bot could not be built: .*cannot be found/m);
  expect(await deployed()).toEqual([]);

  const chosen = await setup(project, '--only', 'good-*');
  expect(chosen.code).toBe(0);
  expect(chosen.stdout).toMatch(/^Done: good-bot\.$/m);
  expect(await deployed()).toEqual(['good-bot']);

  project.write({ 'src/bots/good-bot.ts': BOT.replace('ok: true', 'ok: false') });
  const others = await setup(project, '--skip-failed');
  expect(others.code).toBe(1);
  expect(others.stdout).toMatch(/^~ good-bot {2}code \(src\/bots\/good-bot\.ts changed\)$/m);
  expect(others.stdout).toMatch(/^! bad-bot {3}blocked, bad-bot could not be built: /m);
  expect(others.stdout).toMatch(/^✓ good-bot$/m);
  expect(others.stderr).toMatch(/^Error: bad-bot: bad-bot could not be built: /m);
});

it('a plan refuses bundles that are older than their sources', async () => {
  const project = projectForTest({
    'src/bots/greet-bot.ts': `import { greet } from '../shared/greet.ts';
export const handler = async () => greet();
`,
    'src/bots/other-bot.ts': BOT,
    'src/shared/greet.ts': `import { WORD } from './word.ts';\nexport const greet = () => WORD;\n`,
    // Its value is copied into the bundle, and nothing else is left of it.
    'src/shared/word.ts': `export const WORD = 'hello';\n`,
  });
  const bundle = () => project.node('esbuild-script.mjs', '--production');
  const plan = (...args: string[]) =>
    project.node('tools/bin/medplum-bots.cjs', PLAN.split(' ')[1]!, ...args);
  expect(await bundle()).toMatchObject({ code: 0 });
  expect(await plan()).toMatchObject({ code: 2, stderr: '' });

  project.write({ 'src/shared/word.ts': `export const WORD = 'goodbye';\n` });
  const old = await plan();
  expect(old).toMatchObject({
    code: 1,
    stdout: '',
    stderr:
      'Error: dist/ is older than src/: src/shared/word.ts changed after the build. ' +
      'Run: npm run build -- --production\n',
  });
  // The other bot does not use it.
  expect(await plan('--only', 'other-bot')).toMatchObject({ code: 2, stderr: '' });
  expect(await bundle()).toMatchObject({ code: 0 });
  expect(await plan()).toMatchObject({ code: 2, stderr: '' });
});
