// npm run local, dev and demo as people run them: what they print, how they end, what they do on a
// change.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { LOCAL } from '../../tools/src/medplum/local-project.ts';
import { eventually } from '../medplum/support.ts';

const GENERATED = join(import.meta.dirname, '../..');
const SHARED = `export function greeting(): string { return 'hello'; }\n`;
const bot = (
  body: string,
  declarations = '',
): string => `import { greeting } from '../shared/greeting.ts';
${declarations}
export async function handler(): Promise<object> {
  ${body}
}
`;

let cleanups: (() => void)[] = [];
afterEach(() => {
  for (const clean of cleanups.toReversed()) {
    clean();
  }
  cleanups = [];
});

/**
 * A small repository with two bots that share a module and one that does not, and the tools of the
 * generated one.
 */
function repository(
  body = `return { said: greeting() };`,
  runtimeVersion = 'vmcontext',
): { root: string; write(path: string, text: string): void } {
  const root = mkdtempSync(join(tmpdir(), 'local-'));
  for (const part of ['esbuild-script.mjs', 'package.json', 'tsconfig.json', '.env.local']) {
    cpSync(join(GENERATED, part), join(root, part));
  }
  for (const part of ['tools', 'node_modules']) {
    symlinkSync(join(GENERATED, part), join(root, part), 'junction');
  }
  // As editors do it: a new file takes the place of the old one.
  const write = (path: string, text: string): void => {
    mkdirSync(join(root, path, '..'), { recursive: true });
    writeFileSync(join(root, `${path}.new`.replace('src/', '')), text, { flag: 'w' });
    renameSync(join(root, `${path}.new`.replace('src/', '')), join(root, path));
  };
  for (const folder of ['bots', 'shared']) {
    mkdirSync(join(root, folder));
  }
  write('src/shared/greeting.ts', SHARED);
  write('src/bots/one.ts', bot(body));
  write('src/bots/two.ts', bot('return { two: greeting() };'));
  write(
    'src/bots/three.ts',
    'export async function handler(): Promise<object> {\n  return {};\n}\n',
  );
  const bots = ['one', 'two', 'three'].map((name) => {
    const subscriptions = name === 'one' ? [{ criteria: 'Patient' }] : [];
    return {
      name,
      source: `src/bots/${name}.ts`,
      dist: `dist/bots/${name}.js`,
      runtimeVersion,
      subscriptions,
    };
  });
  writeFileSync(
    join(root, 'medplum.config.json'),
    JSON.stringify({ identifierSystem: 'urn:test:local', bots }),
  );
  // A server that was just stopped may still write.
  cleanups.push(() => rmSync(root, { recursive: true, force: true, maxRetries: 20 }));
  return { root, write };
}

interface Running {
  child: ChildProcess;
  printed: string;
  /** The exit code, once there is one. */
  ended: Promise<number | null>;
  /**
   * Waits until this was printed after what was printed so far, and returns the text from there.
   */
  next(pattern: RegExp): Promise<string>;
}

function start(root: string, command: string, ...args: string[]): Running {
  const env = { ...process.env, NO_COLOR: '1', MEDPLUM_BASE_URL: '' };
  const child = spawn(process.execPath, ['tools/bin/medplum-bots.cjs', command, ...args], {
    cwd: root,
    env,
  });
  cleanups.push(() => child.kill('SIGKILL'));
  let seen = 0;
  const running: Running = {
    child,
    printed: '',
    ended: new Promise((resolve) => child.on('exit', resolve)),
    next: async (pattern) => {
      const rest = await eventually(
        async () => running.printed.slice(seen),
        (text) => pattern.test(text),
      );
      expect(rest).toMatch(pattern);
      seen = running.printed.length;
      return rest;
    },
  };
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on('data', (data) => (running.printed += data));
  }
  return running;
}

const anyPorts = ['--port', '0', '--fhir-port', '0'];

