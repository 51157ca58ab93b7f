// Runs a command: its flags, its exit code, and errors of one line.
import type { Command, Option } from 'commander';
import { CommanderError } from 'commander';
import { styleText } from 'node:util';
import useCompileCache from '../bin/compile-cache.cjs';
import { oneLine, printable } from './terminal/output.ts';
import { UserError } from './terminal/user-error.ts';

/**
 * Runs the command line that this process was started with, prints an error in one line and sets
 * the exit code.
 *
 * @param create - returns the program; errors while it is loaded are reported like its own
 */
export async function runCommandLine(create: () => Command | Promise<Command>): Promise<void> {
  useCompileCache();
  // A reader that closes early (`npm run logs | head`) is not an error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? 0 : 1);
  });
  try {
    const program = await create();
    setConventions(program);
    await program.parseAsync();
  } catch (error) {
    process.exitCode = reportError(error);
  }
}

/** What all commands have in common, also those below another one, such as `secrets push`. */
function setConventions(command: Command): void {
  command
    .helpOption('-h, --help', 'Show this help')
    .helpCommand(false)
    .showSuggestionAfterError()
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({
      outputError: (text, write) => write(`${errorLabel()} ${usageError(text, command)}\n`),
    })
    .hook('preAction', (_, action) => {
      refuseFlagsKeptByNpm(action);
      refuseRepeatedFlags(action);
    });
  command.commands.forEach(setConventions);
}

/** Commander's `error: unknown option '--x'\n(Did you mean --y?)` as one line with a hint. */
function usageError(text: string, command: Command): string {
  const message = oneLine(text.replace(/^error: /, '')).replace(/\.$/, '');
  return `${message}. See: ${fullNameOf(command)} --help`;
}

/** `npx medplum-bots secrets push` */
function fullNameOf(command: Command): string {
  const names = [];
  for (let current: Command | null = command; current; current = current.parent) {
    names.unshift(current.name());
  }
  return names.join(' ');
}

/** Errors of the file system that a user can fix. */
const FILE_ERRORS: Record<string, string> = {
  EACCES: 'permission denied',
  EDQUOT: 'your share of the disk is used up',
  ENOSPC: 'there is no space left on the disk',
  EPERM: 'the operation is not permitted',
  EROFS: 'the file system is read-only',
};

/** @returns the exit code */
function reportError(error: unknown): number {
  if (error instanceof CommanderError) {
    return error.exitCode; // commander has printed it
  }
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof UserError) {
    // Several errors are several lines, each complete in itself.
    for (const line of message.split('\n')) {
      console.error(`${errorLabel()} ${printable(line)}`);
    }
    return 1;
  }
  const { code = '', path = 'A file' } = error as NodeJS.ErrnoException;
  const reason = FILE_ERRORS[code];
  if (reason !== undefined) {
    console.error(`${errorLabel()} ${path} could not be read or written: ${reason}.`);
    return 1;
  }
  console.error(`${errorLabel()} ${printable(message.split('\n')[0] ?? '')}`);
  console.error(
    process.env['DEBUG']
      ? error
      : 'This is unexpected. Set DEBUG=1 in the environment to see the stack trace.',
  );
  return 1;
}

function errorLabel(): string {
  return styleText('red', 'Error:', { stream: process.stderr });
}

/**
 * `npm run plan --json` (without the two dashes before the flag) gives the flag to npm, and the
 * command never sees it.
 *
 * @throws UserError that names the flag
 */
function refuseFlagsKeptByNpm(command: Command): void {
  const given = givenFlags();
  const kept = command.options.find(
    (option) => option.long && !given.includes(option.long) && isKeptByNpm(option),
  );
  if (kept) {
    const script = process.env['npm_lifecycle_event'] ?? '<script>';
    throw new UserError(
      `npm took ${kept.long} for itself. Write two dashes before it: ` +
        `npm run ${script} -- ${kept.long}`,
    );
  }
}

/**
 * npm tells a script which flags npm itself took, in variables named npm_config_… (empty or
 * "false": not set).
 */
function isKeptByNpm(option: Option): boolean {
  const variable = `npm_config_${option.long?.slice(2).replaceAll('-', '_')}`;
  return !['', 'false'].includes(process.env[variable] ?? '');
}

/** @throws UserError where a flag is given twice, as only the last would count */
function refuseRepeatedFlags(command: Command): void {
  const given = givenFlags();
  for (const { long, variadic, parseArg } of command.options as (Option & {
    parseArg?: unknown;
  })[]) {
    const isList = variadic || parseArg === collect;
    if (long && !isList && given.indexOf(long) !== given.lastIndexOf(long)) {
      throw new UserError(
        `${long} was given more than once. Give it once: only the last would count.`,
      );
    }
  }
}

function givenFlags(): string[] {
  return process.argv.map((argument) => argument.split('=')[0] ?? '');
}

/**
 * Parser of an option that may be given several times:
 * `.option('--fault <fault>', '…', collect, [])`.
 */
export function collect(value: string, previous: string[]): string[] {
  return [...previous, value];
}
