// The secrets of the Medplum project: written one by one, never printed.
import type { Project, ProjectSetting } from '@medplum/fhirtypes';
import type { BotConfig } from '../config/config.ts';
import type { Environment } from '../config/environment.ts';
import { readText } from '../config/text-file.ts';
import { UserError } from '../terminal/user-error.ts';
import { readProject } from './actual.ts';
import { isTracked } from './git.ts';
import { parseSecretsFile } from './secrets-file.ts';
import type { Server } from './server.ts';
import type { Stored } from './stored.ts';
import { ConflictError, patch } from './write.ts';

/**
 * The credentials of the deployment. Every bot of a project receives all of its secrets, so these
 * must not be among them.
 */
const DEPLOYER_VARIABLES = ['MEDPLUM_CLIENT_ID', 'MEDPLUM_CLIENT_SECRET'];

/** How often a write is tried on top of other clients' writes. */
const MAX_ATTEMPTS = 5;

/**
 * Reads a file of secrets.
 *
 * @throws UserError if git has it, or if a line would be lost or cut
 */
export function readSecretsFile(file: string): Map<string, string> {
  let text: string;
  try {
    text = readText(file);
  } catch (error) {
    if (error instanceof UserError) {
      throw error;
    }
    throw new UserError(`${file} cannot be read. Write one NAME=value a line into it.`);
  }
  const tracked = isTracked(file);
  if (tracked === undefined) {
    throw new UserError(`git cannot say whether it tracks ${file}. See why: git ls-files ${file}`);
  }
  if (tracked) {
    throw new UserError(
      `${file} is tracked by git, so its secrets are in the history. ` +
        `Remove it (git rm --cached ${file}), replace the secrets, ` +
        'and let .gitignore cover the file.',
    );
  }
  const { secrets, problems } = parseSecretsFile(text);
  if (problems.length > 0) {
    throw new UserError(problems.map((problem) => `${file}: ${problem}.`).join('\n'));
  }
  if (secrets.size === 0) {
    throw new UserError(`${file} holds no NAME=value.`);
  }
  return secrets;
}

/** @throws UserError if the deployer's own credentials are among the secrets */
export function refuseDeployerCredentials(
  file: string,
  secrets: ReadonlyMap<string, string>,
  { clientSecret }: Environment,
): void {
  const names = [...secrets].filter(
    ([name, value]) => DEPLOYER_VARIABLES.includes(name) || value === clientSecret,
  );
  if (names.length > 0) {
    const list = names.map(([name]) => name).join(', ');
    throw new UserError(
      `${file}: ${list} is a credential of the deployment. Every bot would receive it: ` +
        'remove it from this file.',
    );
  }
}

/** @throws UserError without the rights of a project admin */
export async function readSecrets(server: Server): Promise<ProjectSetting[]> {
  return (await projectOf(server)).secret ?? [];
}

export type SecretChange = 'new' | 'replaced' | 'unchanged';

/** What pushing these secrets would do to each of them. */
export function compareSecrets(
  stored: readonly ProjectSetting[],
  wanted: ReadonlyMap<string, string>,
): Map<string, SecretChange> {
  const values = new Map(stored.map(({ name, valueString }) => [name, valueString]));
  const changeOf = (name: string, value: string): SecretChange => {
    if (!values.has(name)) {
      return 'new';
    }
    return values.get(name) === value ? 'unchanged' : 'replaced';
  };
  return new Map([...wanted].map(([name, value]) => [name, changeOf(name, value)]));
}

/** Adds and replaces these secrets; the others stay. */
export function pushSecrets(server: Server, secrets: ReadonlyMap<string, string>): Promise<void> {
  return rewrite(server, (stored) => {
    const kept = stored.map((secret) => {
      const valueString = secrets.get(secret.name);
      return valueString === undefined ? secret : { name: secret.name, valueString };
    });
    const added = [...secrets]
      .filter(([name]) => !stored.some((secret) => secret.name === name))
      .map(([name, valueString]) => ({ name, valueString }));
    return [...kept, ...added];
  });
}

export function deleteSecret(server: Server, name: string): Promise<void> {
  return rewrite(server, (stored) => stored.filter((secret) => secret.name !== name));
}

/**
 * One PATCH, which is refused if the list is no longer as it was read: what another client adds is
 * not lost.
 */
async function rewrite(
  server: Server,
  change: (stored: readonly ProjectSetting[]) => ProjectSetting[],
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const project = await projectOf(server);
    try {
      await patch(server, project, { secret: change(project.secret ?? []) });
      return;
    } catch (error) {
      if (!(error instanceof ConflictError) || attempt === MAX_ATTEMPTS) {
        throw error;
      }
    }
  }
}

async function projectOf(server: Server): Promise<Stored<Project>> {
  const project = await readProject(server);
  if (!project) {
    throw new UserError(
      'Only a project admin reads and writes secrets, and these credentials are not of one.',
    );
  }
  return project;
}

export interface SecretUse {
  name: string;
  isStored: boolean;
  /** Names of the bots that stop without it. */
  requiredBy: string[];
  /** Names of the bots that can do without it. */
  optionalFor: string[];
}

/** The secrets of the project and those that the configuration names, by name. */
export function listSecrets(
  stored: readonly ProjectSetting[],
  bots: readonly BotConfig[],
): SecretUse[] {
  const used = bots.flatMap((bot) => bot.secrets.map(({ name }) => name));
  const signing = bots.flatMap((bot) => bot.subscriptions.flatMap(({ secret }) => secret ?? []));
  const names = new Set([...stored.map(({ name }) => name), ...used, ...signing]);
  return [...names].toSorted().map((name) => {
    const usersOf = (isOptional: boolean): string[] =>
      bots.filter((bot) => uses(bot, name, isOptional)).map((bot) => bot.name);
    return {
      name,
      isStored: stored.some((secret) => secret.name === name),
      requiredBy: usersOf(false),
      optionalFor: usersOf(true),
    };
  });
}

function uses(bot: BotConfig, name: string, isOptional: boolean): boolean {
  const isListed = bot.secrets.some(
    (secret) => secret.name === name && secret.optional === isOptional,
  );
  const signs = !isOptional && bot.subscriptions.some(({ secret }) => secret === name);
  return isListed || signs;
}
