// What the repository wants to be deployed: medplum.config.json, dist/ and the state of git, checked before any request.
import type { AccessPolicy, Coding, Extension, Subscription } from '@medplum/fhirtypes';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { compileFunction } from 'node:vm';
import type { Manifest } from '../bundling/manifest.ts';
import { UserError } from '../terminal/user-error.ts';
import { loadConfig } from '../config/config.ts';
import type { BotConfig, SubscriptionConfig } from '../config/config.ts';
import type { Fields } from './server.ts';

export interface DesiredBot {
  name: string;
  /** `<environment>/<name>`: the value of its identifier, and what its subscriptions and its policy are tagged with. */
  key: string;
  /** The keys of its previous names. */
  previousKeys: string[];
  id: string | undefined;
  /** Members of the Bot; undefined ones are removed from it. */
  settings: Fields;
  code: Code;
  /** Without the channel's endpoint, which is known once the bot is there. */
  subscriptions: Subscription[];
  policy: AccessPolicy['resource'];
  secrets: BotConfig['secrets'];
}

export interface Code {
  /** Path of the bundle. */
  file: string;
  /** Of the bundle, in hex. */
  sha256: string;
  /** `<name>.<start of sha256>.cjs`: what `executableCode.title` becomes. */
  title: string;
  /** What it is made of, by path: `src/shared/http-helpers.ts` -> `http-helpers@<hash>`. */
  shared: Map<string, string>;
  source: Map<string, string>;
}

export interface Desired {
  environment: string;
  /** identifierSystem of medplum.config.json; the systems of the tags begin with it. */
  system: string;
  bots: DesiredBot[];
  /** Every name that the configuration holds, also where only some bots are to be deployed. */
  names: string[];
  only: string | undefined;
}

export const INTERACTION =
  'https://medplum.com/fhir/StructureDefinition/subscription-supported-interaction';
export const PRE_COMMIT = 'https://medplum.com/fhir/StructureDefinition/pre-commit-bot';
export const MAX_ATTEMPTS =
  'https://medplum.com/fhir/StructureDefinition/subscription-max-attempts';
export const EXPRESSION =
  'https://medplum.com/fhir/StructureDefinition/fhir-path-criteria-expression';

/**
 * @param root - the repository's folder
 * @param environment - its name
 * @param only - a pattern for names, `*` for any characters
 * @throws UserError with one line for each bundle that is missing, stale or broken
 */
export function loadDesired(root: string, environment: string, only?: string): Desired {
  const config = loadConfig(root);
  const pattern = new RegExp(
    `^${(only ?? '*').replaceAll(/[^a-z0-9*-]/g, '.').replaceAll('*', '.*')}$`,
  );
  const chosen = config.bots.filter(({ name }) => pattern.test(name));
  if (only !== undefined && chosen.length === 0) {
    const known = config.bots.map(({ name }) => name).join(', ');
    throw new UserError(
      `--only ${only} matches no bot of medplum.config.json. There are: ${known}.`,
    );
  }
  const manifest = readManifest(root);
  const mistakes: string[] = [];
  const bots = chosen.flatMap((bot): DesiredBot[] => {
    try {
      return [desiredBot(root, environment, bot, manifest)];
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      mistakes.push(error.message);
      return [];
    }
  });
  if (mistakes.length > 0) throw new UserError(mistakes.join('\n'));
  const names = config.bots.map(({ name }) => name);
  return { environment, system: config.identifierSystem, bots, names, only };
}

function desiredBot(
  root: string,
  environment: string,
  bot: BotConfig,
  manifest: Manifest,
): DesiredBot {
  return {
    name: bot.name,
    key: `${environment}/${bot.name}`,
    previousKeys: bot.previousNames.map((name) => `${environment}/${name}`),
    id: bot.id,
    settings: {
      name: bot.name,
      description: bot.description,
      cronString: bot.cron,
      auditEventTrigger: bot.auditEventTrigger,
      auditEventDestination: bot.auditEventDestination,
      runAsUser: bot.runAsUser,
      // A Lambda without a timeout is given this one by `$deploy`, which writes the Bot for it, over edits made meanwhile.
      timeout: bot.timeout ?? 10,
      runtimeVersion: bot.runtimeVersion, // else what is there is left alone, see planSettings
      ...optionalSettings(bot),
    },
    code: checkedCode(root, bot, manifest),
    subscriptions: bot.subscriptions.flatMap((subscription) =>
      desiredSubscriptions(bot.name, subscription),
    ),
    policy: policyResources(bot),
    secrets: bot.secrets,
  };
}

/** Members of the Bot that are left alone where the configuration does not name them. */
function optionalSettings(bot: BotConfig): Fields {
  const { cronTiming, category, system, publicWebhook, rawBody, streamingEnabled, cdsService } =
    bot;
  const prefetch = Object.entries(cdsService?.prefetch ?? {});
  const settings: Fields = {
    cronTiming,
    category,
    system,
    publicWebhook,
    rawBody,
    streamingEnabled,
    cdsService: cdsService && {
      ...cdsService,
      prefetch: prefetch.length > 0 ? prefetch.map(([key, query]) => ({ key, query })) : undefined,
    },
  };
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}

