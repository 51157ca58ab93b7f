// The plan: from what is wanted and what is there, what has to be done and why. A pure function: no request, no file.
import type {
  AccessPolicy,
  Bot,
  Identifier,
  ProjectMembership,
  Resource,
  Subscription,
} from '@medplum/fhirtypes';
import { differences, nameIn, ownBots, tagOf, tagsOf } from './actual.ts';
import type { Actual, Stored } from './actual.ts';
import type { Code, Desired, DesiredBot } from './desired.ts';
import { commandFor } from '../config/environment.ts';
import { emptyChange, planOrphans, planRights, planSubscriptions } from './plan-attached.ts';
import type { Fields } from './server.ts';

/** What is to be written of one resource: a new one, or new values of members of one that is there. */
export interface Write<T extends Resource> {
  existing?: Stored<T> | undefined;
  fields: Fields;
}

/** All that is to be done for one bot, in the order in which it is done. */
export interface Change {
  name: string;
  action: 'new' | 'change' | 'remove' | 'unchanged' | 'held' | 'blocked' | 'orphan';
  /** For people: what, and why. */
  reasons: string[];
  /** Also for people: what nobody here can mend. */
  warnings: string[];
  desired?: DesiredBot | undefined;
  existing?: Stored<Bot> | undefined;
  /** Its access policy; with nothing in `fields` where it is already as wanted. */
  policy?: Write<AccessPolicy> | undefined;
  /** New values of the Bot; without `existing`, all of a new one. */
  bot?: Fields | undefined;
  /** Upload the code and `$deploy`. */
  code?: boolean;
  /** A membership that is missing, or whose access policy is not the one of the configuration. */
  membership?: {
    existing?: Stored<ProjectMembership> | undefined;
    policy: 'keep' | 'attach' | 'detach';
  };
  subscriptions: Write<Subscription>[];
  /** Switched off first where it is a Subscription, then deleted, in this order. */
  removals: Stored<Resource>[];
}

export interface Plan {
  changes: Change[];
  /** Nothing at all may be written before these are mended. */
  problems: string[];
  warnings: string[];
}

/** The server looks at no more active subscriptions of a project than this [Medplum 5.1, workers/subscription.ts]. */
export const MAX_ACTIVE_SUBSCRIPTIONS = 1000;

/** Members of a Bot that reach an AWS Lambda only through `$deploy`. */
const NEEDS_DEPLOY = ['timeout', 'runtimeVersion'];

export interface PlanOptions {
  /** Deploy code that is unchanged too. */
  force: boolean;
  /** Remove what the configuration no longer has. */
  prune: boolean;
}

/**
 * @param desired - what the repository wants
 * @param actual - what is on the server
 */
export function plan(desired: Desired, actual: Actual, options: PlanOptions): Plan {
  const byName = new Map<string, Stored<Bot>[]>();
  for (const { name, bot } of ownBots(actual.bots, desired.system, desired.environment))
    byName.set(name, [...(byName.get(name) ?? []), bot]);
  const withKey: WithKey = (key) => byName.get(nameIn(key)) ?? [];
  const changes = desired.bots.map((bot) => planBot(desired, bot, actual, withKey, options));
  if (!desired.only) changes.push(...planOrphans(desired, actual, changes, options.prune));
  const warnings = [
    ...warningsOf(desired, actual),
    ...changes.flatMap((change) => change.warnings),
  ];
  return { changes, problems: problemsOf(desired, actual, changes.filter(isWrite)), warnings };
}

/** Whether anything is written for it. */
export function isWrite({ action }: Change): boolean {
  return action === 'new' || action === 'change' || action === 'remove';
}

/** The bots that carry a key as identifier of this repository; should be one. */
type WithKey = (key: string) => Stored<Bot>[];

