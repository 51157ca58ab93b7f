// What medplum.config.json says about one bot, as members of the resources that Medplum stores.
import type {
  CronParameter,
  Extension,
  ProjectMembershipAccessParameter,
  Subscription,
} from '@medplum/fhirtypes';
import type { Manifest } from '../bundling/manifest.ts';
import type {
  AccessPolicyConfig,
  AccessPolicyRule,
  BotConfig,
  Parameters,
  SubscriptionConfig,
} from '../config/config.ts';
import { loadCode } from './bundle-code.ts';
import type { Code, SourceHashes } from './bundle-code.ts';
import { keyOf } from './identity.ts';
import type { Fields } from './stored.ts';

export const INTERACTION =
  'https://medplum.com/fhir/StructureDefinition/subscription-supported-interaction';
export const EXPRESSION =
  'https://medplum.com/fhir/StructureDefinition/fhir-path-criteria-expression';
export const PRE_COMMIT = 'https://medplum.com/fhir/StructureDefinition/pre-commit-bot';
export const MAX_ATTEMPTS =
  'https://medplum.com/fhir/StructureDefinition/subscription-max-attempts';
export const SUBSCRIPTION_SECRET =
  'https://www.medplum.com/fhir/StructureDefinition/subscription-secret';

export interface DesiredBot {
  name: string;
  /**
   * `<environment>/<name>`: the value of its identifier, and what its subscriptions and its policy
   * are tagged with.
   */
  key: string;
  /** The keys of its previous names. */
  previousKeys: string[];
  id: string | undefined;
  /** Members of the Bot; undefined ones are removed from it. */
  settings: Fields;
  code: Code;
  subscriptions: DesiredSubscription[];
  policy: DesiredPolicy | undefined;
  cronJobs: DesiredCronJob[];
  secrets: BotConfig['secrets'];
}

export interface DesiredSubscription {
  /** Without the channel's endpoint, which is known once the bot exists. */
  resource: Subscription;
  /** Name of the project secret that signs its requests. */
  secret: string | undefined;
}

export type DesiredPolicy =
  /** A policy that the deployment creates. */
  | { type: 'own'; fields: Fields; parameters: ProjectMembershipAccessParameter[] }
  /** A policy that the project has, by its name. */
  | { type: 'existing'; name: string; parameters: ProjectMembershipAccessParameter[] };

export interface DesiredCronJob {
  name: string;
  /** Members of the Cron, without what refers to the bot. */
  fields: Fields;
  /** The ProjectMembership whose rights it has; the bot's own if left out. */
  onBehalfOf: string | undefined;
}

/**
 * @param root - the repository's folder
 * @throws UserError if the bot's bundle cannot be deployed
 */
export function desiredBot(
  root: string,
  environment: string,
  bot: BotConfig,
  manifest: Manifest,
  sources: SourceHashes,
): DesiredBot {
  return {
    name: bot.name,
    key: keyOf(environment, bot.name),
    previousKeys: bot.previousNames.map((name) => keyOf(environment, name)),
    id: bot.id,
    settings: { ...settings(bot), ...ungovernedSettings(bot) },
    code: loadCode(root, bot, manifest, sources),
    subscriptions: bot.subscriptions.flatMap((subscription) =>
      desiredSubscriptions(bot.name, subscription),
    ),
    policy: desiredPolicy(bot.accessPolicy),
    cronJobs: bot.cronJobs.map(desiredCronJob),
    secrets: bot.secrets,
  };
}

/** Members of the Bot that are removed if the configuration no longer has them. */
function settings(bot: BotConfig): Fields {
  return {
    name: bot.name,
    description: bot.description,
    cronString: bot.cron,
    cronTiming: bot.cronTiming,
    auditEventTrigger: bot.auditEventTrigger,
    auditEventDestination: bot.auditEventDestination,
    runAsUser: bot.runAsUser,
    publicWebhook: bot.publicWebhook,
    rawBody: bot.rawBody,
    streamingEnabled: bot.streamingEnabled,
    cdsService: cdsService(bot.cdsService),
    // `$deploy` gives a Lambda without a timeout this one, and would write the whole Bot for it,
    // over other edits.
    timeout: bot.timeout ?? 10,
    // If it is left out, the Bot keeps what it has: see kinds/bot.ts.
    runtimeVersion: bot.runtimeVersion,
  };
}

