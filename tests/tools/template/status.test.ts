// `npm run template -- status`, in repositories with a history of their own.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isNewer, newestVersion, readRenames } from '../../tools/src/template/status.ts';

const ENV = {
  ...process.env,
  NO_COLOR: '1',
  GIT_AUTHOR_NAME: 'Tester',
  GIT_AUTHOR_EMAIL: 'tester@example.invalid',
  GIT_COMMITTER_NAME: 'Tester',
  GIT_COMMITTER_EMAIL: 'tester@example.invalid',
};

let work: string;
let project: string;
let template: string;

beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'template-status-'));
  project = join(work, 'project');
  template = join(work, 'template');
  mkdirSync(project);
  mkdirSync(template);
});
afterEach(() => rmSync(work, { recursive: true, force: true }));

function git(folder: string, ...line: string[]): string {
  return execFileSync('git', line, { cwd: folder, encoding: 'utf8', env: ENV });
}

function commit(folder: string, message: string): void {
  git(folder, 'add', '--all');
  git(folder, 'commit', '--quiet', '--allow-empty', '--message', message);
}

function write(path: string, text: string): void {
  mkdirSync(dirname(join(project, path)), { recursive: true });
  writeFileSync(join(project, path), text);
}

const LONG = 'export const line = 1;\n'.repeat(20);
const FILES = {
  'README.md': 'readme\n',
  'src/bots/a-bot.ts': LONG,
  'src/bots/b-bot.ts': 'b\n',
  'tools/src/main.ts': 'main\n',
  'tsconfig.json': '{}\n',
};

/** A repository as the template wrote it, with a first commit. */
function generate(): void {
  const files: Record<string, string> = {};
  for (const [path, text] of Object.entries(FILES)) {
    write(path, text);
    files[path] = createHash('sha256').update(text).digest('hex');
  }
  const manifest = { address: template, version: '1.2.0', checkout: 'v1.2.0', files };
  write('tools/template.json', JSON.stringify(manifest));
  git(project, 'init', '--quiet');
  commit(project, 'From the template');
}

function publish(...versions: string[]): void {
  git(template, 'init', '--quiet');
  commit(template, 'A version');
  for (const version of versions) {
    git(template, 'tag', `v${version}`);
  }
}

function status(): string {
  const entry = resolve('tools/bin/medplum-bots.cjs');
  return execFileSync(process.execPath, [entry, 'template', 'status'], {
    cwd: project,
    encoding: 'utf8',
    env: ENV,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** The lines below a heading. */
function below(output: string, heading: RegExp): string[] {
  const lines = output.split('\n');
  const start = lines.findIndex((line) => heading.test(line));
  if (start === -1) {
    return [];
  }
  const end = lines.indexOf('', start);
  return lines.slice(start + 1, end).map((line) => line.trim());
}

describe('the files of the template', () => {
  it('are all as they were in a new repository', () => {
    generate();
    const output = status();
    expect(output).toContain('5 files are as the template wrote them.');
    expect(output).not.toMatch(/here|Changed/);
  });

  it('are listed where they were changed, renamed with edits, or deleted', () => {
    generate();
    write('README.md', 'ours\n');
    write('tools/src/main.ts', 'ours\n');
    rmSync(join(project, 'tsconfig.json'));
    git(project, 'mv', 'src/bots/a-bot.ts', 'src/bots/patients.ts');
    commit(project, 'Rename');
    git(project, 'mv', 'src/bots/patients.ts', 'src/bots/people.ts');
    write('src/bots/people.ts', `${LONG}// ours\n`);
    commit(project, 'Rename again');
    git(project, 'mv', 'src/bots/b-bot.ts', 'src/bots/c-bot.ts'); // staged only
    const output = status();
    expect(below(output, /^Changed here/)).toEqual(['README.md']);
    expect(below(output, /^Changed in tools/)).toEqual(['tools/src/main.ts']);
    expect(below(output, /^Renamed here/)).toEqual([
      'src/bots/a-bot.ts -> src/bots/people.ts',
      'src/bots/b-bot.ts -> src/bots/c-bot.ts',
    ]);
    expect(below(output, /^Missing here/)).toEqual(['tsconfig.json']);
    expect(output).toContain('0 files are as the template wrote them.');
  });

  it('count as missing if the renamed file was deleted later', () => {
    generate();
    git(project, 'mv', 'src/bots/a-bot.ts', 'src/bots/people.ts');
    commit(project, 'Rename');
    rmSync(join(project, 'src/bots/people.ts'));
    expect(below(status(), /^Missing here/)).toEqual(['src/bots/a-bot.ts']);
  });

  it('are found in signed commits, whatever git would print about the signature', () => {
    generate();
    git(project, 'mv', 'src/bots/a-bot.ts', 'src/bots/people.ts');
    commit(project, 'Rename');
    const signature = '-----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----';
    const signed = git(project, 'cat-file', 'commit', 'HEAD').replace(
      '\n\n',
      `\ngpgsig ${signature}\n\n`,
    );
    const line = ['hash-object', '-t', 'commit', '-w', '--stdin'];
    const id = execFileSync('git', line, { cwd: project, encoding: 'utf8', input: signed }).trim();
    git(project, 'reset', '--quiet', id);
    git(project, 'config', 'log.showSignature', 'true');
    expect([...readRenames(project)]).toEqual([['src/bots/a-bot.ts', 'src/bots/people.ts']]);
  });

  it('are found in a folder of a larger repository', () => {
    project = join(work, 'project', 'bots');
    mkdirSync(project);
    write('a.txt', LONG);
    git(work, 'init', '--quiet');
    commit(work, 'Start');
    git(project, 'mv', 'a.txt', 'b.txt');
    commit(work, 'Rename');
    expect([...readRenames(project)]).toEqual([['a.txt', 'b.txt']]);
  });

  it('need a manifest', () => {
    expect(() => status()).toThrow(
      /tools\/template\.json cannot be read\. Restore it with: git checkout/,
    );
  });
});

describe('a newer version', () => {
  it('is named, by number and not by letters', () => {
    generate();
    publish('1.2.0', '1.10.0', '1.9.0', '2.0.0-rc.1');
    expect(status()).toContain('Version 1.10.0 is newer.');
  });

  it('is not invented', () => {
    generate();
    publish('1.1.0', '1.2.0');
    expect(status()).toContain('This is the newest version.');
  });

  it('is unknown without an answer or without versions', () => {
    generate();
    expect(newestVersion(template)).toBeUndefined();
    expect(status()).toContain('Its newest version is not known');
    publish();
    expect(status()).toContain('Its newest version is not known');
  });

  it('is looked up where the repository follows the template', () => {
    generate();
    const fork = join(work, 'fork');
    mkdirSync(fork);
    git(fork, 'init', '--quiet');
    commit(fork, 'Fork');
    git(fork, 'tag', 'v3.0.0');
    expect(status()).toContain('This repository does not follow the template yet.');
    write('.cruft.json', JSON.stringify({ template: fork, commit: '1234abcd' }));
    const output = status();
    expect(output).toContain(`Template: ${fork} 1.2.0 (1234abcd)`);
    expect(output).toContain('Version 3.0.0 is newer.');
    expect(output).toContain('To update: uvx cruft update.');
  });

  it('is compared part by part', () => {
    expect(isNewer('1.0.10', '1.0.9')).toBe(true);
    expect(isNewer('1.0.9', '1.1.0')).toBe(false);
    expect(isNewer('1.1.0', '1.1.0')).toBe(false);
  });
});
