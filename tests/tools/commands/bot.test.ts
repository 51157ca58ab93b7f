// `npm run bot`: one built bot on one event, from the command line.
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startLocal } from '../../tools/src/local-servers.ts';
import type { LocalServers } from '../../tools/src/local-servers.ts';

const NOBODY = 'http://127.0.0.1:9/';
let folder: string;
let servers: LocalServers;

const bundle = (body: string): string =>
  `exports.handler = async (medplum, event) => { ${body} };\n`;
const BOTS = {
  echo: bundle(
    "console.log('hello', event.input.id); return { secrets: Object.keys(event.secrets).sort(), bot: event.bot };",
  ),
  caller: bundle(`const base = event.secrets.HAPI_BASE_URL.valueString;
    await fetch(base + '/Patient/secret-id?identifier=secret-value');
    await medplum.readResource('Patient', 'b5a1c2d3-1111-4222-8333-444455556666').catch(() => undefined);
    return true;`),
  thrower: bundle("throw new Error('boom');"),
  looper: bundle('for (;;) {}'),
  unbuilt: '',
};

beforeAll(async () => {
  servers = await startLocal();
  folder = mkdtempSync(join(tmpdir(), 'bot-'));
  mkdirSync(join(folder, 'dist/bots'), { recursive: true });
  cpSync('tests/events', join(folder, 'tests/events'), { recursive: true });
  cpSync('.env.local', join(folder, '.env.local'));
  const bots = Object.entries(BOTS).map(([name, code]) => {
    if (code) writeFileSync(join(folder, `dist/bots/${name}.js`), code);
    const common = {
      name,
      source: `src/bots/${name}.ts`,
      dist: `dist/bots/${name}.js`,
      runtimeVersion: 'vmcontext',
    };
    return {
      ...common,
      timeout: 1,
      secrets: ['HAPI_BASE_URL', { name: 'MY_TOKEN', optional: true }],
    };
  });
  writeFileSync(
    join(folder, 'medplum.config.json'),
    JSON.stringify({ identifierSystem: 'urn:x', bots }),
  );
  writeFileSync(join(folder, 'broken.json'), '{');
  writeFileSync(join(folder, 'other.json'), '{}');
});
afterAll(async () => {
  await servers.stop();
  rmSync(folder, { recursive: true });
});

function bot(
  args: string[],
  env: Record<string, string> = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const options = {
    cwd: folder,
    env: { ...process.env, NO_COLOR: '1', MEDPLUM_BASE_URL: servers.medplum.baseUrl, ...env },
  };
  return new Promise((done) => {
    execFile(
      process.execPath,
      [resolve('tools/bin/medplum-bots.cjs'), 'bot', ...args],
      options,
      (error, stdout, stderr) => {
        done({ code: error ? Number(error.code) : 0, stdout, stderr });
      },
    );
  });
}

const CREATED = 'tests/events/patient-created.json';

describe('npm run bot', () => {
  it('prints result, log and time', async () => {
    const { code, stdout, stderr } = await bot(['echo', '--event', CREATED]);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toContain('log\nhello b5a1c2d3-1111-4222-8333-444455556666');
    expect(stdout).toMatch(/result {2}\{\n {2}"secrets": \[\n {4}"HAPI_BASE_URL"\n {2}\]/);
    expect(stdout).toMatch(/time {2}\d+ ms/);
  });

  it("prints the requests it made, without what could tell of a patient, with the local project's secrets", async () => {
    const { code, stdout } = await bot(['caller', '--event', CREATED]);
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`GET +${servers.fhir!.baseUrl}/Patient +404 +\\d+`));
    expect(stdout).toMatch(new RegExp(`GET +${servers.medplum.baseUrl}fhir/R4/Patient +404 +\\d+`));
    expect(stdout).not.toContain('secret-');
  });

  it('takes secrets from the environment before those of the project', async () => {
    const { stdout } = await bot(['echo', '--event', CREATED], { MY_TOKEN: 'x' });
    expect(stdout).toContain('"MY_TOKEN"');
    const elsewhere = await bot(['caller', '--event', CREATED], {
      HAPI_BASE_URL: 'http://127.0.0.1:1/elsewhere',
    });
    expect(elsewhere.code).toBe(1);
    expect(elsewhere.stdout).toContain('no answer');
  });

  it('fails with the error of the bot, and ends what never ends', async () => {
    const thrown = await bot(['thrower', '--event', CREATED]);
    expect([thrown.code, thrown.stderr]).toEqual([1, '']);
    expect(thrown.stdout).toContain('failed  Error: boom');
    const looped = await bot(['looper', '--event', CREATED]);
    expect(looped.code).toBe(1);
    expect(looped.stdout).toContain('Script execution timed out after 1000ms');
  });

  it('says that no Medplum is there, and runs nevertheless', async () => {
    const { code, stdout } = await bot(['echo', '--event', CREATED], { MEDPLUM_BASE_URL: NOBODY });
    expect(code).toBe(0);
    expect(stdout).toContain(`No Medplum answers at ${NOBODY}: start one with "npm run local"`);
  });

  it.each([
    [[], 'Which bot? npm run bot -- <name>'],
    [['ecko', '--event', CREATED], 'Did you mean "echo"?'],
    [['echo'], 'Which event? Add --event'],
    [['echo', '--event', 'nope.json'], 'nope.json is not there'],
    [['echo', '--event', 'broken.json'], 'broken.json is no JSON'],
    [['echo', '--event', 'other.json'], 'needs an "input"'],
    [['unbuilt', '--event', CREATED], 'npm run build'],
    [['echo', '--evnt', CREATED], "unknown option '--evnt' (Did you mean --event?)"],
  ])('%j is one line that says what to do', async (args, text) => {
    const { code, stdout, stderr } = await bot(args);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain(text);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});
