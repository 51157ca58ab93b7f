// The commands of `medplum-bots`: one file in commands/ is one command of that name.
import { Command } from 'commander';
import { readdirSync } from 'node:fs';
import { basename } from 'node:path';

const FOLDER = new URL('./commands/', import.meta.url);

/** The names of all commands: those of the template, and those that an overlay adds. */
function commandNames(): string[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith('.ts'))
    .map((file) => basename(file, '.ts'))
    .toSorted();
}

async function loadCommand(name: string): Promise<Command> {
  const module = (await import(new URL(`${name}.ts`, FOLDER).href)) as { command: Command };
  return module.command;
}

/**
 * Loads only the command that is wanted; all of them for the help, or where the name is wrong.
 *
 * @param wanted - the first argument of the command line
 */
export async function createProgram(wanted: string | undefined): Promise<Command> {
  const names = commandNames();
  const program = new Command('npx medplum-bots')
    .description('Builds, tests, tries and deploys the Medplum bots of this repository.')
    .addHelpText(
      'after',
      [
        '',
        'Most commands are npm scripts too: npm run build, npm run plan -- --env staging, …',
        'access, adopt and schema are not: npx medplum-bots access --help',
        '',
        'Exit codes: 0 it worked, 1 it failed, 2 "plan" found something to change.',
      ].join('\n'),
    );
  const loaded = wanted !== undefined && names.includes(wanted) ? [wanted] : names;
  for (const name of loaded) {
    program.addCommand(await loadCommand(name));
  }
  return program;
}
