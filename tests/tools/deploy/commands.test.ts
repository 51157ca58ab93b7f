// The commands as they are called: what they print, and their exit codes.
import type { AuditEvent, Bot, Project, ProjectMembership } from '@medplum/fhirtypes';
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  ADMIN,
  DOCTOR,
  IMPORT,
  LOGS,
  NO_ADMIN,
  PLAN,
  PROJECT,
  RERUN,
  ROLLBACK,
  SECRETS,
  SETUP,
} from './harness.ts';
import {
  all,
  command,
  inTerminal,
  isWrite,
  run,
  signIn,
  startProxiedMedplum,
  writeRepository,
} from './harness.ts';
import type { CommandResult, TestBot, ProxiedMedplum } from './harness.ts';
import { runCommand } from '../run-command.ts';

let medplum: ProxiedMedplum;
beforeEach(async () => {
  medplum = await startProxiedMedplum();
});
afterEach(() => medplum.stop());

const call = (root: string, script: string, ...args: string[]): Promise<CommandResult> =>
  runCommand(root, script, ...args);
/** With the rights of its caller, or there would be a warning about its access. */
const version = (number: number): TestBot => ({
  name: 'sync-bot',
  runAsUser: true,
  code: `exports.handler = async () => ({ version: ${number} });\n`,
  shared: { 'src/shared/http-helpers.ts': String(number) },
});
const bot = async (): Promise<Bot> =>
  (await all<Bot>(medplum, 'Bot')).find(({ name }) => name === 'sync-bot')!;
const secretsOf = async (): Promise<Record<string, string | undefined>> => {
  const { secret = [] } = await medplum.server.repository.readResource<Project>('Project', PROJECT);
  return Object.fromEntries(secret.map(({ name, valueString }) => [name, valueString]));
};

describe('in a process of its own', () => {
  it.each<[string, string, number, ...string[]]>([
    ['npm run plan', PLAN, 0],
    ['npm run plan, with an error', PLAN, 1, '--only', 'other-bot'],
    ['npm run setup:bots', SETUP, 0],
    ['npm run rollback', ROLLBACK, 0, 'sync-bot', '--list'],
    ['npm run secrets', SECRETS, 0, 'list'],
    ['npm run import', IMPORT, 1, 'other-bot'],
    ['npm run doctor', DOCTOR, 0],
    ['npm run logs', LOGS, 0],
    ['npm run rerun', RERUN, 0, 'sync-bot', '--failed', '--dry-run'],
  ])('%s prints the same as in the tests, and ends by itself', async (_, script, code, ...args) => {
    const root = writeRepository([version(1)]);
    await run(medplum, root);
    const here = await runCommand(root, script, ...args);
    expect(here.code).toBe(code);
    expect(`${here.stdout}${here.stderr}`).not.toBe('');
    expect(await command(root, script, ...args).done).toEqual(here);
  });
});

