// medplum.config.json: reading it, and the errors that concern several of its members.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../terminal/user-error.ts';
import type { BotEntry, EnvironmentOverride, RuntimeVersion } from './bot.ts';
import { explainIssue } from './messages.ts';
import { repository } from './schema.ts';

export type { RuntimeVersion } from './bot.ts';
export type { AccessPolicyConfig, AccessPolicyRule } from './access-policy.ts';
export type { Parameters } from './parameters.ts';
export type { SubscriptionConfig } from './subscription.ts';
export { schemaText } from './schema.ts';

export const CONFIG_FILE = 'medplum.config.json';

/**
 * A bot with its defaults filled in, and the values of the environment that was asked for:
 * `subscriptions`, `secrets`, `cronJobs` and `previousNames` are always lists, `maxBytes` is its
 * own or the repository's.
 */
export type BotConfig = Omit<BotEntry, 'maxBytes' | 'environments'> & {
  maxBytes: number;
  /** Names of the environments that have values of their own for it. */
  environments: string[];
};

export interface ExternalPackage {
  /** A name, or a pattern such as `@aws-sdk/*`. */
  package: string;
  /** The runtimes that have it. */
  runtimes: RuntimeVersion[];
}

export interface Config {
  $schema?: string | undefined;
  identifierSystem: string;
  strictness: 'recommended' | 'strict';
  /** Beside the bot layer. */
  external: ExternalPackage[];
  /** Folder of other FHIR resources that are deployed. It need not exist. */
  resources: string;
  bots: BotConfig[];
}

/**
 * Reads and checks medplum.config.json.
 *
 * @param root - the folder it is in
 * @param environment - whose values count, such as `staging`; if left out, only what is said for
 *   all of them
 * @returns the configuration, with defaults
 * @throws UserError with one line for each error
 */
export function loadConfig(root: string = process.cwd(), environment?: string): Config {
  let text: string;
  try {
    text = readFileSync(join(root, CONFIG_FILE), 'utf8');
  } catch {
    throw new UserError(
      `${CONFIG_FILE} cannot be read here: run this in the folder of the repository.`,
    );
  }
  return parseConfig(text, environment);
}

/**
 * @param text - of medplum.config.json
 * @param environment - whose values count
 * @returns the configuration, with defaults
 * @throws UserError with one line for each error
 */
export function parseConfig(text: string, environment?: string): Config {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (error) {
    const reason = (error as Error).message.replaceAll(/\s+/g, ' ');
    throw new UserError(`${CONFIG_FILE} is not valid JSON: ${reason}`);
  }
  // It is read once: code that zod would generate for it takes longer than it saves.
  const result = repository.safeParse(raw, { jitless: true });
  if (!result.success) {
    throw errorOf(result.error.issues.flatMap((issue) => explainIssue(issue, raw)));
  }
  const { bots, maxBytes, ...rest } = result.data;
  const config = {
    ...rest,
    bots: bots.map((entry) => forEnvironment(entry, maxBytes, environment)),
  };
  const contradictions = findContradictions(bots, maxBytes);
  if (contradictions.length > 0) {
    throw errorOf(contradictions);
  }
  return config;
}

/**
 * Errors that concern several members. Each environment is checked, whichever one was asked for.
 */
function findContradictions(entries: readonly BotEntry[], maxBytes: number): string[] {
  const contradictionsIn = (environment: string | undefined): string[] => {
    const bots = entries.map((entry) => forEnvironment(entry, maxBytes, environment));
    return [
      ...bots.flatMap(contradictionsOfBot),
      ...namesUsedTwice(bots),
      ...bots.flatMap(eventsHeardTwice),
    ];
  };
  const common = contradictionsIn(undefined);
  const environments = new Set(entries.flatMap((entry) => Object.keys(entry.environments)));
  const special = [...environments].flatMap((environment) =>
    contradictionsIn(environment)
      .filter((line) => !common.includes(line))
      .map((line) => `${line} (in the environment ${environment})`),
  );
  return [...common, ...special];
}

function errorOf(lines: string[]): UserError {
  return new UserError(lines.map((line) => `${CONFIG_FILE}: ${line}`).join('\n'));
}

/** Puts the values of an environment over those for all of them. */
function forEnvironment(
  entry: BotEntry,
  maxBytes: number,
  environment: string | undefined,
): BotConfig {
  const { environments, ...common } = entry;
  const own: EnvironmentOverride = environments[environment ?? ''] ?? {};
  const merged: Record<string, unknown> = { ...common };
  for (const [key, value] of Object.entries(own)) {
    if (value === null) {
      delete merged[key];
    } else {
      merged[key] = value;
    }
  }
  return {
    ...(merged as typeof common),
    maxBytes: common.maxBytes ?? maxBytes,
    environments: Object.keys(environments),
  };
}

function contradictionsOfBot(entry: BotConfig, index: number): string[] {
  const problems: string[] = [];
  const dist = `dist/bots/${entry.name}.js`;
  if (entry.dist !== dist) {
    problems.push(`bots[${index}].dist (${entry.name}): has to be "${dist}"`);
  }
  if (entry.cron !== undefined && entry.cronTiming !== undefined) {
    problems.push(
      `bots[${index}].cronTiming (${entry.name}): the bot has "cron" too, ` +
        'which Medplum would ignore: keep one',
    );
  }
  const jobs = entry.cronJobs.map(({ name }) => name);
  const twice = jobs.find((name, position) => jobs.indexOf(name) < position);
  if (twice !== undefined) {
    problems.push(
      `bots[${index}].cronJobs (${entry.name}): two have the name "${twice}"; ` +
        'each name is used once',
    );
  }
  if (entry.publicWebhook === true && entry.accessPolicy === undefined) {
    problems.push(
      `bots[${index}].publicWebhook (${entry.name}): needs an "accessPolicy": ` +
        'Medplum refuses to run a public bot without one',
    );
  }
  return problems;
}

/** Names are compared without regard to case: some file systems do not know the difference. */
function namesUsedTwice(bots: readonly BotConfig[]): string[] {
  const problems: string[] = [];
  const places = new Map<string, string>();
  bots.forEach((entry, index) => {
    const names = [
      { member: 'name', name: entry.name },
      ...entry.previousNames.map((name) => ({ member: 'previousNames', name })),
    ];
    for (const { member, name } of names) {
      const place = `bots[${index}].${member}`;
      const first = places.get(name.toLowerCase());
      if (first) {
        problems.push(`${place}: "${name}" is ${first} too; each name is used once`);
      }
      places.set(name.toLowerCase(), place);
    }
  });
  return problems;
}

/** Two subscriptions for one event would run the bot twice. */
function eventsHeardTwice(entry: BotConfig, index: number): string[] {
  const events = entry.subscriptions.flatMap(
    ({ interactions, criteria, expression = '', preCommit }) =>
      interactions.map((interaction) =>
        [interaction, criteria, expression, preCommit ? '(pre-commit)' : ''].join(' ').trim(),
      ),
  );
  const twice = events.find((event, position) => events.indexOf(event) < position);
  if (twice === undefined) {
    return [];
  }
  return [
    `bots[${index}].subscriptions (${entry.name}): "${twice}" is in two of them: ` +
      'it would run twice',
  ];
}
