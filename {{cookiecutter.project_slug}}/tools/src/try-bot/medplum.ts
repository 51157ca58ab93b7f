// The Medplum that `npm run bot` lets a bot talk to, with the rights and secrets that the deployed
// bot has.
import { MedplumClient } from '@medplum/core';
import type { BotConfig } from '../config/config.ts';
import { readEnvironment } from '../config/environment.ts';
import type { Environment } from '../config/environment.ts';
import { findRunningServer } from '../config/running-server.ts';
import { accessOf } from '../command-api.ts';
import type { BotAccess, RecordedEvent } from '../command-api.ts';
import { deploy } from '../deploy/deploy.ts';
import { localTarget, readLocalSecrets, startLocal } from '../local-servers.ts';
import { UserError } from '../terminal/user-error.ts';

export interface TriedMedplum {
  baseUrl: string;
  accessToken: string;
  bot: { reference?: string; display: string };
  secrets: Record<string, { name: string; valueString?: string }>;
  /** What a user should know about it. */
  note?: string;
  stop(): Promise<void>;
}

/**
 * Finds the local Medplum that runs, or starts an empty one, and deploys the bot to it.
 *
 * @param bot - of medplum.config.json, built
 * @throws UserError if it cannot be deployed, such as for a missing secret
 */
export async function medplumFor(bot: BotConfig): Promise<TriedMedplum> {
  const variables = secretsInVariables(bot);
  const environment = hasLocalTarget() ? readEnvironment('local') : undefined;
  if (environment === undefined) {
    return startOwn(bot, variables);
  }
  if (findRunningServer(environment.baseUrl) === undefined) {
    return connectAsClient(bot, environment, variables);
  }
  await deployBot(bot, environment);
  const access = (await ask(environment, `bots/${bot.name}`)) as BotAccess;
  return {
    baseUrl: environment.baseUrl,
    accessToken: access.accessToken,
    bot: { reference: `Bot/${access.id}`, display: bot.name },
    secrets: { ...access.secrets, ...variables },
    stop: async () => undefined,
  };
}

/**
 * @param id - of a run on the local Medplum
 * @returns the event of the run
 * @throws UserError if there is no such run
 */
export async function recordedEvent(id: string): Promise<RecordedEvent> {
  return (await ask(readEnvironment('local'), `runs/${id}`)) as RecordedEvent;
}

/** Whether variables or `.env.local` name a Medplum, or a local one runs. */
function hasLocalTarget(): boolean {
  try {
    readEnvironment('local');
    return true;
  } catch {
    return process.env['MEDPLUM_BASE_URL'] ? true : findRunningServer(undefined) !== undefined;
  }
}

async function startOwn(bot: BotConfig, variables: TriedMedplum['secrets']): Promise<TriedMedplum> {
  const values = Object.values(variables).map(({ name, valueString = '' }) => [name, valueString]);
  const servers = await startLocal({
    isPrivate: true,
    secrets: { ...readLocalSecrets(), ...Object.fromEntries(values) },
  });
  try {
    await deployBot(bot, localTarget(servers));
    const access = accessOf(servers.medplum, bot.name)!;
    return {
      baseUrl: servers.medplum.baseUrl,
      accessToken: access.accessToken,
      bot: { reference: `Bot/${access.id}`, display: bot.name },
      secrets: access.secrets,
      note:
        'No local Medplum is running, so this run has an empty one of its own. ' +
        'To keep resources: npm run dev, in another terminal',
      stop: servers.stop,
    };
  } catch (error) {
    await servers.stop();
    throw error;
  }
}

async function deployBot(bot: BotConfig, target: Environment): Promise<void> {
  const { failed } = await deploy({ target, only: bot.name, yes: true, log: () => undefined });
  if (failed[0]) {
    throw new UserError(`${bot.name} cannot be deployed: ${failed[0].message}`);
  }
}

/**
 * Another Medplum than one of this repository's: nothing is deployed there, and no one can act as
 * the bot.
 */
async function connectAsClient(
  bot: BotConfig,
  { baseUrl, projectId, clientId, clientSecret }: Environment,
  variables: TriedMedplum['secrets'],
): Promise<TriedMedplum> {
  const medplum = new MedplumClient({ baseUrl, fetch });
  try {
    await medplum.startClientLogin(clientId, clientSecret);
  } catch {
    throw new UserError(
      `No Medplum answers at ${baseUrl} with these credentials. ` +
        'Start it, or remove MEDPLUM_BASE_URL (.env.local or variable) ' +
        'to use one that is started here.',
    );
  }
  const { project } = (await medplum.get(`admin/projects/${projectId}`).catch(() => ({}))) as {
    project?: { secret?: { name: string }[] };
  };
  const secrets = Object.fromEntries((project?.secret ?? []).map((entry) => [entry.name, entry]));
  return {
    baseUrl,
    accessToken: medplum.getAccessToken() ?? '',
    bot: { display: bot.name },
    secrets: { ...secrets, ...variables },
    note: `This run has the rights of MEDPLUM_CLIENT_ID at ${baseUrl}, not those of the bot.`,
    stop: async () => undefined,
  };
}

/** Secrets of the bot that are set as environment variables win over those of the project. */
function secretsInVariables(bot: BotConfig): TriedMedplum['secrets'] {
  const given = bot.secrets.flatMap(({ name }) => {
    const valueString = process.env[name];
    return valueString ? [[name, { name, valueString }] as const] : [];
  });
  return Object.fromEntries(given);
}

async function ask(environment: Environment, path: string): Promise<unknown> {
  const { baseUrl, clientId, clientSecret } = environment;
  const pair = Buffer.from(`${clientId}:${clientSecret}`).toString('base64');
  const response = await fetch(`${baseUrl}_commands/${path}`, {
    headers: { Authorization: `Basic ${pair}` },
  });
  if (response.status === 404 && path.startsWith('runs/')) {
    throw new UserError(
      `The local Medplum has no run ${path.slice('runs/'.length)}. Its page shows the runs: ` +
        baseUrl,
    );
  }
  if (!response.ok) {
    throw new UserError(`${baseUrl} answered with ${response.status}: restart npm run dev.`);
  }
  return response.json();
}