describe('npm run local', () => {
  it('prints working addresses and credentials, and ends at once on SIGTERM', async () => {
    const local = start(GENERATED, 'local', ...anyPorts);
    const text = await local.next(/MEDPLUM_CLIENT_SECRET/);
    const [, medplum] = /(http:\/\/localhost:\d+\/)/.exec(text)!;
    const [, fhir] = /(http:\/\/127\.0\.0\.1:\d+\/fhir)/.exec(text)!;
    expect(await (await fetch(`${medplum}healthcheck`)).json()).toMatchObject({ ok: true });
    expect((await fetch(`${fhir}/metadata`)).status).toBe(200);
    const [, secret] = /MEDPLUM_CLIENT_SECRET +(\S+)/.exec(text)!;
    const pair = Buffer.from(`${LOCAL.clientId}:${secret}`).toString('base64');
    const headers = { Authorization: `Basic ${pair}` };
    const { project } = (await (await fetch(`${medplum}admin/projects/x`, { headers })).json()) as {
      project: { secret: object[] };
    };
    expect(project.secret).toEqual([{ name: 'HAPI_BASE_URL', valueString: fhir }]);
    local.child.kill('SIGTERM');
    expect(await local.ended).toBe(0);
  });

  it('has a new client secret at each start, which other commands find, on any port', async () => {
    const { root } = repository();
    const secretOf = (text: string): string => /MEDPLUM_CLIENT_SECRET +(\S+)/.exec(text)![1]!;
    const first = start(root, 'local', ...anyPorts);
    const second = start(root, 'local', ...anyPorts);
    const texts = [
      await first.next(/MEDPLUM_CLIENT_SECRET/),
      await second.next(/MEDPLUM_CLIENT_SECRET/),
    ];
    expect(secretOf(texts[0]!)).not.toBe(secretOf(texts[1]!));

    for (const text of texts) {
      const [address = ''] = /http:\/\/localhost:\d+\//.exec(text)!;
      writeFileSync(join(root, '.env.local'), `MEDPLUM_BASE_URL=${address}\n`);
      const logs = start(root, 'logs');
      expect(await logs.ended).toBe(1); // no bots; but the credentials were right
      expect(logs.printed).toContain('No bot of this repository is deployed to local');
    }
    const folder = join(root, 'node_modules/.cache/medplum-bots/local-servers');
    const files = readdirSync(folder);
    expect(files.length).toBeGreaterThanOrEqual(2);
    for (const file of files) {
      expect(statSync(join(folder, file)).mode & 0o077).toBe(0);
    }
    first.child.kill('SIGTERM');
    await first.ended;
    expect(readdirSync(folder)).toHaveLength(files.length - 1);
  });

  it('has the client secret of .env.local, where there is one', async () => {
    const { root } = repository();
    writeFileSync(join(root, '.env.local'), 'MEDPLUM_CLIENT_SECRET=chosen\n');
    const local = start(root, 'local', ...anyPorts);
    expect(await local.next(/MEDPLUM_CLIENT_SECRET/)).toMatch(/MEDPLUM_CLIENT_SECRET +chosen/);
  });

  it.each([
    ['--port', '--fhir-port'],
    ['--fhir-port', '--port'],
  ])('says in one line that %s is taken', async (flag, free) => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    cleanups.push(() => other.close());
    const { port } = other.address() as AddressInfo;
    const local = start(GENERATED, 'local', free, '0', flag, `${port}`);
    expect(await local.ended).toBe(1);
    const told =
      `Error: Port ${port} is taken: stop what uses it, or choose another with -- ${flag} ` +
      '(0 takes a free one).\n';
    expect(local.printed).toBe(told);
  });

  it.each([
    [
      ['--port', 'x'],
      'Error: --port x is not a port: give a number from 0 to 65535 (0 takes a free one).\n',
    ],
    [
      ['--prot', '1'],
      "Error: unknown option '--prot' (Did you mean --port?). " +
        'See: npx medplum-bots local --help\n',
    ],
    [['--fault', 'flood'], 'Error: "flood" is an unknown fault; use one of'],
  ])('refuses %j', async (args, told) => {
    const local = start(GENERATED, 'local', ...args);
    expect(await local.ended).toBe(1);
    expect(local.printed).toContain(told);
    expect(local.printed.trimEnd().split('\n')).toHaveLength(1);
  });

  it('switches faults on from the command line', async () => {
    const local = start(GENERATED, 'local', ...anyPorts, '--fault', '503:times=1');
    const [, fhir] = /(http:\/\/127\.0\.0\.1:\d+\/fhir)/.exec(
      await local.next(/MEDPLUM_CLIENT_SECRET/),
    )!;
    expect((await fetch(`${fhir}/Patient`)).status).toBe(503);
    expect((await fetch(`${fhir}/Patient`)).status).toBe(200);
  });
});

