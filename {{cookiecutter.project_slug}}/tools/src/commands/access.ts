// `npx medplum-bots access`: clients for CI with fewer rights than a project admin.
import { Argument, Command } from 'commander';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { loadConfig } from '../config/config.ts';
import { commandFor, readEnvironment } from '../config/environment.ts';
import type { Environment } from '../config/environment.ts';
import {
  accessName,
  accessRules,
  createAccess,
  deployedTypes,
  findAccessPolicy,
  isOutdated,
  ROLE_DESCRIPTIONS,
  ROLES,
} from '../deploy/access.ts';
import type { CreatedAccess, Role } from '../deploy/access.ts';
import { confirm } from '../deploy/confirm.ts';
import { connect } from '../deploy/server.ts';
import { UserError } from '../terminal/user-error.ts';

interface Options {
  create?: boolean;
  env?: string;
  yes?: boolean;
}

export const command = new Command('access')
  .description('Show, or create, a client that may only read, or only deploy existing bots')
  .addArgument(
    new Argument(
      '<role>',
      ROLES.map((role) => `${role}: ${ROLE_DESCRIPTIONS[role]}`).join('; '),
    ).choices(ROLES),
  )
  .option('--create', 'create the access policy and the client; needs a project admin')
  .option('--env <name>', 'the environment whose .env.<name> is read (default: local)')
  .option('--yes', 'do not ask before writing')
  .addHelpText(
    'after',
    [
      '',
      'Example: npx medplum-bots access reader --create --env staging',
      'The new credentials are written to <name>-<role>.env, which git ignores. They are for the',
      'same environment: give them to your CI service as variables, and run the commands with',
      '--env <name>.',
    ].join('\n'),
  )
  .action(access);

async function access(role: Role, options: Options): Promise<void> {
  const config = loadConfig(process.cwd(), options.env ?? 'local');
  const { identifierSystem: system } = config;
  const resourceTypes = deployedTypes(process.cwd(), config);
  if (!options.create) {
    printPolicy(role, system, resourceTypes);
    return;
  }
  const environment = readEnvironment(options.env);
  // Not .env.<name>, which would be another environment, with bots of its own.
  const file = `${environment.name}-${role}.env`;
  if (existsSync(file)) {
    throw new UserError(`${file} exists already: use that client, or remove the file.`);
  }
  const server = await connect(environment);
  const policy = await findAccessPolicy(server, system, role);
  const change =
    policy && isOutdated(policy, role, resourceTypes)
      ? `, and change AccessPolicy/${policy.id}, also for the clients that have it already`
      : '';
  const what = `create the client "${accessName(role, system)}"${change}`;
  await confirm(options, server, what);
  const created = await createAccess(server, system, role, resourceTypes, policy);
  if (change) {
    console.log(`AccessPolicy/${created.policyId} has other rules now, for all its clients.`);
  }
  writeCredentials(file, environment, created);
  console.log(`ClientApplication/${created.clientId} with AccessPolicy/${created.policyId}.`);
  const usedWith = commandFor(environment.name, role === 'reader' ? 'plan' : 'setup:bots');
  console.log(
    [
      `Its credentials are in ${file}. Copy them to the variables of your CI service, ` +
        'then delete the file.',
      `They are used with: ${usedWith}`,
    ].join('\n'),
  );
}

/**
 * Medplum shows the secret of a client once: if it cannot be written down, the client is of no use.
 */
function writeCredentials(
  file: string,
  { baseUrl, projectId }: Environment,
  { clientId, clientSecret }: CreatedAccess,
): void {
  const lines = [
    `MEDPLUM_BASE_URL=${baseUrl}`,
    `MEDPLUM_PROJECT_ID=${projectId}`,
    `MEDPLUM_CLIENT_ID=${clientId}`,
    `MEDPLUM_CLIENT_SECRET=${clientSecret}`,
  ];
  try {
    writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 });
  } catch (error) {
    rmSync(file, { force: true });
    throw new UserError(
      `The credentials could not be written to ${file} (${(error as Error).message}). ` +
        `Delete ClientApplication/${clientId} in the Medplum app, and run the command again.`,
    );
  }
}

function printPolicy(role: Role, system: string, resourceTypes: readonly string[]): void {
  const name = accessName(role, system);
  const policy = { resourceType: 'AccessPolicy', name, resource: accessRules(role, resourceTypes) };
  console.log(JSON.stringify(policy, null, 2));
  console.log(
    [
      '',
      'In the Medplum app, as a project admin: create this AccessPolicy, then a client with it',
      '(Project Admin, Clients). Or let this command do both: ' +
        `npx medplum-bots access ${role} --create`,
    ].join('\n'),
  );
}