describe('npm run plan', () => {
  it('ends with 2 where something is to be done, 0 where nothing is, 1 on an error', async () => {
    const root = writeRepository([version(1)]);
    const before = await call(root, PLAN);
    expect(before).toMatchObject({ code: 2, stderr: '' });
    expect(before.stdout).toContain('+ sync-bot  new\n1 to create.');
    expect(await all(medplum, 'Bot')).toEqual([]);
    await run(medplum, root);
    expect(await call(root, PLAN)).toMatchObject({ code: 0, stderr: '' });
    rmSync(join(root, 'dist'), { recursive: true });
    expect(await call(root, PLAN)).toMatchObject({
      code: 1,
      stderr: 'Error: dist/manifest.json is missing: nothing is built yet. Run: npm run build\n',
    });
  });

  it('gives JSON, also where a secret is missing, which ends with 1', async () => {
    const { code, stdout, stderr } = await call(
      writeRepository([{ ...version(1), secrets: ['TOKEN'] }]),
      PLAN,
      '--json',
    );
    expect(code).toBe(1);
    expect(stderr).toContain('Error: The project has no secret TOKEN (for sync-bot).');
    expect(JSON.parse(stdout)).toMatchObject({
      environment: 'local',
      changes: [{ name: 'sync-bot', action: 'new' }],
    });
  });

  it('ends the same with --json, which says what and why', async () => {
    const root = writeRepository([version(1)]);
    const before = await call(root, PLAN, '--json');
    expect(before).toMatchObject({ code: 2, stderr: '' });
    expect(JSON.parse(before.stdout).changes).toEqual([
      { name: 'sync-bot', action: 'new', reasons: [], text: 'new' },
    ]);
    await run(medplum, root);
    const after = await call(root, PLAN, '--json');
    expect(after).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(after.stdout).changes).toEqual([
      { name: 'sync-bot', action: 'unchanged', reasons: [], text: 'unchanged' },
    ]);
    await run(medplum, writeRepository([version(2)], root));
    const { stdout } = await call(writeRepository([version(3)], root), PLAN, '--json');
    const reasons = [{ type: 'code-sources-changed', paths: ['src/shared/http-helpers.ts'] }];
    const text = 'code (src/shared/http-helpers.ts changed)';
    expect(JSON.parse(stdout).changes).toEqual([
      { name: 'sync-bot', action: 'change', reasons, text },
    ]);
  });

  it('reads .env.<environment>, and names what it lacks', async () => {
    const root = writeRepository([version(1)]);
    const { MEDPLUM_BASE_URL, MEDPLUM_CLIENT_SECRET: _secret } = process.env;
    delete process.env['MEDPLUM_CLIENT_SECRET'];
    writeFileSync(join(root, '.env.staging'), `MEDPLUM_CLIENT_SECRET=${ADMIN.secret}\n`);
    const { stdout } = await call(root, PLAN, '--env', 'staging');
    expect(stdout).toContain(`staging: ${MEDPLUM_BASE_URL}`);
    const { stderr } = await call(root, PLAN, '--env', 'production');
    expect(stderr).toBe(
      'Error: Not set: MEDPLUM_CLIENT_SECRET. Write into .env.production (see .env.example), ' +
        'or set as variables.\n',
    );
  });
});

describe('npm run setup:bots', () => {
  it('prints plain lines without a terminal, and ends with 0', async () => {
    const root = writeRepository([version(1)]);
    const { code, stdout, stderr } = await call(root, SETUP);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/\+ sync-bot {2}new\n1 to create\.\n✓ sync-bot\nDone: sync-bot\.\n$/);
    expect((await call(root, SETUP)).stdout).toContain('1 unchanged.\nNothing to do.\n');
  });

  it('without a terminal, writes to a server on another machine only with --yes', async () => {
    const elsewhere = await startProxiedMedplum('elsewhere');
    const root = writeRepository([version(1)]);
    const refused = await command(root, SETUP).done;
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('there is no terminal to confirm it'),
    });
    expect(refused.stderr).toContain('-- --yes');
    expect(await all(elsewhere, 'Bot')).toEqual([]);
    expect(await command(root, SETUP, '--yes').done).toMatchObject({ code: 0 });
    expect(await all(elsewhere, 'Bot')).toHaveLength(1);
    await elsewhere.stop();
  });

  it('asks in a terminal, where all but yes is a no', async () => {
    const elsewhere = await startProxiedMedplum('elsewhere');
    const root = writeRepository([version(1)]);
    for (const answer of ['n\n', '\n', '\u0003', '\u0004']) {
      const { code, stdout } = await inTerminal(root, answer, {}, SETUP);
      expect(code).toBe(1);
      expect(stdout).toContain(
        `On \u001B[1m${elsewhere.baseUrl} (local)\u001B[22m: write this? [y/N] `,
      );
      expect(stdout).toMatch(/Error:\S* Nothing was written\.\r\n$/);
    }
    expect(await all(elsewhere, 'Bot')).toEqual([]);
    const { code, stdout } = await inTerminal(root, 'y\n', { NO_COLOR: '1' }, SETUP);
    expect(code).toBe(0);
    expect(stdout).toContain('✓ sync-bot');
    expect(stdout).toContain('Done: sync-bot.');
    expect(stdout).not.toMatch(/\u001B\[\d*m/);
    expect(await all(elsewhere, 'Bot')).toHaveLength(1);
    await elsewhere.stop();
  });

  it('names in a terminal the bot that failed, in colour', async () => {
    medplum.rule = ({ path }) =>
      path.endsWith('/$deploy') ? { status: 400, body: {} } : undefined;
    const { code, stdout } = await inTerminal(writeRepository([version(1)]), '', {}, SETUP);
    expect(code).toBe(1);
    expect(stdout).toContain('\u001B[31mx\u001B[39m sync-bot: POST Bot/');
    expect(stdout).toContain('\u001B[31mError:\u001B[39m sync-bot: POST Bot/');
  });

  it('refuses a concurrency that is not a number', async () => {
    expect(await call(writeRepository([version(1)]), SETUP, '--concurrency', '0')).toMatchObject({
      code: 1,
      stderr: 'Error: --concurrency 0: give a number from 1 to 99.\n',
    });
  });

  it('says where a server cannot be reached', async () => {
    // A port below 1024 is not given to another program of this machine; a freed one could be.
    signIn({ baseUrl: 'http://127.0.0.1:2/' }, ADMIN);
    expect(await call(writeRepository([version(1)]), SETUP)).toEqual({
      code: 1,
      stdout: '',
      stderr:
        'Error: http://127.0.0.1:2 cannot be reached (ECONNREFUSED). Start the local server: npm run local\n',
    });
  });
});

