// Looks at this machine, the repository and the server, and changes nothing. Each finding says what
// to do about it.
import type { AuditEvent, Subscription } from '@medplum/fhirtypes';
import { existsSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { loadConfig } from '../config/config.ts';
import type { BotConfig } from '../config/config.ts';
import { commandFor, readEnvironment } from '../config/environment.ts';
import type { Environment } from '../config/environment.ts';
import { RESOURCE_TYPES } from '../config/resource-types.ts';
import { botsWithoutPolicy, noPolicyMessage } from '../config/warnings.ts';
import { isNewer, newestVersion, readManifest } from '../template/status.ts';
import type { Manifest } from '../template/status.ts';
import { listNames } from '../terminal/list-names.ts';
import { suggest } from '../terminal/suggest.ts';
import { UserError } from '../terminal/user-error.ts';
import { readActual } from './actual.ts';
import type { Actual } from './actual.ts';
import type { Change } from './change.ts';
import { MAX_ACTIVE_SUBSCRIPTIONS } from './checks.ts';
import { describeProblem, describeReasons, describeWarning } from './describe-plan.ts';
import { loadDesired } from './desired.ts';
import type { Desired } from './desired.ts';
import { exchange } from './http.ts';
import { ownBots } from './identity.ts';
import type { OwnBot } from './identity.ts';
import { identifierInEndpoint, startsBot } from './kinds/subscription.ts';
import { LIMITS } from './limits.ts';
import { parseJson } from './parse-json.ts';
import { plan } from './plan.ts';
import { FAILED, hasFailed, inputOf, isOf, readRuns, timeOf } from './runs.ts';
import { connect, RequestError } from './server.ts';
import type { Server } from './server.ts';

export type Level = 'ok' | 'warning' | 'error';

export interface Finding {
  level: Level;
  /** What was looked at, for programs. */
  check:
    | 'node'
    | 'build'
    | 'connection'
    | 'clock'
    | 'rights'
    | 'server-version'
    | 'project'
    | 'environments'
    | 'memberships'
    | 'foreign-bots'
    | 'subscriptions'
    | 'plan'
    | 'policies'
    | 'runs'
    | 'target'
    | 'template';
  /** In one line: what is the case, and what to do. */
  text: string;
}

/** Bots that came with other tools are named up to this number. */
const MAX_NAMED = 10;

const DAY = 24 * 60 * 60 * 1000;

/** @throws UserError if the configuration or the credentials cannot be used */
export async function examine(environmentName: string | undefined): Promise<Finding[]> {
  const config = loadConfig(process.cwd(), environmentName ?? 'local');
  const environment = readEnvironment(environmentName);
  const loaded = tryToLoad(environment.name);
  const server = await connect(environment);
  const { headers, version } = await readHealth(server);
  const { actual, planned, missingRights } = await tryToRead(server, loaded.desired);
  const findings: Finding[] = [
    // A Node that is too old does not get here: see tools/bin/check-environment.cjs.
    { level: 'ok', check: 'node', text: `Node ${process.versions.node}` },
    ...loaded.findings,
    connected(environment),
    ...checkClock(headers.date),
    ...checkVersion(version, config.bots),
    ...missingRights,
  ];
  if (!actual) {
    return [
      ...findings,
      ...checkEnvironmentNames(config.bots, environment.name),
      ...checkPolicies(config.bots),
      ...checkTemplate(process.cwd()),
    ];
  }
  const own = ownBots(actual.bots, config.identifierSystem, environment.name);
  return [
    ...findings,
    ...checkProject(actual),
    ...checkEnvironments(actual, config.identifierSystem, environment.name),
    ...checkEnvironmentNames(config.bots, environment.name),
    ...checkMemberships(actual, environment.name),
    ...checkForeignBots(actual, config.identifierSystem, environment.name),
    ...checkSubscriptions(actual, environment.name),
    ...(planned ? checkPlan(planned, actual) : checkPolicies(config.bots)),
    ...(await checkRuns(server, own)),
    ...checkTemplate(process.cwd()),
  ];
}

function tryToLoad(environment: string): { desired?: Desired; findings: Finding[] } {
  try {
    return { desired: loadDesired(process.cwd(), environment), findings: [] };
  } catch (error) {
    if (!(error instanceof UserError)) {
      throw error;
    }
    const lines = error.message.split('\n');
    return { findings: lines.map((text) => ({ level: 'error', check: 'build', text })) };
  }
}

function connected({ baseUrl, projectId }: Environment): Finding {
  const text = `${baseUrl} accepts the credentials, and their project is ${projectId}`;
  return { level: 'ok', check: 'connection', text };
}

interface ReadServer {
  /** Undefined if not even the bots can be read. */
  actual: Actual | undefined;
  /** What can be compared with it; undefined without a usable build. */
  planned: Desired | undefined;
  missingRights: Finding[];
}

/** Goes on without what these credentials may not read. */
async function tryToRead(server: Server, desired: Desired | undefined): Promise<ReadServer> {
  try {
    const actual = await readActual(server, desired);
    const text = 'these credentials may not read access policies: they were not checked';
    const finding: Finding = { level: 'warning', check: 'rights', text };
    return { actual, planned: desired, missingRights: actual.policies ? [] : [finding] };
  } catch (error) {
    if (!(error instanceof UserError)) {
      throw error;
    }
    const finding: Finding = { level: 'error', check: 'rights', text: error.message };
    if (!desired?.hasResources) {
      return { actual: undefined, planned: desired, missingRights: [finding] };
    }
    // Perhaps only the types of resources/ are what these credentials may not read.
    const bots = { ...desired, resources: [], hasResources: false };
    const rest = await tryToRead(server, bots);
    return rest.actual ? { ...rest, missingRights: [finding, ...rest.missingRights] } : rest;
  }
}

/** Settings that need a newer server than Medplum 5.1. */
const SINCE_5_2: { member: string; isUsed: (bot: BotConfig) => boolean }[] = [
  { member: 'rawBody', isUsed: ({ rawBody }) => rawBody !== undefined },
  { member: 'cronJobs', isUsed: ({ cronJobs }) => cronJobs.length > 0 },
];

function checkVersion(version: string | undefined, bots: readonly BotConfig[]): Finding[] {
  if (version === undefined) {
    return [];
  }
  const [major = 0, minor = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
  const isOlder = major < 5 || (major === 5 && minor < 2);
  const lacking = SINCE_5_2.flatMap(({ member, isUsed }) =>
    bots.filter(isUsed).map(({ name }) => ({ name, member })),
  );
  const found: Finding = { level: 'ok', check: 'server-version', text: `Medplum ${version}` };
  return isOlder
    ? [
        found,
        ...lacking.map(({ name, member }): Finding => ({
          level: 'warning',
          check: 'server-version',
          text: `${name} has "${member}", which Medplum ${version} does not know: it needs 5.2`,
        })),
      ]
    : [found];
}

async function readHealth({ environment }: Server): Promise<{
  headers: IncomingHttpHeaders;
  version: string | undefined;
}> {
  const url = `${environment.baseUrl}healthcheck`;
  const { status, headers, text } = await exchange('GET', url, undefined, {}, LIMITS);
  return { headers, version: status === 200 ? versionIn(text) : undefined };
}

function versionIn(text: string): string | undefined {
  try {
    const { version } = parseJson(text, LIMITS.values) as { version?: unknown };
    return typeof version === 'string' ? version : undefined;
  } catch {
    return undefined;
  }
}

/** Seconds that two clocks may differ before it matters to anyone. */
const MAX_CLOCK_DIFFERENCE = 60;

/** @param date - the server's time, as it stands in the header of an answer */
function checkClock(date = ''): Finding[] {
  const seconds = Math.round((Date.now() - Date.parse(date)) / 1000);
  if (Number.isNaN(seconds) || Math.abs(seconds) <= MAX_CLOCK_DIFFERENCE) {
    return [];
  }
  const direction = seconds > 0 ? 'ahead of' : 'behind';
  const text =
    `the clock of this machine is ${Math.abs(seconds)} seconds ${direction} the server's: ` +
    'times such as logs --since 1h are wrong by that. Correct the clock';
  return [{ level: 'warning', check: 'clock', text }];
}

function checkProject({ project }: Actual): Finding[] {
  if (!project) {
    return [];
  }
  const features = project.features?.join(', ') || 'none';
  const secrets = (project.secret ?? []).map(({ name }) => name).join(', ') || 'none';
  return [
    { level: 'ok', check: 'project', text: `features of the project: ${features}` },
    { level: 'ok', check: 'project', text: `secrets of the project: ${secrets}` },
  ];
}

/** Environments of one project share its secrets and its events. */
function checkEnvironments({ bots }: Actual, system: string, environment: string): Finding[] {
  const keys = bots.flatMap((bot) =>
    (bot.identifier ?? [])
      .filter((identifier) => identifier.system === system)
      .map((identifier) => identifier.value ?? ''),
  );
  const others = new Set(keys.map((key) => key.slice(0, key.indexOf('/'))));
  others.delete(environment);
  return [...others].map((other) => ({
    level: 'warning',
    check: 'environments',
    text:
      `${other} and ${environment} are in the same project: they share its secrets, ` +
      'and each event runs the bots of both. Use a project for each',
  }));
}

/** Values for an environment whose name has a typing error would never count. */
function checkEnvironmentNames(bots: readonly BotConfig[], environment: string): Finding[] {
  const names = new Set(bots.flatMap((bot) => bot.environments));
  const others = [...names].filter((name) => name !== environment && !existsSync(`.env.${name}`));
  return others.flatMap((name): Finding[] => {
    const hint = suggest(name, [environment]);
    const owners = bots.filter((bot) => bot.environments.includes(name));
    const text =
      `medplum.config.json has values of ${owners.map((bot) => bot.name).join(', ')} ` +
      `for the environment ${name}, and there is no .env.${name}.${hint}`;
    return hint ? [{ level: 'warning', check: 'environments', text }] : [];
  });
}

/**
 * Nothing here deletes what may belong to someone else; the official command line does, one by one.
 */
function deleteCommand(environment: string, reference: string): string {
  return `npx @medplum/cli delete ${reference} (with the variables of .env.${environment})`;
}

function checkMemberships({ bots, memberships = [] }: Actual, environment: string): Finding[] {
  const ids = new Set(bots.map(({ id }) => `Bot/${id}`));
  const dangling = memberships.filter(({ profile }) => !ids.has(profile.reference ?? ''));
  return dangling.map(({ id, profile }) => {
    const reference = `ProjectMembership/${id}`;
    return {
      level: 'warning',
      check: 'memberships',
      text:
        `${reference} is of ${profile.reference}, which is gone: ` +
        deleteCommand(environment, reference),
    };
  });
}

function checkForeignBots({ bots }: Actual, system: string, environment: string): Finding[] {
  const foreign = bots.filter(
    ({ identifier = [] }) => !identifier.some((candidate) => candidate.system === system),
  );
  if (foreign.length === 0) {
    return [];
  }
  const names = foreign.map(({ name = 'without a name', id }) => `${name} (${id})`);
  const adopt = commandFor(environment, 'import', '<id>');
  const text = `bots from elsewhere: ${listNames(names, MAX_NAMED)}; to adopt one: ${adopt}`;
  return [{ level: 'ok', check: 'foreign-bots', text }];
}

function checkSubscriptions(actual: Actual, environment: string): Finding[] {
  const active = actual.subscriptions.filter(({ status }) => status === 'active');
  const text = `${active.length} of ${MAX_ACTIVE_SUBSCRIPTIONS} active subscriptions`;
  const count: Finding =
    active.length > MAX_ACTIVE_SUBSCRIPTIONS
      ? {
          level: 'error',
          check: 'subscriptions',
          text:
            `${text}: the newest never fire. Remove some: ` +
            deleteCommand(environment, 'Subscription/<id>'),
        }
      : { level: 'ok', check: 'subscriptions', text };
  const single = active.flatMap((subscription) =>
    checkSubscription(subscription, actual, environment),
  );
  const broken = actual.subscriptions.filter(({ status }) => status === 'error');
  return [
    count,
    ...single,
    ...broken.map(({ id, error }): Finding => ({
      level: 'warning',
      check: 'subscriptions',
      text: `Subscription/${id} was switched off by the server (${error ?? 'no reason given'})`,
    })),
  ];
}

function checkSubscription(
  subscription: Subscription,
  { bots }: Actual,
  environment: string,
): Finding[] {
  const { id, criteria, channel } = subscription;
  const endpoint = channel?.endpoint ?? '';
  const remove = deleteCommand(environment, `Subscription/${id}`);
  const findings: Finding[] = [];
  const add = (level: Level, text: string): void => {
    findings.push({ level, check: 'subscriptions', text: `Subscription/${id} ${text}` });
  };
  const bot = bots.find((candidate) => startsBot(subscription, candidate));
  if (identifierInEndpoint(endpoint) !== undefined) {
    const replace = bot ? `write Bot/${bot.id} there, or` : 'no bot has it:';
    add('error', `never runs ${endpoint}, as Medplum wants an id: ${replace} ${remove}`);
  } else if (endpoint.startsWith('Bot/') && !bot) {
    add('warning', `starts ${endpoint}, which is gone: ${remove}`);
  }
  const [resourceType = ''] = criteria.split('?');
  if (!RESOURCE_TYPES.includes(resourceType)) {
    add('error', `never fires, as "${resourceType}" is not a resource type: ${remove}`);
  }
  return findings;
}

function checkPlan(desired: Desired, actual: Actual): Finding[] {
  const options = { force: false, prune: false, skipFailed: false, forAdmin: true };
  const { changes, problems, warnings } = plan(desired, actual, options);
  return [
    ...problems.map((problem): Finding => ({
      level: 'error',
      check: 'plan',
      text: describeProblem(problem),
    })),
    ...warnings.map((warning): Finding => ({
      level: 'warning',
      check: warning.type === 'no-policy' ? 'policies' : 'plan',
      text: describeWarning(warning),
    })),
    ...changes.map((change) => findingOf(change, desired.environment)),
  ];
}

/** Reasons for which a bot looks deployed and never runs. */
const DEAD_REASONS = ['membership-missing', 'code-unfinished'];

function findingOf(change: Change, environment: string): Finding {
  const { name, action, reasons } = change;
  const setup = commandFor(environment, 'setup:bots');
  const why = describeReasons(change, environment);
  switch (action) {
    case 'unchanged': {
      const note = reasons.length > 0 ? `, but: ${why}` : '';
      return { level: 'ok', check: 'plan', text: `${name} is as it should be${note}` };
    }
    case 'new':
      return { level: 'warning', check: 'plan', text: `${name} is not deployed yet: ${setup}` };
    case 'change': {
      const isDead = reasons.some(({ type }) => DEAD_REASONS.includes(type));
      const level = isDead ? 'error' : 'warning';
      return { level, check: 'plan', text: `${name}: ${why}: ${setup}` };
    }
    default: {
      const level = action === 'blocked' ? 'error' : 'warning';
      return { level, check: 'plan', text: `${name}: ${why}` };
    }
  }
}

/** What the plan says of bots without a policy, where there is no build to plan for. */
function checkPolicies(bots: readonly BotConfig[]): Finding[] {
  const names = botsWithoutPolicy(bots).map(({ name }) => name);
  return names.length === 0
    ? []
    : [{ level: 'warning', check: 'policies', text: `${noPolicyMessage(names)}.` }];
}

/** Failures of the last day, if the bot has not run well since. */
async function checkRuns(server: Server, own: readonly OwnBot[]): Promise<Finding[]> {
  if (own.length === 0) {
    return [];
  }
  const since = new Date(Date.now() - DAY).toISOString();
  const ids = own.map(({ bot }) => bot.id);
  let failed: AuditEvent[];
  try {
    failed = await readRuns(server, ids, `${FAILED}&_lastUpdated=gt${since}`);
  } catch (error) {
    if (error instanceof RequestError && error.status === 403) {
      const text = 'these credentials may not read AuditEvents: runs were not checked';
      return [{ level: 'warning', check: 'rights', text }];
    }
    throw error;
  }
  if (failed.length === 0) {
    return [{ level: 'ok', check: 'runs', text: 'no run failed in the last 24 hours' }];
  }
  const findings = await Promise.all(
    own.map(({ name, bot }) => {
      const runs = failed.filter((run) => isOf(run, bot.id));
      return checkFailures(server, name, bot.id, runs, since);
    }),
  );
  return findings.flat();
}

async function checkFailures(
  server: Server,
  name: string,
  id: string,
  failures: readonly AuditEvent[],
  since: string,
): Promise<Finding[]> {
  const [last] = failures;
  if (!last) {
    return [];
  }
  const runs = await readRuns(server, [id], `_lastUpdated=gt${since}`);
  const times = failures.length === 1 ? 'once' : `${failures.length} times`;
  const left = resourcesThatFailedLast(runs, id);
  if (left.length === 0) {
    const text = `${name} failed ${times} in 24 hours, and each of its events has succeeded since`;
    return [{ level: 'ok', check: 'runs', text }];
  }
  const logs = commandFor(server.environment.name, 'logs', name, '--failed');
  const text = `${name} failed ${times} in 24 hours, last at ${timeOf(last)}: ${logs}`;
  return [{ level: 'error', check: 'runs', text }];
}

/** What the newest run failed for; a failure that a later run repaired is forgotten. */
function resourcesThatFailedLast(newestFirst: readonly AuditEvent[], id: string): string[] {
  const newest = new Map<string, AuditEvent>();
  for (const run of newestFirst) {
    const input = inputOf(run, id) ?? '';
    newest.set(input, newest.get(input) ?? run);
  }
  return [...newest].filter(([, run]) => hasFailed(run)).map(([input]) => input);
}

/** A repository that knows its template is told of a newer version. */
function checkTemplate(folder: string): Finding[] {
  let manifest: Manifest;
  try {
    manifest = readManifest(folder);
  } catch {
    return [];
  }
  const newest = newestVersion(manifest.address);
  if (newest === undefined || !isNewer(newest, manifest.version)) {
    return [];
  }
  const text =
    `version ${newest} of the template is available, this repository has ${manifest.version}: ` +
    'npx medplum-bots template status';
  return [{ level: 'warning', check: 'template', text }];
}
