// `npm run secrets -- push .env.staging.secrets`: adds and replaces single project secrets. Values are never printed.
import { Command } from 'commander';
import type { Project } from '@medplum/fhirtypes';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { parseEnv } from 'node:util';
import { green, yellow } from '../terminal/output.ts';
import { UserError } from '../terminal/user-error.ts';
import { readEnvironment } from '../config/environment.ts';
import { readProject } from '../deploy/actual.ts';
import { confirm } from '../deploy/confirm.ts';
import { ConflictError, patch } from '../deploy/write.ts';
import { connect } from '../deploy/server.ts';
import type { Server } from '../deploy/server.ts';

interface PushOptions {
  env?: string;
  yes?: boolean;
}

export const command = new Command('secrets').description(
  'Write the secrets of the Medplum project',
);

command
  .command('push')
  .description('Add and replace the secrets of a file; others stay. Values are never printed')
  .argument('<file>', 'NAME=value, one a line, such as .env.staging.secrets')
  .option('--env <name>', "the environment (default: as in the file's name)")
  .option('--yes', 'do not ask before writing')
  .addHelpText('after', '\nExample: npm run secrets -- push .env.staging.secrets')
  .action(pushFile);

async function pushFile(file: string, values: PushOptions): Promise<void> {
  const secrets = readSecrets(file);
  // The file's own name says where it belongs.
  const environment = readEnvironment(
    values.env ?? /^\.env\.(.+)\.secrets$/.exec(basename(file))?.[1],
  );
  const server = await connect(environment);
  const { secret: there = [] } = await projectOf(server);
  let changed = 0;
  for (const [name, value] of secrets) {
    const old = there.find((secret) => secret.name === name);
    const isKept = old?.valueString === value;
    if (!isKept) changed++;
    console.log(
      isKept
        ? `  ${name}  unchanged`
        : old
          ? `${yellow('~')} ${name}  replaced`
          : `${green('+')} ${name}  new`,
    );
  }
  if (changed === 0) return console.log('Nothing to do.');
  await confirm(values, server, `write ${changed} of the project's secrets`);
  await push(server, secrets);
  console.log(`${changed} written. Every bot of the project receives them at its next run.`);
}

function readSecrets(file: string): Map<string, string> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    throw new UserError(`${file} cannot be read. Write one NAME=value a line into it.`);
  }
  const secrets = new Map(Object.entries(parseEnv(text) as Record<string, string>));
  const empty = [...secrets].filter(([, value]) => !value).map(([name]) => name);
  if (empty.length > 0)
    throw new UserError(
      `${file}: ${empty.join(', ')} has no value. Give it one, or remove the line.`,
    );
  if (secrets.size === 0) throw new UserError(`${file} holds no NAME=value.`);
  return secrets;
}

/** One PATCH, which is refused where the list is no longer as it was read: what another client adds is not lost. */
async function push(server: Server, secrets: Map<string, string>, tries = 1): Promise<void> {
  const project = await projectOf(server);
  const kept = (project.secret ?? []).map((one) => {
    const valueString = secrets.get(one.name!);
    return valueString === undefined ? one : { name: one.name, valueString };
  });
  const added = [...secrets].filter(([name]) => !kept.some((one) => one.name === name));
  const secret = [...kept, ...added.map(([name, valueString]) => ({ name, valueString }))];
  try {
    await patch(server, project, { secret });
  } catch (error) {
    if (!(error instanceof ConflictError) || tries === 5) throw error;
    await push(server, secrets, tries + 1);
  }
}

async function projectOf(server: Server): Promise<Project & { id: string }> {
  const project = await readProject(server);
  if (!project)
    throw new UserError(
      'Only a project admin reads and writes secrets: these credentials are none.',
    );
  return project;
}