describe('npm run rollback', () => {
  const execute = async (): Promise<unknown> => {
    const form = new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: ADMIN.id,
      client_secret: ADMIN.secret,
    });
    const answer = await fetch(`${medplum.baseUrl}oauth2/token`, { method: 'POST', body: form });
    const token = (await answer.json()) as { access_token: string };
    const headers = {
      Authorization: `Bearer ${token.access_token}`,
      'Content-Type': 'application/fhir+json',
    };
    return (
      await fetch(`${medplum.baseUrl}fhir/R4/Bot/${(await bot()).id}/$execute`, {
        method: 'POST',
        headers,
        body: '{}',
      })
    ).json();
  };

  it('puts the code before this one back, and holds it until it is released', async () => {
    const root = writeRepository([{ ...version(1), runtimeVersion: 'vmcontext' }]);
    await run(medplum, root);
    await run(medplum, writeRepository([{ ...version(2), runtimeVersion: 'vmcontext' }], root));
    expect(await execute()).toEqual({ version: 2 });
    const { code, stdout } = await call(root, ROLLBACK, 'sync-bot');
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^sync-bot runs [0-9a-f]{16} again, with http-helpers@[0-9a-f]{12}\. It is held there until: /,
    );
    expect(await execute()).toEqual({ version: 1 });

    const held = await run(medplum, root);
    expect(held.lines.join()).toContain('= sync-bot  held, at ');
    expect(held.writes).toEqual([]);
    expect(await call(root, PLAN)).toMatchObject({ code: 0 });

    expect((await call(root, ROLLBACK, 'sync-bot', '--release')).stdout).toContain(
      'no longer held',
    );
    expect((await run(medplum, root)).changed).toEqual(['sync-bot']);
    expect(await execute()).toEqual({ version: 2 });
  });

  it('lists earlier versions, and rolls back to one by its first characters', async () => {
    const root = writeRepository([version(1)]);
    await run(medplum, root);
    medplum.rule = ({ path }) => (path.endsWith('/$deploy') ? { status: 400 } : undefined);
    await run(medplum, writeRepository([version(2)], root));
    medplum.rule = () => undefined;
    await run(medplum, writeRepository([version(3)], root));
    const { stdout } = await call(root, ROLLBACK, 'sync-bot', '--list');
    const hash = (number: number): string =>
      createHash('sha256').update(version(number).code!).digest('hex').slice(0, 16);
    expect(stdout.match(/[0-9a-f]{16} /g)?.map((found) => found.trim())).toEqual([
      hash(3),
      hash(1),
    ]);
    const [, newest, oldest] = stdout.split('\n');
    expect(newest).toMatch(/ http-helpers@[0-9a-f]{12} +now$/);
    expect(oldest).not.toContain('@');
    expect((await call(root, ROLLBACK, 'sync-bot', '--to', hash(1).slice(0, 6))).code).toBe(0);
    expect((await bot()).executableCode?.title).toBe(`sync-bot.${hash(1)}.cjs`);
    expect(await call(root, ROLLBACK, 'sync-bot', '--to', 'ffff')).toMatchObject({
      code: 1,
      stderr:
        'Error: sync-bot has no version beginning with ffff. ' +
        'See: npm run rollback -- sync-bot --list\n',
    });
  });

  it('is finished by a second one where $deploy failed, and until then is no "held"', async () => {
    const root = writeRepository([version(1)]);
    await run(medplum, root);
    await run(medplum, writeRepository([version(2)], root));
    medplum.rule = ({ path }) => (path.endsWith('/$deploy') ? { status: 400 } : undefined);
    expect((await call(root, ROLLBACK, 'sync-bot')).code).toBe(1);
    medplum.rule = () => undefined;
    const { stdout, code } = await call(root, PLAN);
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /! sync-bot {2}blocked, its rollback did not finish; run it again: npm run rollback -- sync-bot --to \S+\n/,
    );
    expect((await call(root, ROLLBACK, 'sync-bot')).code).toBe(0);
    expect((await call(root, PLAN)).code).toBe(0);
  });

  it('a second time says that it is held already, and lets go of it once', async () => {
    const root = writeRepository([version(1)]);
    for (const number of [1, 2, 3]) {
      await run(medplum, writeRepository([version(number)], root));
    }
    const { stdout } = await call(root, ROLLBACK, 'sync-bot');
    const [held] = /[0-9a-f]{16}/.exec(stdout)!;
    expect(await call(root, ROLLBACK, 'sync-bot')).toMatchObject({
      code: 0,
      stdout: `sync-bot is held at ${held} already. For another version add: --to <version>\n`,
    });
    expect(await call(root, ROLLBACK, 'sync-bot', '--release')).toMatchObject({ code: 0 });
    expect(await call(root, ROLLBACK, 'sync-bot', '--release')).toMatchObject({
      code: 0,
      stdout: 'sync-bot is not held: nothing to do.\n',
    });
  });

  it('names a held bot that was renamed by the name that the server has', async () => {
    const root = writeRepository([version(1)]);
    for (const number of [1, 2]) {
      await run(medplum, writeRepository([version(number)], root));
    }
    expect((await call(root, ROLLBACK, 'sync-bot')).code).toBe(0);
    writeRepository([{ ...version(2), name: 'new-bot', previousNames: ['sync-bot'] }], root);
    const { stdout } = await call(root, PLAN);
    expect(stdout).toContain('= new-bot  held, at ');
    expect(stdout).toContain('to end that: npm run rollback -- sync-bot --release');
    expect((await call(root, ROLLBACK, 'sync-bot', '--release')).code).toBe(0);
    expect((await call(root, PLAN)).stdout).toContain('~ new-bot  renamed (was sync-bot)');
  });

  it('does not take code that another tool has deployed for its own', async () => {
    const root = writeRepository([version(1)]);
    await run(medplum, root);
    const made = await bot();
    const executableCode = { ...made.executableCode, title: 'sync-bot.0123456789abcdef.cjs' };
    await medplum.server.repository.updateResource({ ...made, executableCode } as Bot);
    expect((await call(root, ROLLBACK, 'sync-bot')).code).toBe(0);
    expect((await bot()).executableCode?.title).toBe(made.executableCode?.title);
  });

  it('says that the bot does not exist, or has no earlier version', async () => {
    const root = writeRepository([version(1)]);
    expect(await call(root, ROLLBACK, 'sync-bot')).toMatchObject({
      code: 1,
      stderr: 'Error: sync-bot is not deployed to local.\n',
    });
    await run(medplum, root);
    expect((await call(root, ROLLBACK, 'sync-bot')).stderr).toContain(
      'sync-bot has no earlier version.',
    );
    expect((await call(root, ROLLBACK, 'snyc-bot')).stderr).toBe(
      'Error: snyc-bot is not deployed to local. Did you mean "sync-bot"?\n',
    );
  });
});