/** The rules of its own policy, as an AccessPolicy has them. */
function policyResources({ name, accessPolicy }: BotConfig): AccessPolicy['resource'] {
  if (accessPolicy?.kind === 'existing') {
    throw new UserError(
      `${name} names the access policy "${accessPolicy.name}": attaching an existing policy is not supported yet. List its resources in "accessPolicy".`,
    );
  }
  return accessPolicy?.resources.map(({ compartment, writeConstraint, ...rule }) => ({
    ...rule,
    ...(compartment && { compartment: { reference: compartment } }),
    ...(writeConstraint && {
      writeConstraint: writeConstraint.map((expression) => ({
        language: 'text/fhirpath',
        expression,
      })),
    }),
  }));
}

/** One for all three interactions: without an extension all of them fire. Else one for each, which every version honours. */
function desiredSubscriptions(name: string, wanted: SubscriptionConfig): Subscription[] {
  const interactions = wanted.interactions.length === 3 ? [undefined] : wanted.interactions;
  return interactions.map((interaction) => {
    const extension: Extension[] = [
      ...(interaction ? [{ url: INTERACTION, valueCode: interaction }] : []),
      ...(wanted.expression ? [{ url: EXPRESSION, valueString: wanted.expression }] : []),
      ...(wanted.preCommit ? [{ url: PRE_COMMIT, valueBoolean: true }] : []),
      ...(wanted.maxAttempts ? [{ url: MAX_ATTEMPTS, valueInteger: wanted.maxAttempts }] : []),
    ];
    return {
      resourceType: 'Subscription',
      status: 'active',
      reason: name,
      criteria: wanted.criteria,
      ...(wanted.end && { end: wanted.end }),
      channel: {
        type: 'rest-hook',
        ...(wanted.headers && { header: wanted.headers }),
        ...(wanted.payload && { payload: wanted.payload }),
      },
      ...(extension.length > 0 && { extension }),
    };
  });
}

function readManifest(root: string): Manifest {
  try {
    return JSON.parse(readFileSync(join(root, 'dist/manifest.json'), 'utf8')) as Manifest;
  } catch {
    throw new UserError(
      'dist/manifest.json is not there: there is nothing to deploy yet. Run: npm run build',
    );
  }
}

/** A bundle that is there, is the one the build has checked, parses and has a handler. */
function checkedCode(root: string, { name, dist, source }: BotConfig, manifest: Manifest): Code {
  const built = manifest.bots[name];
  let text: string;
  try {
    text = readFileSync(join(root, dist), 'utf8');
  } catch {
    throw new UserError(`${dist} is not there, so ${name} cannot be deployed. Run: npm run build`);
  }
  const sha256 = hash(text);
  if (built?.sha256 !== sha256) {
    throw new UserError(
      `${dist} is not what dist/manifest.json tells of: the build is incomplete. Run: npm run build`,
    );
  }
  const cure = `Mend ${source} and run: npm run build`;
  try {
    compileFunction(text, ['exports', 'module', 'require']);
  } catch (error) {
    throw new UserError(`${dist} does not parse (${(error as Error).message}). ${cure}`);
  }
  if (!/\bhandler\b/.test(text)) throw new UserError(`${dist} exports no handler. ${cure}`);
  const shared = new Map(
    Object.entries(built.shared).map(([path, module]) => [path, version(path, module.sha256)]),
  );
  const own = join(root, source);
  const sources = existsSync(own)
    ? [[source, version(source, hash(readFileSync(own, 'utf8')))] as const]
    : [];
  return {
    file: join(root, dist),
    sha256,
    title: `${name}.${sha256.slice(0, 16)}.cjs`,
    shared,
    source: new Map(sources),
  };
}

/** @throws UserError where the bundle is no longer the one that was planned */
export function readBundle({ file, sha256 }: Code): string {
  const text = readFileSync(file, 'utf8');
  if (hash(text) !== sha256) throw new UserError(`${file} was built anew meanwhile. Run it again`);
  return text;
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function version(path: string, sha256: string): string {
  return `${path.replace(/^src\/(shared|bots)\//, '').replace(/\.ts$/, '')}@${sha256.slice(0, 12)}`;
}

/**
 * What a Bot's tags say of its code: a search such as `Bot?_tag=<system>/shared|http-helpers@1a2b3c4d5e6f` finds every
 * deployed bot that carries this version.
 *
 * @param system - identifierSystem
 * @param commit - see gitCommit
 */
export function codeTags(
  system: string,
  code: Pick<Code, 'shared' | 'source'>,
  commit: string | undefined,
): Coding[] {
  return [
    ...[...code.shared.values()].map((module) => ({ system: `${system}/shared`, code: module })),
    ...[...code.source.values()].map((module) => ({ system: `${system}/source`, code: module })),
    ...(commit ? [{ system: `${system}/commit`, code: commit }] : []),
  ];
}

/** The commit that is checked out, with `-dirty` where files differ from it; undefined without git. */
export function gitCommit(root: string): string | undefined {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: 'pipe' });
  try {
    return (
      git('rev-parse', 'HEAD').trim() + (git('status', '--porcelain', '--', '.') ? '-dirty' : '')
    );
  } catch {
    return undefined;
  }
}
