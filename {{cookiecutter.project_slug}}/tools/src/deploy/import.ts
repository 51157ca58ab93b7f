// Adopts a bot that exists on the server: its entry in medplum.config.json, and this repository's
// identifier on the Bot.
import type { Bot, ProjectMembershipAccess, Subscription } from '@medplum/fhirtypes';
import { isLocal } from '../config/address.ts';
import { CONFIG_FILE } from '../config/config.ts';
import { UserError } from '../terminal/user-error.ts';
import type { Actual } from './actual.ts';
import {
  EXPRESSION,
  INTERACTION,
  MAX_ATTEMPTS,
  PRE_COMMIT,
  SUBSCRIPTION_SECRET,
} from './desired-bot.ts';
import { exchange } from './http.ts';
import { keyOf, ownBots } from './identity.ts';
import { startsBot } from './kinds/subscription.ts';
import type { Server } from './server.ts';
import type { Stored } from './stored.ts';

export interface BotToImport {
  bot: Stored<Bot>;
  /** Its name in this repository. */
  name: string;
  /** Whether it carries this repository's identifier already. */
  isOwn: boolean;
  /** The active subscriptions that start it. */
  subscriptions: Stored<Subscription>[];
  /** What `accessPolicy` of the configuration has to be, so that its rights stay as they are. */
  accessPolicy: object | string | undefined;
}

/**
 * @param wanted - a name or an id
 * @throws UserError if there is no such bot, if several have the name, or if its name is taken
 */
export function findBotToImport(
  actual: Actual,
  system: string,
  environment: string,
  wanted: string,
): BotToImport {
  const { bots, subscriptions } = actual;
  const [bot, ...others] = bots.filter(({ id, name }) => id === wanted || name === wanted);
  if (!bot) {
    throw new UserError(`The project has no Bot with the name or id ${wanted}.`);
  }
  if (others.length > 0) {
    const ids = [bot, ...others].map(({ id }) => id).join(', ');
    throw new UserError(`Several bots have this name. Give an id: ${ids}`);
  }
  const own = ownBots(bots, system, environment);
  const known = own.find((candidate) => candidate.bot === bot);
  const words = bot.name?.toLowerCase().match(/[a-z0-9]+/g) ?? ['bot', bot.id.slice(0, 8)];
  const name = known?.name ?? words.join('-');
  const taken = own.find((candidate) => candidate.name === name && candidate.bot !== bot);
  if (taken) {
    throw new UserError(
      `${keyOf(environment, name)} is Bot/${taken.bot.id} already. Rename one of the two.`,
    );
  }
  return {
    bot,
    name,
    isOwn: known !== undefined,
    accessPolicy: findPolicy(actual, bot),
    subscriptions: subscriptions.filter(
      (subscription) => subscription.status === 'active' && startsBot(subscription, bot),
    ),
  };
}

/** The policy that the bot's membership has, by its name. */
function findPolicy(
  { memberships = [], policies = [] }: Actual,
  bot: Stored<Bot>,
): object | string | undefined {
  const membership = memberships.find(({ profile }) => profile.reference === `Bot/${bot.id}`);
  const [access] = membership?.access ?? [];
  const reference = (access?.policy ?? membership?.accessPolicy)?.reference;
  const policy = policies.find(({ id }) => reference === `AccessPolicy/${id}`)?.name;
  const parameters = parametersOf(access);
  return policy !== undefined && parameters ? { policy, parameters } : policy;
}

function parametersOf(access: ProjectMembershipAccess | undefined): object | undefined {
  const parameters = (access?.parameter ?? []).map(({ name, valueString, valueReference }) => [
    name,
    valueString ?? { reference: valueReference?.reference },
  ]);
  return parameters.length > 0 ? Object.fromEntries(parameters) : undefined;
}