describe('npm run secrets', () => {
  const file = (root: string, text: string): void =>
    writeFileSync(join(root, '.env.local.secrets'), text);

  it('adds and replaces single secrets, keeps the others, and never prints a value', async () => {
    const root = writeRepository([]);
    file(root, 'HAPI_BASE_URL=https://one.example\nTOKEN=topsecret1\n');
    expect((await call(root, SECRETS, 'push', '.env.local.secrets')).code).toBe(0);
    file(root, 'HAPI_BASE_URL=https://one.example\nTOKEN="topsecret2 = #"\nMORE=x\n');
    const { code, stdout, stderr } = await call(root, SECRETS, 'push', '.env.local.secrets');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('  HAPI_BASE_URL  unchanged\n+ MORE  new\n~ TOKEN  replaced\n');
    expect(stdout).not.toContain('topsecret');
    expect(await secretsOf()).toEqual({
      HAPI_BASE_URL: 'https://one.example',
      TOKEN: 'topsecret2 = #',
      MORE: 'x',
    });
    expect((await call(root, SECRETS, 'push', '.env.local.secrets')).stdout).toContain(
      'Nothing to do.',
    );
  });

  it('loses nothing that another client adds at the same moment', async () => {
    const root = writeRepository([]);
    file(root, 'TOKEN=1\n');
    let added = false;
    medplum.rule = async ({ method }) => {
      if (method === 'PATCH' && !added) {
        added = true;
        const project = await medplum.server.repository.readResource<Project>('Project', PROJECT);
        await medplum.server.repository.updateResource({
          ...project,
          secret: [{ name: 'THEIRS', valueString: 'x' }],
        });
      }
      return undefined;
    };
    expect((await call(root, SECRETS, 'push', '.env.local.secrets')).code).toBe(0);
    expect(await secretsOf()).toEqual({ THEIRS: 'x', TOKEN: '1' });
  });

  it('refuses an empty value, a missing file, and credentials without the right', async () => {
    const root = writeRepository([]);
    file(root, 'TOKEN=\n');
    expect((await call(root, SECRETS, 'push', '.env.local.secrets')).stderr).toContain(
      'TOKEN has no value',
    );
    expect((await call(root, SECRETS, 'push', 'none')).stderr).toContain('none cannot be read');
    expect((await call(root, SECRETS)).stderr).toContain('push [options] <file>');
    file(root, 'TOKEN=1\n');
    signIn(medplum, NO_ADMIN);
    expect((await call(root, SECRETS, 'push', '.env.local.secrets')).stderr).toContain(
      'Only a project admin',
    );
  });
});