function planBot(
  all: Desired,
  wanted: DesiredBot,
  actual: Actual,
  withKey: WithKey,
  options: PlanOptions,
): Change {
  const { system, environment } = all;
  const { name } = wanted;
  const change: Change = { ...emptyChange(name), desired: wanted };
  const blocked = (reason: string): Change => ({ ...change, action: 'blocked', reasons: [reason] });
  const existing = findBot(wanted, actual, withKey);
  if (typeof existing === 'string') return blocked(existing);
  change.existing = existing;
  // One that `id` finds can have another name so far. What belongs to another bot under a previous name is that bot's.
  const [was = { name }] = ownBots(existing ? [existing] : [], system, environment);
  const free = (key: string): boolean => withKey(key).every((one) => one === existing);
  const previousKeys = [...wanted.previousKeys, `${environment}/${was.name}`].filter(free);
  const bot = { ...wanted, previousKeys };
  change.desired = bot;
  const held = tagOf(existing, `${system}/held`);
  const version = held?.slice(0, 16);
  const rollback = (...args: string[]): string =>
    commandFor(environment, 'rollback', was.name, ...args);
  if (held && tagOf(existing, `${system}/deployed`) !== held)
    return blocked(`its rollback did not finish; run again: ${rollback('--to', version!)}`);
  if (held) {
    const reason = `at ${version} by a rollback; to let go: ${rollback('--release')}`;
    return { ...change, action: 'held', reasons: [reason] };
  }
  if (!existing && !actual.memberships) {
    return blocked(
      'new, but these credentials are no project admin, and a bot without a membership never runs',
    );
  }
  planSettings(system, bot, change);
  planCode(system, bot, change, options.force);
  planRights(system, bot, actual, change, options.prune);
  planSubscriptions(system, bot, actual, change, options.prune);
  if (existing) return { ...change, action: isEmpty(change) ? 'unchanged' : 'change' };
  const isDeployed = (one: Bot): boolean =>
    one.meta?.tag?.some((tag) => tag.system?.endsWith('/deployed')) === true;
  const twin = actual.bots.find((one) => one.name === name && !isDeployed(one))?.id;
  const adopt = twin && `To adopt it instead: ${commandFor(environment, 'import', twin)}`;
  if (twin) change.warnings.push(`${name}: Bot/${twin} has this name too. ${adopt}`);
  return { ...change, action: 'new', reasons: [] };
}

function isEmpty({ policy, bot, code, membership, subscriptions, removals }: Change): boolean {
  return ![
    bot,
    code,
    membership,
    ...Object.keys(policy?.fields ?? {}),
    ...subscriptions,
    ...removals,
  ].some(Boolean);
}

/** By identifier, else by `id` or under a previous name. A string says why it cannot be told which one it is. */
function findBot(
  { key, previousKeys, id }: DesiredBot,
  { bots }: Actual,
  withKey: WithKey,
): Stored<Bot> | string | undefined {
  const used =
    (id ? [] : previousKeys).find((one) => withKey(key).length === 0 && withKey(one).length > 0) ??
    key;
  const [byKey, second] = withKey(used);
  if (second)
    return `Bot/${byKey?.id} and Bot/${second.id} both carry the identifier ${used}: remove it from the wrong one`;
  if (!id) return byKey;
  if (byKey && byKey.id !== id)
    return `medplum.config.json gives it the id ${id}, but Bot/${byKey.id} its identifier ${key}`;
  return (
    bots.find((bot) => bot.id === id) ??
    `Bot/${id}, as medplum.config.json has it, is not in this project`
  );
}

function planSettings(
  system: string,
  { key, previousKeys, settings }: DesiredBot,
  change: Change,
): void {
  const { existing } = change;
  const isOurs = (one: Identifier): boolean =>
    one.system === system && [key, ...previousKeys].includes(one.value ?? '');
  const previous = existing?.identifier?.find(isOurs)?.value;
  const identifier = [
    ...(existing?.identifier ?? []).filter((one) => !isOurs(one)),
    { system, value: key },
  ];
  // Only Medplum's admin endpoint fills this in; a Bot without it is deployed well and never runs.
  const runtimeVersion = settings['runtimeVersion'] ?? existing?.runtimeVersion ?? 'awslambda';
  const fields = differences(existing, {
    ...settings,
    runtimeVersion,
    ...(previous !== key && { identifier }),
  });
  if (Object.keys(fields).length > 0) change.bot = fields;
  if (fields['identifier'])
    change.reasons.push(
      previous ? `renamed (was ${nameIn(previous)})` : 'adopted (identifier added)',
    );
  const show = (value: unknown): string =>
    typeof value === 'string' ? value : (JSON.stringify(value) ?? 'none');
  const said = Object.keys(fields).filter((member) => member !== 'identifier');
  const was = (member: string): string => show(existing?.[member as keyof Bot]);
  const changes = said.map((member) => `${member}: ${was(member)} -> ${show(fields[member])}`);
  if (said.length > 0) change.reasons.push(`settings (${changes.join(', ')})`);
}

