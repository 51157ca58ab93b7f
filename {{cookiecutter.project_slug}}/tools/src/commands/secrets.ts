// `npm run secrets`: the secrets of the Medplum project. Values are never printed.
import { Command } from 'commander';
import { basename } from 'node:path';
import { loadConfig } from '../config/config.ts';
import { readEnvironment } from '../config/environment.ts';
import { confirm } from '../deploy/confirm.ts';
import {
  compareSecrets,
  deleteSecret,
  listSecrets,
  pushSecrets,
  readSecrets,
  readSecretsFile,
  refuseDeployerCredentials,
} from '../deploy/secrets.ts';
import type { SecretChange } from '../deploy/secrets.ts';
import { connect } from '../deploy/server.ts';
import { green, red, table, yellow } from '../terminal/output.ts';
import { UserError } from '../terminal/user-error.ts';

interface Options {
  env?: string;
  yes?: boolean;
  force?: boolean;
}

export const command = new Command('secrets')
  .description('List, write and delete the secrets of the Medplum project')
  .addHelpText('after', '\nExample: npm run secrets -- push .env.staging.secrets');

command
  .command('list')
  .description('Names only: what the project has, which bots need it, and what is missing')
  .option('--env <name>', 'the environment whose .env.<name> is read (default: local)')
  .addHelpText('after', '\nExample: npm run secrets -- list --env staging')
  .action(list);

command
  .command('push')
  .description('Add and replace the secrets of a file; others stay. Values are never printed')
  .argument('<file>', 'NAME=value, one a line, such as .env.staging.secrets')
  .option('--env <name>', "the environment (default: as in the file's name)")
  .option('--yes', 'do not ask before writing')
  .addHelpText('after', '\nExample: npm run secrets -- push .env.staging.secrets')
  .action(push);

command
  .command('delete')
  .description('Delete one secret')
  .argument('<name>', 'the name of the secret')
  .option('--env <name>', 'the environment whose .env.<name> is read (default: local)')
  .option('--yes', 'do not ask before writing')
  .option('--force', 'delete it even if a bot of this repository needs it')
  .addHelpText('after', '\nExample: npm run secrets -- delete OLD_TOKEN --env staging')
  .action(deleteOne);

async function list({ env }: Options): Promise<void> {
  const environment = readEnvironment(env);
  const { bots } = loadConfig(process.cwd(), environment.name);
  const stored = await readSecrets(await connect(environment));
  const secrets = listSecrets(stored, bots);
  if (secrets.length === 0) {
    console.log('The project has no secrets, and no bot needs one.');
    return;
  }
  const rows = secrets.map(({ name, isStored, requiredBy, optionalFor }) => [
    name,
    isStored ? green('set') : describeMissing(requiredBy),
    requiredBy.join(', '),
    optionalFor.join(', '),
  ]);
  console.log(table(['secret', '', 'needed by', 'optional for'], rows));
}

function describeMissing(requiredBy: readonly string[]): string {
  return requiredBy.length > 0 ? red('missing') : yellow('not set');
}

async function push(file: string, options: Options): Promise<void> {
  const secrets = readSecretsFile(file);
  // The name of the file says which environment it is for.
  const named = /^\.env\.(.+)\.secrets$/.exec(basename(file))?.[1];
  const environment = readEnvironment(options.env ?? named);
  refuseDeployerCredentials(file, secrets, environment);
  const server = await connect(environment);
  const changes = compareSecrets(await readSecrets(server), secrets);
  changes.forEach((change, name) => console.log(describeChange(name, change)));
  const count = [...changes.values()].filter((change) => change !== 'unchanged').length;
  if (count === 0) {
    console.log('Nothing to do.');
    return;
  }
  await confirm(options, server, `write ${count} of the project's secrets`);
  await pushSecrets(server, secrets);
  console.log(`${count} written. Every bot of the project receives them at its next run.`);
}

function describeChange(name: string, change: SecretChange): string {
  switch (change) {
    case 'unchanged':
      return `  ${name}  unchanged`;
    case 'replaced':
      return `${yellow('~')} ${name}  replaced`;
    case 'new':
      return `${green('+')} ${name}  new`;
  }
}

async function deleteOne(name: string, options: Options): Promise<void> {
  const environment = readEnvironment(options.env);
  const { bots } = loadConfig(process.cwd(), environment.name);
  const server = await connect(environment);
  const secret = listSecrets(await readSecrets(server), bots).find((found) => found.name === name);
  if (!secret?.isStored) {
    throw new UserError(`The project has no secret ${name}.`);
  }
  if (secret.requiredBy.length > 0 && !options.force) {
    throw new UserError(
      `${secret.requiredBy.join(', ')} needs ${name}. To delete it anyway, add: --force`,
    );
  }
  await confirm(options, server, `delete the secret ${name}`);
  await deleteSecret(server, name);
  console.log(`${name} is deleted. Bots no longer receive it.`);
}