describe('npm run import', () => {
  it('adopts a bot with its settings and subscriptions; what runs is unchanged', async () => {
    const { repository } = medplum.server;
    const made = await repository.createResource<Bot>({
      resourceType: 'Bot',
      name: 'Legacy Sync',
      runtimeVersion: 'vmcontext',
      timeout: 20,
      cronString: '0 3 * * *',
    });
    const channel = { type: 'rest-hook' as const, endpoint: `Bot/${made.id}`, header: ['X-A: b'] };
    await repository.createResource({
      resourceType: 'Subscription',
      status: 'active',
      reason: 'x',
      criteria: 'Patient',
      channel,
    });
    const root = writeRepository([]);
    const { code, stdout, stderr } = await call(root, IMPORT, 'Legacy Sync');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(
      `Bot/${made.id} is local/legacy-sync from now on, ` +
        'with 1 subscriptions in medplum.config.json.',
    );
    const { bots } = JSON.parse(readFileSync(join(root, 'medplum.config.json'), 'utf8'));
    expect(bots).toEqual([
      {
        name: 'legacy-sync',
        runtimeVersion: 'vmcontext',
        timeout: 20,
        cron: '0 3 * * *',
        source: 'src/bots/legacy-sync.ts',
        dist: 'dist/bots/legacy-sync.js',
        subscriptions: [{ criteria: 'Patient', headers: ['X-A: b'] }],
      },
    ]);
    const now = await repository.readResource<Bot>('Bot', made.id);
    expect(now.identifier).toEqual([
      { system: 'urn:medplum-bots:test', value: 'local/legacy-sync' },
    ]);
    writeRepository([...bots], root);
    const { lines } = await run(medplum, root);
    expect(lines[1]).toMatch(
      /^~ legacy-sync {2}settings \(name: Legacy Sync -> legacy-sync\), code \(it has none yet\), membership.*subscription \(adopted: Patient\)$/,
    );
    expect(await all(medplum, 'Subscription')).toHaveLength(1);
  });

  it('adopts by id with a single write, and leaves the code as it is', async () => {
    const { repository } = medplum.server;
    const executableCode = { contentType: 'text/javascript', url: 'Binary/1', title: 'index.cjs' };
    for (const name of ['twin', 'twin']) {
      await repository.createResource<Bot>({ resourceType: 'Bot', name, executableCode });
    }
    const [made] = await all<Bot>(medplum, 'Bot');
    const root = writeRepository([]);
    medplum.requests.length = 0;
    expect((await call(root, IMPORT, made!.id!, '--env', 'local')).code).toBe(0);
    expect(medplum.requests.filter(isWrite).map(({ method, path }) => `${method} ${path}`)).toEqual(
      [`PATCH Bot/${made!.id}`],
    );
    const now = await repository.readResource<Bot>('Bot', made!.id!);
    expect(now.executableCode?.title).toBe('index.cjs');
    expect(now.identifier).toEqual([{ system: 'urn:medplum-bots:test', value: 'local/twin' }]);
  });

  it('does not read a source over http, where it could be changed on the way', async () => {
    await medplum.server.repository.createResource<Bot>({
      resourceType: 'Bot',
      name: 'far',
      sourceCode: { contentType: 'text/typescript', url: 'HTTP://192.0.2.1/index.ts' },
    });
    const root = writeRepository([]);
    const { code, stdout } = await call(root, IMPORT, 'far');
    expect(code).toBe(0);
    expect(stdout).toContain('begins with http. It was not read');
    expect(existsSync(join(root, 'src/bots/far.ts'))).toBe(false);
  });

  it('asks for an id where a name stands twice, and refuses what it cannot find', async () => {
    for (const _ of [1, 2]) {
      await medplum.server.repository.createResource<Bot>({ resourceType: 'Bot', name: 'twin' });
    }
    const root = writeRepository([]);
    expect((await call(root, IMPORT, 'twin')).stderr).toMatch(
      /^Error: Several bots have this name\. Give an id: \S+, \S+\n$/,
    );
    expect((await call(root, IMPORT, 'no-such-bot')).stderr).toContain(
      'no Bot with the name or id no-such-bot',
    );
  });
});