function planCode(system: string, { code }: DesiredBot, change: Change, force: boolean): void {
  const { existing } = change;
  // Both have to agree: a `$deploy` that failed leaves the new title too.
  const isThere = existing?.executableCode?.title?.includes(code.sha256.slice(0, 16));
  const unchanged = isThere && tagOf(existing, `${system}/deployed`) === code.sha256;
  const moved = NEEDS_DEPLOY.filter((member) => change.bot && member in change.bot);
  if (unchanged && !force && moved.length === 0) return;
  change.code = true;
  const again = `deployed again: ${force ? '--force' : `${moved.join(', ')} changed`}`;
  if (existing)
    change.reasons.push(`code (${unchanged ? again : whyCode(system, existing, code)})`);
}

function whyCode(system: string, bot: Bot, code: Code): string {
  const title = bot.executableCode?.title;
  const deployed = tagOf(bot, `${system}/deployed`);
  if (!bot.executableCode) return 'it has none yet';
  if (deployed && !title?.includes(deployed.slice(0, 16)))
    return `something else has deployed ${title} since`;
  if (!deployed)
    return /\.[0-9a-f]{16}\.cjs$/.test(title ?? '')
      ? 'its last deployment did not finish'
      : `instead of ${title}`;
  const there = [...tagsOf(bot, `${system}/shared`), ...tagsOf(bot, `${system}/source`)];
  const wanted = [...code.shared, ...code.source];
  const changed = wanted.filter(([, version]) => !there.includes(version)).map(([path]) => path);
  if (changed.length > 0) return `${changed.join(', ')} changed`;
  return there.length > wanted.length ? 'imports less' : 'the same sources, built differently';
}

function problemsOf(
  { bots, environment }: Desired,
  { project, subscriptions }: Actual,
  changes: Change[],
): string[] {
  const problems: string[] = [];
  const there = [...(project?.secret ?? []), ...(project?.systemSecret ?? [])].map(
    ({ name }) => name,
  );
  const needed = new Set(
    bots.flatMap(({ secrets }) =>
      secrets.filter(({ optional }) => !optional).map(({ name }) => name),
    ),
  );
  for (const secret of project ? needed : []) {
    if (there.includes(secret)) continue;
    const users = bots.filter(({ secrets }) =>
      secrets.some(({ name, optional }) => name === secret && !optional),
    );
    const file = `.env.${environment}.secrets`;
    const cure = `Write ${secret}=<value> into ${file} and run: npm run secrets -- push ${file}`;
    const names = users.map(({ name }) => name).join(', ');
    problems.push(`The project has no secret ${secret} (for ${names}). ${cure}`);
  }
  if (project && !project.features?.includes('bots')) {
    problems.push(
      'The project lacks the feature "bots", so none would run. A server admin switches it on.',
    );
  }
  const isActive = (one: Partial<Subscription> | undefined): boolean => one?.status === 'active';
  const now = subscriptions.filter(isActive).length;
  const more = changes
    .flatMap((change) => change.subscriptions)
    .filter(({ existing }) => !isActive(existing)).length;
  const fewer = changes
    .flatMap((change) => change.removals as Partial<Subscription>[])
    .filter(isActive).length;
  if (more > 0 && now + more - fewer > MAX_ACTIVE_SUBSCRIPTIONS) {
    const limit = `Medplum looks at ${MAX_ACTIVE_SUBSCRIPTIONS} only. Remove some: ${commandFor(environment, 'doctor')}`;
    problems.push(
      `The project has ${now} active subscriptions and would have ${now + more - fewer}; ${limit}`,
    );
  }
  return problems;
}

function warningsOf({ bots }: Desired, { project, memberships }: Actual): string[] {
  const timed = bots.filter(({ settings }) => settings['cronString']).map(({ name }) => name);
  const idle = project && timed.length > 0 && !project.features?.includes('cron');
  return [
    ...(idle
      ? [`The project lacks the feature "cron": nothing will start ${timed.join(', ')}.`]
      : []),
    ...(memberships
      ? []
      : ['These credentials are no project admin: rights and secrets were not looked at.']),
  ];
}
