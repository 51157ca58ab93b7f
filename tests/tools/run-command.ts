// Runs a command of the tools in this process: the same code as `npm run`, without the start of a
// process for each call.
import type { Command } from 'commander';
import { Console } from 'node:console';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { vi } from 'vitest';
import { runCommandLine } from '../tools/src/command-line.ts';
import { createProgram } from '../tools/src/program.ts';

const ROOT = join(import.meta.dirname, '..');
const MEDPLUM_BOTS = 'tools/bin/medplum-bots.cjs';

export interface CommandOutput {
  code: number;
  stdout: string;
  stderr: string;
}

let previous: Promise<unknown> = Promise.resolve();
let runs = 0;

/** What a process is started with. */
interface Start {
  /** The working folder. */
  root: string;
  /** The command line without Node. */
  line: string[];
  /** Environment variables, beside those of this process. */
  variables?: Record<string, string>;
}

/**
 * Runs a command as `npm run` would, and returns what it printed and its exit code.
 *
 * @param root - the repository, the command's working folder
 * @param script - a file of the repository, and the first words of its command line
 */
export function runCommand(
  root: string,
  script: string,
  ...args: string[]
): Promise<CommandOutput> {
  return runCommandWith({}, root, script, ...args);
}

/**
 * The same with environment variables.
 *
 * @param variables - an empty text is a variable that is not set
 */
export function runCommandWith(
  variables: Record<string, string>,
  root: string,
  script: string,
  ...args: string[]
): Promise<CommandOutput> {
  const [file = '', ...words] = script.split(' ');
  const line = [join(ROOT, file), ...words, ...args];
  return runAfterOthers({ root, line, variables }, () => start(file));
}

/**
 * Runs a program of a test as the tools run a command.
 *
 * @param create - returns the program, or throws what goes wrong while it is loaded
 * @param options - its working folder, its arguments, and environment variables
 */
export function runProgram(
  create: () => Command | Promise<Command>,
  {
    root = ROOT,
    args = [],
    variables = {},
  }: { root?: string; args?: string[]; variables?: Record<string, string> } = {},
): Promise<CommandOutput> {
  const line = [join(root, 'program.ts'), ...args];
  return runAfterOthers({ root, line, variables }, () => runCommandLine(create));
}

/**
 * One command runs at a time, because the working folder, the arguments and the console belong to
 * the process.
 */
function runAfterOthers(start: Start, run: () => Promise<void>): Promise<CommandOutput> {
  const result = previous.then(() => runAlone(start, run));
  previous = result.catch(() => undefined);
  return result;
}

async function runAlone(
  { root, line, variables }: Start,
  run: () => Promise<void>,
): Promise<CommandOutput> {
  const { argv, exitCode } = process;
  const folder = process.cwd();
  const errorListeners = process.stdout.listeners('error');
  const output = captureOutput();
  const resetVariables = setVariables({ NO_COLOR: '1', ...variables });
  process.chdir(root);
  process.argv = [process.execPath, ...line];
  process.exitCode = undefined;
  try {
    await run();
    return { code: Number(process.exitCode ?? 0), ...output.texts };
  } finally {
    output.release();
    resetVariables();
    process.chdir(folder);
    Object.assign(process, { argv, exitCode });
    for (const listener of process.stdout.listeners('error')) {
      if (!errorListeners.includes(listener)) {
        process.stdout.off('error', listener as () => void);
      }
    }
  }
}

/** Runs what the file would run if Node was started with it. */
async function start(file: string): Promise<void> {
  if (file === MEDPLUM_BOTS) {
    await runCommandLine(() => createProgram(process.argv[2]));
    return;
  }
  // A script runs while it is imported. The query makes it a module that was not imported before.
  runs += 1;
  await import(`${join(ROOT, file)}?run=${runs}`);
}

/** @returns a function that sets them as they were */
function setVariables(variables: Record<string, string>): () => void {
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, variables);
  return () => {
    for (const [name, value] of before) {
      if (value === undefined) {
        delete process.env[name];
      } else {
        process.env[name] = value;
      }
    }
  };
}

/** Collects what is written to the console and to the output of this process. */
function captureOutput(): { texts: { stdout: string; stderr: string }; release: () => void } {
  const texts = { stdout: '', stderr: '' };
  const collector = (name: 'stdout' | 'stderr'): Writable =>
    new Writable({
      write: (chunk, _encoding, done) => {
        texts[name] += String(chunk);
        done();
      },
    });
  const streams = { stdout: collector('stdout'), stderr: collector('stderr') };
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation((chunk) => streams[name].write(chunk)),
  );
  const { console: original } = globalThis;
  globalThis.console = new Console(streams);
  const release = (): void => {
    for (const spy of spies) {
      spy.mockRestore();
    }
    globalThis.console = original;
  };
  return { texts, release };
}