describe('npm run doctor', () => {
  it('finds nothing wrong after a deployment, and writes nothing', async () => {
    const root = writeRepository([{ ...version(1), accessPolicy: [{ resourceType: 'Patient' }] }]);
    await run(medplum, root);
    const first = medplum.requests.length;
    const { code, stdout } = await call(root, DOCTOR);
    expect(code).toBe(0);
    expect(stdout).toContain('✓ sync-bot is as it should be');
    expect(stdout).not.toMatch(/^[x!]/m);
    expect(
      medplum.requests
        .slice(first)
        .filter(({ method, path }) => method !== 'GET' && path !== '' && path !== 'oauth2/token'),
    ).toEqual([]);
  });

  it('names each problem and how to fix it', async () => {
    const { repository } = medplum.server;
    await run(medplum, writeRepository([version(1), { name: 'old-bot' }]));
    const subscription = { resourceType: 'Subscription', status: 'active', reason: 'x' } as const;
    await repository.createResource({
      ...subscription,
      criteria: 'Patient',
      channel: { type: 'rest-hook', endpoint: 'Bot/deleted-bot' },
    });
    await repository.createResource({
      ...subscription,
      criteria: 'Patiend',
      channel: { type: 'rest-hook', endpoint: 'https://example.com' },
    });
    const root = writeRepository([{ ...version(2), secrets: ['TOKEN'] }]);
    const { code, stdout } = await call(root, DOCTOR);
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^x The project has no secret TOKEN \(for sync-bot\)\. .*npm run secrets -- push/m,
    );
    const removal =
      'npx @medplum/cli delete Subscription/\\S+ \\(with the variables of \\.env\\.local\\)$';
    expect(stdout).toMatch(
      new RegExp(`^! Subscription/\\S+ starts Bot/deleted-bot, which is gone: ${removal}`, 'm'),
    );
    expect(stdout).toMatch(
      new RegExp(
        `^x Subscription/\\S+ never fires, as "Patiend" is not a resource type: ${removal}`,
        'm',
      ),
    );
    expect(stdout).toMatch(/^! sync-bot: code \(.*npm run setup:bots$/m);
    expect(stdout).toMatch(/^! old-bot: no longer in medplum\.config\.json.*--prune/m);
  });

  it('names memberships, failures and bots of other tools', async () => {
    const { repository } = medplum.server;
    const root = writeRepository([version(1), { name: 'gone-bot' }]);
    await run(medplum, root);
    const gone = (await all<Bot>(medplum, 'Bot')).find(({ name }) => name === 'gone-bot');
    await repository.deleteResource('Bot', gone!.id!);
    const members = await all<ProjectMembership>(medplum, 'ProjectMembership');
    const reference = `Bot/${(await bot()).id}`;
    const member = members.find(({ profile }) => profile.reference === reference);
    await repository.deleteResource('ProjectMembership', member!.id!);
    const theirs = await repository.createResource<Bot>({ resourceType: 'Bot', name: 'Theirs' });
    const recorded = new Date().toISOString();
    await repository.createResource({
      resourceType: 'AuditEvent',
      outcome: '4',
      recorded,
      agent: [{ requestor: false }],
      source: { observer: { display: 'x' } },
      type: { system: 'https://medplum.com/CodeSystem/audit-event', code: 'execute' },
      entity: [{ what: { reference } }],
    } as AuditEvent);
    const { code, stdout } = await call(root, DOCTOR, '--env', 'local');
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^! ProjectMembership\/\S+ is of Bot\/\S+, which is gone: npx @medplum\/cli delete/m,
    );
    expect(stdout).toMatch(
      /^x sync-bot: membership \(missing: no event would run it\): npm run setup:bots$/m,
    );
    expect(stdout).toMatch(/^! gone-bot is not deployed yet: npm run setup:bots$/m);
    expect(stdout).toContain(
      `✓ bots from elsewhere: Theirs (${theirs.id}); to adopt one: npm run import -- <id>`,
    );
    expect(stdout).toMatch(
      /^x sync-bot failed once in 24 hours, last at \S+: npm run logs -- sync-bot --failed$/m,
    );
    expect(stdout).toMatch(/^✓ secrets of the project: none$/m);
  });

  it('names the commands of another environment, and what its project lacks', async () => {
    const { repository } = medplum.server;
    const { MEDPLUM_BASE_URL } = process.env;
    await run(medplum, writeRepository([version(1)]), { environment: 'staging' });
    const project = await repository.readResource<Project>('Project', PROJECT);
    await repository.updateResource({ ...project, features: [] });
    const root = writeRepository([{ ...version(2), cron: '0 3 * * *' }]);
    const { code, stdout } = await call(root, DOCTOR, '--env', 'staging');
    expect(code).toBe(1);
    expect(stdout).toContain(
      `✓ ${MEDPLUM_BASE_URL} accepts the credentials, and their project is ${PROJECT}`,
    );
    expect(stdout).toMatch(/^x The project lacks the feature "bots"/m);
    expect(stdout).toMatch(
      /^! The project lacks the feature "cron": no schedule will start sync-bot\.$/m,
    );
    expect(stdout).toMatch(/^! sync-bot: .*npm run setup:bots -- --env staging$/m);
    signIn(medplum, NO_ADMIN);
    const other = await call(root, DOCTOR, '--env', 'staging');
    expect(other.stdout).toMatch(/^! These credentials are not of a project admin/m);
    signIn(medplum, { ...ADMIN, secret: 'wrong' });
    const refused = await call(root, DOCTOR, '--env', 'staging');
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Check .env.staging'),
    });
  });

  it('names ten bots from elsewhere, and counts the others', async () => {
    for (let number = 1; number <= 12; number++) {
      await medplum.server.repository.createResource<Bot>({
        resourceType: 'Bot',
        name: `theirs-${number}`,
      });
    }
    const { stdout } = await call(writeRepository([]), DOCTOR);
    expect(stdout).toMatch(
      /^✓ bots from elsewhere: (theirs-\d+ \(\S+\),? ){10}and 2 more; to adopt one: /m,
    );
  });

  it('names the settings that the version of the server lacks', async () => {
    const jobs = [{ name: 'nightly', cron: '0 3 * * *' }];
    const root = writeRepository([
      { ...version(1), rawBody: true },
      { name: 'cron-bot', cronJobs: jobs },
    ]);
    const { code, stdout } = await call(root, DOCTOR);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^✓ Medplum 5\.1\.\d+\S*$/m);
    expect(stdout).toMatch(
      /^! sync-bot has "rawBody", which Medplum 5\.1\.\S+ does not know: it needs 5\.2$/m,
    );
    expect(stdout).toMatch(/^! cron-bot has "cronJobs", which Medplum 5\.1\.\S+ does not know/m);

    medplum.rule = ({ path }) =>
      path === 'healthcheck' ? { status: 200, body: { version: '5.2.13-1a2b3c4' } } : undefined;
    const newer = await call(root, DOCTOR);
    expect(newer.stdout).toMatch(/^✓ Medplum 5\.2\.13-1a2b3c4$/m);
    expect(newer.stdout).not.toContain('does not know');
  });

  it('still looks at the server where dist/ is missing', async () => {
    const root = writeRepository([version(1)]);
    rmSync(join(root, 'dist'), { recursive: true });
    const { code, stdout } = await call(root, DOCTOR);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^x dist\/manifest\.json is missing.*npm run build$/m);
    expect(stdout).toMatch(/^✓ 0 of 1000 active subscriptions$/m);
  });
});

