// What the tests of the build share: small repositories in a folder of their own, and commands run
// in them.
import { spawn } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { onTestFinished } from 'vitest';
import { runCommand } from './run-command.ts';
import type { CommandOutput } from './run-command.ts';
import { SHARED_TOOLS } from './shared-tools.ts';

/** The generated repository that these tests were copied into. */
const GENERATED = join(import.meta.dirname, '..');

/** What building needs of it, beside the tools. */
const PARTS = [
  'scripts',
  'esbuild-script.mjs',
  'package.json',
  'tsconfig.json',
  'oxlint.config.ts',
  '.prettierrc.json',
];

export const BOT = `export async function handler(): Promise<{ ok: boolean }> {
  return { ok: true };
}
`;

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface Project {
  root: string;
  /** Writes files; an empty text removes one. */
  write(files: Record<string, string>): void;
  /**
   * Writes medplum.config.json with an entry for each name; `settings` are added to all of them.
   */
  configure(names: string[], settings?: object): void;
  /** Runs Node in it. */
  node(...args: string[]): Promise<Outcome>;
  /** Runs a command of the tools in it, in the process of the test: `project.command('build')`. */
  command(name: string, ...args: string[]): Promise<CommandOutput>;
  remove(): void;
}

/** The linter leaves out what git ignores. */
const IGNORED = ['tools', 'scripts', '*.mjs', '*.config.ts'];

export interface ProjectOptions {
  /**
   * Whether its linter and type checker look at everything, as those of the generated repository
   * do. By default they look at src/ and tests/ only, which takes half of the time.
   */
  checksEverything?: boolean;
  /**
   * Whether its node_modules is a folder of its own, which finds no server that another test has
   * started. By default it is a link.
   */
  hasOwnPackages?: boolean;
}

/**
 * A repository with the build of the generated one.
 *
 * @param files - by path; each file in src/bots is a bot of its medplum.config.json
 * @param options - see ProjectOptions
 */
export function makeProject(
  files: Record<string, string>,
  { checksEverything = false, hasOwnPackages = false }: ProjectOptions = {},
): Project {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'project with spaces é-')));
  for (const part of PARTS) {
    cpSync(join(GENERATED, part), join(root, part), { recursive: true });
  }
  linkPackages(root, hasOwnPackages);
  if (checksEverything) {
    cpSync(join(SHARED_TOOLS, 'tools'), join(root, 'tools'), { recursive: true });
  } else {
    symlinkSync(join(SHARED_TOOLS, 'tools'), join(root, 'tools'), 'junction');
    writeFileSync(join(root, '.gitignore'), `${IGNORED.join('\n')}\n`);
    const config = JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8')) as object;
    const include = ['src', 'tests', 'tools/src/bundling/*.d.ts'];
    writeFileSync(join(root, 'tsconfig.json'), JSON.stringify({ ...config, include }));
  }
  const project: Project = {
    root,
    write: (texts) => {
      for (const [path, text] of Object.entries(texts)) {
        mkdirSync(dirname(join(root, path)), { recursive: true });
        if (text) {
          writeFileSync(join(root, path), text);
        } else {
          rmSync(join(root, path));
        }
      }
    },
    configure: (names, settings = {}) => {
      const bots = names.map((name) => ({
        name,
        source: `src/bots/${name}.ts`,
        dist: `dist/bots/${name}.js`,
        ...settings,
      }));
      project.write({
        'medplum.config.json': JSON.stringify(
          { identifierSystem: 'urn:medplum-bots:test', bots },
          null,
          2,
        ),
      });
    },
    node: (...args) => run(process.execPath, args, root),
    command: (name, ...args) => runCommand(root, `tools/bin/medplum-bots.cjs ${name}`, ...args),
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
  project.configure(
    Object.keys(files).flatMap((path) => /^src\/bots\/(.*)\.ts$/.exec(path)?.[1] ?? []),
  );
  project.write(files);
  return project;
}

function linkPackages(root: string, hasOwnPackages: boolean): void {
  const [packages, target] = [join(GENERATED, 'node_modules'), join(root, 'node_modules')];
  if (!hasOwnPackages) {
    symlinkSync(packages, target, 'junction');
    return;
  }
  mkdirSync(target);
  for (const name of readdirSync(packages).filter((entry) => !entry.startsWith('.'))) {
    symlinkSync(join(packages, name), join(target, name), 'junction');
  }
}

/** A project that goes away with the test that asks for it. */
export function projectForTest(files: Record<string, string>): Project {
  const project = makeProject(files);
  onTestFinished(() => project.remove());
  return project;
}

export async function run(
  command: string,
  args: string[],
  cwd: string,
  variables: object = {},
): Promise<Outcome> {
  const env = { ...process.env, NO_COLOR: '1', ...variables };
  const child = spawn(command, args, { cwd, env: env as NodeJS.ProcessEnv });
  const outcome = { stdout: '', stderr: '' };
  child.stdout.on('data', (data) => (outcome.stdout += data));
  child.stderr.on('data', (data) => (outcome.stderr += data));
  const code = await new Promise<number | null>((resolve, reject) =>
    child.on('close', resolve).on('error', reject),
  );
  // Where CI is set, oxlint writes in colour in spite of NO_COLOR.
  return {
    code,
    stdout: stripVTControlCharacters(outcome.stdout),
    stderr: stripVTControlCharacters(outcome.stderr),
  };
}