/** Members of the Bot that stay as they are if the configuration does not name them. */
function ungovernedSettings({ category, system }: BotConfig): Fields {
  const named = Object.entries({ category, system }).filter(([, value]) => value !== undefined);
  return Object.fromEntries(named);
}

function cdsService(service: BotConfig['cdsService']): Fields | undefined {
  if (!service) {
    return undefined;
  }
  const { prefetch, ...members } = service;
  const queries = Object.entries(prefetch ?? {}).map(([key, query]) => ({ key, query }));
  const defined = Object.entries(members).filter(([, value]) => value !== undefined);
  const fields: Fields = Object.fromEntries(defined);
  if (queries.length > 0) {
    fields['prefetch'] = queries;
  }
  return fields;
}

/**
 * One for all three interactions: without an extension all of them fire. Else one for each, which
 * every version honours.
 */
function desiredSubscriptions(name: string, wanted: SubscriptionConfig): DesiredSubscription[] {
  const interactions = wanted.interactions.length === 3 ? [undefined] : wanted.interactions;
  return interactions.map((interaction) => {
    const extension = subscriptionExtensions(wanted, interaction);
    const channel: Subscription['channel'] = { type: 'rest-hook' };
    if (wanted.headers) {
      channel.header = wanted.headers;
    }
    if (wanted.payload) {
      channel.payload = wanted.payload as NonNullable<Subscription['channel']>['payload'];
    }
    const resource: Subscription = {
      resourceType: 'Subscription',
      status: 'active',
      reason: name,
      criteria: wanted.criteria,
      channel,
    };
    if (wanted.end) {
      resource.end = wanted.end;
    }
    if (extension.length > 0) {
      resource.extension = extension;
    }
    return { resource, secret: wanted.secret };
  });
}

function subscriptionExtensions(
  wanted: SubscriptionConfig,
  interaction: string | undefined,
): Extension[] {
  const extension: Extension[] = [];
  if (interaction) {
    extension.push({ url: INTERACTION, valueCode: interaction });
  }
  if (wanted.expression) {
    extension.push({ url: EXPRESSION, valueString: wanted.expression });
  }
  if (wanted.preCommit) {
    extension.push({ url: PRE_COMMIT, valueBoolean: true });
  }
  if (wanted.maxAttempts) {
    extension.push({ url: MAX_ATTEMPTS, valueInteger: wanted.maxAttempts });
  }
  return extension;
}

function desiredPolicy(policy: AccessPolicyConfig | undefined): DesiredPolicy | undefined {
  if (!policy) {
    return undefined;
  }
  const parameters = membershipParameters(policy.parameters);
  if (policy.kind === 'existing') {
    return { type: 'existing', name: policy.name, parameters };
  }
  const { compartment, ipAccessRules, resources } = policy;
  const fields: Fields = {
    resource: resources.map(policyRule),
    compartment: compartment === undefined ? undefined : { reference: compartment },
    ipAccessRule: ipAccessRules,
  };
  return { type: 'own', fields, parameters };
}

/** One rule, as an AccessPolicy has it. */
function policyRule({ compartment, writeConstraint, ...rule }: AccessPolicyRule): Fields {
  const fields: Fields = { ...rule };
  if (compartment) {
    fields['compartment'] = { reference: compartment };
  }
  if (writeConstraint) {
    const language = 'text/fhirpath';
    fields['writeConstraint'] = writeConstraint.map((expression) => ({ language, expression }));
  }
  return fields;
}

function membershipParameters(parameters: Parameters): ProjectMembershipAccessParameter[] {
  return Object.entries(parameters).map(([name, value]) =>
    typeof value === 'object' ? { name, valueReference: value } : { name, valueString: `${value}` },
  );
}

function desiredCronJob(job: BotConfig['cronJobs'][number]): DesiredCronJob {
  const parameter = Object.entries(job.parameters).map(([name, value]) =>
    cronParameter(name, value),
  );
  return {
    name: job.name,
    fields: {
      active: job.active,
      cronString: job.cron,
      endTime: job.end,
      parameter: parameter.length > 0 ? parameter : undefined,
    },
    onBehalfOf: job.onBehalfOf,
  };
}

function cronParameter(name: string, value: Parameters[string]): CronParameter {
  switch (typeof value) {
    case 'boolean':
      return { name, valueBoolean: value };
    case 'number':
      return Number.isInteger(value)
        ? { name, valueInteger: value }
        : { name, valueDecimal: value };
    case 'string':
      return { name, valueString: value };
    default:
      return { name, valueReference: value };
  }
}