describe('npm run logs', () => {
  async function failingBot(runtimeVersion: string, message: string): Promise<string> {
    const root = writeRepository([
      { name: 'sync-bot', runtimeVersion, subscriptions: [{ criteria: 'Patient' }] },
    ]);
    const source = `import { fail } from '../shared/fail.ts';

export async function handler(): Promise<void> {
  fail('${message}');
}
`;
    writeFileSync(join(root, 'src/bots/sync-bot.ts'), source);
    mkdirSync(join(root, 'src/shared'), { recursive: true });
    writeFileSync(
      join(root, 'src/shared/fail.ts'),
      '// a comment\nexport function fail(text: string): never {\n  throw new Error(text);\n}\n',
    );
    const footer = { js: 'Object.assign(exports, module.exports);' };
    const outfile = join(root, 'dist/bots/sync-bot.js');
    await build({
      entryPoints: [join(root, 'src/bots/sync-bot.ts')],
      outfile,
      bundle: true,
      platform: 'node',
      format: 'cjs',
      minify: true,
      sourcemap: true,
      footer,
    });
    const manifest = JSON.parse(readFileSync(join(root, 'dist/manifest.json'), 'utf8'));
    const bundle = readFileSync(outfile);
    manifest.bots['sync-bot'].sha256 = createHash('sha256').update(bundle).digest('hex');
    manifest.bots['sync-bot'].sources = {};
    writeFileSync(join(root, 'dist/manifest.json'), JSON.stringify(manifest));
    expect((await run(medplum, root)).failed).toEqual([]);
    const ran = new Promise((resolve) => medplum.server.events.once('run', resolve));
    await medplum.server.repository.createResource({ resourceType: 'Patient' });
    await ran;
    return root;
  }

  it.each(['vmcontext', 'awslambda'])(
    'shows a failed run on %s with the lines of the sources',
    async (runtime) => {
      const root = await failingBot(runtime, 'no server');
      const { code, stdout, stderr } = await call(root, LOGS, 'sync-bot', '--failed');
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toMatch(/^\d{4}-\S+ {2}sync-bot {2}failed {2}[0-9a-f]{16} {2}Patient\/\S+\n/);
      expect(stdout).toContain('no server');
      expect(stdout).toMatch(
        /^ {2}Error: no server\n {2}at src\/shared\/fail\.ts:3:\d+\n {4}3 \| throw new Error\(text\);$/m,
      );
      expect(stdout).toMatch(/ at .*src\/shared\/fail\.ts:3:\d+/);
      expect(stdout).toMatch(/ at .*src\/bots\/sync-bot\.ts:4:\d+/);
    },
  );

  it('says so where dist/ holds another build than the one that ran', async () => {
    const root = await failingBot('vmcontext', 'no server');
    expect(existsSync(join(root, 'dist/bots/sync-bot.js.map'))).toBe(true);
    writeRepository([version(9)], root);
    const { stdout } = await call(root, LOGS, '--failed');
    expect(stdout).not.toContain('fail.ts:3');
    expect(stdout).toContain('dist/ holds another build than the one that ran');
  });

  it('says where no bot is deployed', async () => {
    const { code, stderr } = await call(writeRepository([version(1)]), LOGS);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: 'Error: No bot of this repository is deployed to local.\n',
    });
  });

  it('refuses a name that is not deployed', async () => {
    await run(medplum, writeRepository([version(1)]));
    const root = writeRepository([version(1)]);
    expect(await call(root, LOGS, 'sync-bto')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Did you mean "sync-bot"?'),
    });
    expect((await call(root, LOGS)).stdout).toBe('No runs yet.\n');
    expect(await call(root, LOGS, 'sync-bot', 'other-bot')).toMatchObject({
      code: 1,
      stderr:
        "Error: too many arguments for 'logs'. Expected 1 argument but got 2: sync-bot, " +
        'other-bot. See: npx medplum-bots logs --help\n',
    });
  });
});
