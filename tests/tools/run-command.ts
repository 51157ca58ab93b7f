// Runs a command of the tools in this process: the same code as `npm run`, without the start of a
// process for each call.
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

/**
 * Runs a command as `npm run` would, and returns what it printed and its exit code. One command
 * runs at a time, because the working folder, the arguments and the console belong to the process.
 *
 * @param root - the repository, the command's working folder
 * @param script - a file of the repository, and the first words of its command line
 */
export function runCommand(
  root: string,
  script: string,
  ...args: string[]
): Promise<CommandOutput> {
  const result = previous.then(() => runAlone(root, script, args));
  previous = result.catch(() => undefined);
  return result;
}

async function runAlone(root: string, script: string, args: string[]): Promise<CommandOutput> {
  const [file = '', ...words] = script.split(' ');
  const { argv, exitCode } = process;
  const folder = process.cwd();
  const errorListeners = process.stdout.listeners('error');
  const output = captureOutput();
  process.chdir(root);
  process.argv = [process.execPath, join(ROOT, file), ...words, ...args];
  process.exitCode = undefined;
  try {
    await start(file);
    return { code: Number(process.exitCode ?? 0), ...output.texts };
  } finally {
    output.release();
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
  const { NO_COLOR } = process.env;
  globalThis.console = new Console(streams);
  process.env['NO_COLOR'] = '1';
  const release = (): void => {
    for (const spy of spies) {
      spy.mockRestore();
    }
    globalThis.console = original;
    if (NO_COLOR === undefined) {
      delete process.env['NO_COLOR'];
    } else {
      process.env['NO_COLOR'] = NO_COLOR;
    }
  };
  return { texts, release };
}