/** The bot's entry in medplum.config.json. JSON leaves out what is undefined. */
export function configEntry({ bot, name, subscriptions, accessPolicy }: BotToImport): object {
  return {
    name,
    description: bot.description,
    runtimeVersion: bot.runtimeVersion,
    timeout: bot.timeout,
    cron: bot.cronString,
    cronTiming: bot.cronTiming,
    auditEventTrigger: bot.auditEventTrigger,
    auditEventDestination: bot.auditEventDestination,
    runAsUser: bot.runAsUser,
    publicWebhook: bot.publicWebhook,
    rawBody: bot.rawBody,
    streamingEnabled: bot.streamingEnabled,
    cdsService: cdsService(bot),
    source: sourceFile(name),
    dist: `dist/bots/${name}.js`,
    accessPolicy,
    subscriptions: subscriptions.map(subscriptionEntry),
  };
}

export function sourceFile(name: string): string {
  return `src/bots/${name}.ts`;
}

function cdsService({ cdsService: service }: Bot): object | undefined {
  if (!service) {
    return undefined;
  }
  const queries = (service.prefetch ?? []).map(({ key, query }) => [key, query] as const);
  const prefetch = queries.length > 0 ? Object.fromEntries(queries) : undefined;
  return { ...service, prefetch };
}

function subscriptionEntry({
  id,
  criteria,
  channel,
  end,
  extension = [],
}: Stored<Subscription>): object {
  const known = [INTERACTION, EXPRESSION, PRE_COMMIT, MAX_ATTEMPTS];
  const foreign = extension.find(({ url }) => !known.includes(url));
  if (foreign) {
    const hint =
      foreign.url === SUBSCRIPTION_SECRET ? '. Remove it, and name a project secret instead' : '';
    throw new UserError(
      `Subscription/${id} has the extension ${foreign.url}, ` +
        `which ${CONFIG_FILE} cannot hold${hint}.`,
    );
  }
  const valueOf = (url: string) => extension.find((candidate) => candidate.url === url);
  const interactions = extension.flatMap(({ valueCode }) => valueCode ?? []);
  return {
    criteria,
    interactions: interactions.length > 0 ? interactions : undefined,
    expression: valueOf(EXPRESSION)?.valueString,
    headers: channel?.header,
    payload: channel?.payload,
    end,
    preCommit: valueOf(PRE_COMMIT)?.valueBoolean,
    maxAttempts: valueOf(MAX_ATTEMPTS)?.valueInteger,
  };
}

export type StoredSource =
  | { type: 'source'; text: string }
  /** Only what Medplum gives a new bot. It is not the source of the code that runs. */
  | { type: 'placeholder' }
  /** Its address is not on this machine and begins with http: it could be changed on the way. */
  | { type: 'unencrypted' }
  | { type: 'missing' };

/** Reads the source that Medplum's editor and command line store beside the code. */
export async function readStoredSource(server: Server, { sourceCode }: Bot): Promise<StoredSource> {
  const address = URL.parse(sourceCode?.url ?? '');
  if (!address || !['http:', 'https:'].includes(address.protocol)) {
    return { type: 'missing' };
  }
  if (address.protocol === 'http:' && !isLocal(address.href)) {
    return { type: 'unencrypted' };
  }
  // The address carries its own signature: credentials are not sent with it.
  const answer = await exchange('GET', address.href, undefined, {}, server.limits);
  if (answer.status !== 200 || answer.text.trim() === '') {
    return { type: 'missing' };
  }
  return isPlaceholder(answer.text)
    ? { type: 'placeholder' }
    : { type: 'source', text: answer.text };
}

/** Whether the handler holds nothing but comments, as the source that Medplum gives a new bot. */
function isPlaceholder(source: string): boolean {
  const code = source
    .replaceAll(/\/\*[\s\S]*?\*\//g, '')
    .replaceAll(/\/\/.*$/gm, '')
    .replaceAll(/\s+/g, '');
  const emptyHandler =
    /functionhandler\([^)]*\)(:Promise<\w+>)?\{(return(true|false|undefined|null)?;?)?\}$/;
  return emptyHandler.test(code);
}