describe('npm run dev', () => {
  it('deploys only what changed, says why, and keeps the last good version', async () => {
    const { root, write } = repository();
    const dev = start(root, 'dev', ...anyPorts);
    const first = await dev.next(/Watching/);
    const [, medplum] = /(http:\/\/localhost:\d+\/)/.exec(first)!;
    expect(first.match(/^deployed \w+/gm)).toHaveLength(3);

    write('src/bots/two.ts', bot('return { two: 2, said: greeting() };'));
    expect(await dev.next(/deployed[^\n]*\n/)).toMatch(
      /^deployed two code \(src\/bots\/two\.ts changed\) \d+ ms\n$/,
    );

    write('src/shared/greeting.ts', SHARED.replace('hello', 'good day'));
    const both = await dev.next(/(deployed[^\n]*\n){2}/);
    expect(both).toMatch(/^deployed one code \(src\/shared\/greeting\.ts changed\)/m);
    expect(both).toMatch(/^deployed two code \(src\/shared\/greeting\.ts changed\)/m);
    expect(both).not.toContain('three');

    write('src/shared/greeting.ts', `export function greeting(): string { return 'broken; }\n`);
    const broken = await dev.next(/keeps running/);
    expect(broken).toContain('src/shared/greeting.ts:1:');
    expect(broken).toContain(`  1 | export function greeting(): string { return 'broken; }`);
    await fetch(`${medplum}_local/resources`, {
      method: 'POST',
      body: '{"resourceType":"Patient"}',
    });
    expect(await dev.next(/ran one create/)).not.toContain('threw');

    write('src/shared/greeting.ts', SHARED);
    expect((await dev.next(/(deployed[^\n]*\n){2}/)).match(/deployed/g)).toHaveLength(2);
  });

  it.each(['vmcontext', 'awslambda'])(
    'shows a stack that points into the sources, on %s',
    async (runtime) => {
      const { root } = repository(`const time = greeting();\n  throw new Error(time);`, runtime);
      const dev = start(root, 'dev', ...anyPorts);
      const [, medplum] = /(http:\/\/localhost:\d+\/)/.exec(await dev.next(/Watching/))!;
      await fetch(`${medplum}_local/resources`, {
        method: 'POST',
        body: '{"resourceType":"Patient"}',
      });
      const printed = await dev.next(/threw one create[^]*at .*handler.* \(.*\n/);
      expect(printed).toMatch(/at .*handler.* \(src\/bots\/one\.ts:5:9\)/);
      expect(printed).not.toContain('tools/src');
    },
  );
});

describe('npm run dev, beyond saving a file', () => {
  const config = (names: string[], secrets: string[] = []): string => {
    const bots = names.map((name) => {
      const common = { name, source: `src/bots/${name}.ts`, dist: `dist/bots/${name}.js` };
      return { ...common, runtimeVersion: 'vmcontext', secrets: name === 'one' ? secrets : [] };
    });
    return JSON.stringify({ identifierSystem: 'urn:test:local', bots });
  };

  it('lets only the bot wait that lacks a secret, until the secret is saved', async () => {
    const { root } = repository();
    writeFileSync(join(root, 'medplum.config.json'), config(['one', 'two', 'three'], ['API_KEY']));
    const dev = start(root, 'dev', ...anyPorts);
    const first = await dev.next(/Watching/);
    expect(first).toContain(
      'waiting one needs the secret API_KEY: write API_KEY=<value> into .env.local.secrets',
    );
    expect(first).toMatch(/deployed two new/);
    expect(first).not.toMatch(/deployed one/);
    writeFileSync(join(root, '.env.local.secrets'), 'API_KEY=x\n');
    expect(await dev.next(/deployed one/)).toContain('deployed one new');
  });

  it('removes a bot that is no longer in medplum.config.json', async () => {
    const { root } = repository();
    writeFileSync(join(root, 'medplum.config.json'), config(['one', 'two', 'three']));
    const dev = start(root, 'dev', ...anyPorts);
    await dev.next(/Watching/);
    rmSync(join(root, 'src/bots/three.ts'));
    writeFileSync(join(root, 'medplum.config.json'), config(['one', 'two']));
    expect(await dev.next(/removed three/)).toContain('is no longer in medplum.config.json');
  });

  it('continues when src/ is deleted and restored', async () => {
    const { root, write } = repository();
    writeFileSync(join(root, 'medplum.config.json'), config(['one', 'two', 'three']));
    const dev = start(root, 'dev', ...anyPorts);
    await dev.next(/Watching/);
    cpSync(join(root, 'src'), join(root, 'kept'), { recursive: true });
    rmSync(join(root, 'src'), { recursive: true });
    await dev.next(/keeps running/);
    cpSync(join(root, 'kept'), join(root, 'src'), { recursive: true });
    await dev.next(/no bundle changed|deployed/);
    write('src/bots/two.ts', bot('return { restored: greeting() };'));
    expect(await dev.next(/deployed two/)).toContain('src/bots/two.ts changed');
  });

  it('starts with the resources of a file', async () => {
    const { root } = repository();
    writeFileSync(join(root, 'seed.json'), '[{"resourceType":"Patient","active":true}]');
    const local = start(root, 'local', ...anyPorts, '--seed', 'seed.json');
    const text = await local.next(/Everything is in memory/);
    const [address = ''] = /http:\/\/localhost:\d+\//.exec(text)!;
    const [, secret] = /MEDPLUM_CLIENT_SECRET +(\S+)/.exec(text)!;
    const pair = Buffer.from(`${LOCAL.clientId}:${secret}`).toString('base64');
    const headers = { Authorization: `Basic ${pair}` };
    const found = await fetch(`${address}fhir/R4/Patient`, { headers });
    expect(((await found.json()) as { entry: unknown[] }).entry).toHaveLength(1);
  });
});

describe('npm run local --persist', () => {
  it('has the resources of an earlier start, and reads a seed only once', async () => {
    const { root } = repository();
    writeFileSync(join(root, 'seed.json'), '[{"resourceType":"Patient","active":true}]');
    const patients = async (): Promise<[local: Running, printed: string, count: number]> => {
      const local = start(root, 'local', ...anyPorts, '--seed', 'seed.json', '--persist', 'data');
      const text = await local.next(/Resources are kept/);
      const [address = ''] = /http:\/\/localhost:\d+\//.exec(text)!;
      const answer = await fetch(`${address}_local/resources/Patient`);
      const { total } = (await answer.json()) as { total: number };
      return [local, text, total];
    };
    const [first, printed, count] = await patients();
    expect([count, printed.includes('note')]).toEqual([1, false]);
    first.child.kill('SIGKILL');
    await first.ended;
    const [, printedLater, countLater] = await patients();
    expect(countLater).toBe(1);
    expect(printedLater).toContain('--seed was not read');
  });
});

describe('npm run demo', () => {
  it('builds what is not built, and ends well where the bot runs', async () => {
    const { root } = repository();
    const demo = start(root, 'demo');
    expect(await demo.ended).toBe(0);
    expect(demo.printed.match(/^✔ /gm)).toHaveLength(3);
    expect(demo.printed).toContain('Florence Nightingale, born 1820-05-12');
  });

  it('ends with 1 where the bot throws', async () => {
    const { root } = repository(`throw new Error(greeting());`);
    const demo = start(root, 'demo');
    expect(await demo.ended).toBe(1);
    expect(demo.printed).toContain('The bot did not follow every step.');
  });
});
