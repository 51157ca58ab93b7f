// The plan: from what is wanted and what is there, what has to be done and why. A pure function: no request, no file.
import type { AccessPolicy, Bot, ProjectMembership, Resource, Subscription } from '@medplum/fhirtypes';
import { differences, tagOf, tagsOf } from './actual.ts';
import type { Actual, Stored } from './actual.ts';
import type { Desired, DesiredBot } from './desired.ts';
import { planRights, planSubscriptions } from './plan-attached.ts';
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
  desired?: DesiredBot | undefined;
  existing?: Stored<Bot> | undefined;
  /** Its access policy; with nothing in `fields` where it is already as wanted. */
  policy?: Write<AccessPolicy> | undefined;
  /** New values of the Bot; without `existing`, all of a new one. */
  bot?: Fields | undefined;
  /** Upload the code and `$deploy`. */
  code?: boolean;
  /** A membership that is missing, or whose access policy is not the one of the configuration. */
  membership?: { existing?: Stored<ProjectMembership> | undefined; policy: 'keep' | 'attach' | 'detach' };
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

/**
 * @param desired - what the repository wants
 * @param actual - what is on the server
 * @param options - `force`: deploy code that is unchanged too; `prune`: remove what the configuration no longer has
 */
export function plan(desired: Desired, actual: Actual, options: { force?: boolean; prune?: boolean } = {}): Plan {
  const { force = false, prune = false } = options;
  const warnings = warningsOf(desired, actual);
  const changes = desired.bots.map((bot) => planBot(desired, bot, actual, { force, prune }, warnings));
  const taken = new Set(changes.flatMap(({ existing }) => existing?.id ?? []));
  if (!desired.only) changes.push(...planOrphans(desired, actual, taken, prune));
  return { changes, problems: problemsOf(desired, actual, changes.filter(isWrite)), warnings };
}

/** Whether anything is written for it. */
export function isWrite({ action }: Change): boolean {
  return action === 'new' || action === 'change' || action === 'remove';
}

function planBot(
  { system }: Desired,
  bot: DesiredBot,
  actual: Actual,
  { force, prune }: { force: boolean; prune: boolean },
  warnings: string[],
): Change {
  const change: Change = {
    name: bot.name,
    action: 'unchanged',
    reasons: [],
    desired: bot,
    subscriptions: [],
    removals: [],
  };
  const found = findBot(system, bot, actual);
  if (typeof found === 'string') return { ...change, action: 'blocked', reasons: [found] };
  const existing = (change.existing = found);
  const held = tagOf(existing, `${system}/held`);
  if (held) {
    if (tagOf(existing, `${system}/deployed`) !== held) {
      const reason = `its rollback did not finish; run again: npm run rollback -- ${bot.name} --to ${held.slice(0, 16)}`;
      return { ...change, action: 'blocked', reasons: [reason] };
    }
    const reason = `at ${held.slice(0, 16)} by a rollback; to let go: npm run rollback -- ${bot.name} --release`;
    return { ...change, action: 'held', reasons: [reason] };
  }
  if (!existing && !actual.memberships) {
    const reason = 'new, but these credentials are no project admin, and a bot without a membership never runs';
    return { ...change, action: 'blocked', reasons: [reason] };
  }
  planSettings(system, bot, change);
  planCode(system, bot, change, force);
  planRights(system, bot, actual, change, prune);
  planSubscriptions(system, bot, actual, change, prune, warnings);
  if (!existing) {
    const twin = actual.bots.find(({ name }) => name === bot.name);
    const adopt = `To adopt it instead: npm run import -- ${bot.name}`;
    if (twin)
      warnings.push(`${bot.name}: Bot/${twin.id} has this name too, but not this repository's identifier. ${adopt}`);
    return { ...change, action: 'new', reasons: [] };
  }
  const { policy, bot: settings, code, membership, subscriptions, removals } = change;
  const sum = Object.keys(policy?.fields ?? {}).length + subscriptions.length + removals.length;
  return settings || code || membership || sum > 0 ? { ...change, action: 'change' } : change;
}

/** By identifier, else by `id`, else under a previous name. A string says why the bot cannot be told. */
function findBot(system: string, bot: DesiredBot, { bots }: Actual): Stored<Bot> | string | undefined {
  const withKey = (key: string) =>
    bots.filter(({ identifier }) => identifier?.some((i) => i.system === system && i.value === key));
  const byKey = withKey(bot.key);
  if (byKey.length > 1) {
    const which = byKey.map(({ id }) => `Bot/${id}`).join(' and ');
    return `${which} both carry the identifier ${system}|${bot.key}: remove it from the wrong one`;
  }
  const byId = bot.id && bots.find(({ id }) => id === bot.id);
  if (bot.id && !byId) return `Bot/${bot.id} ("id" in medplum.config.json) is not in this project`;
  if (byId && byKey[0] && byKey[0].id !== byId.id) {
    return `"id" in medplum.config.json says Bot/${byId.id}, but Bot/${byKey[0].id} carries its identifier ${bot.key}`;
  }
  return byKey[0] ?? (byId || undefined) ?? bot.previousKeys.flatMap(withKey)[0];
}

function planSettings(system: string, bot: DesiredBot, change: Change): void {
  const { existing } = change;
  const identifier = [
    ...(existing?.identifier ?? []).filter(
      (i) => i.system !== system || ![bot.key, ...bot.previousKeys].includes(i.value ?? ''),
    ),
    { system, value: bot.key },
  ];
  const fields = differences(existing, { ...bot.settings, identifier });
  // A Lambda without a timeout is given one by `$deploy`, which writes the Bot for it, over edits made meanwhile.
  if (!existing && fields['timeout'] === undefined) fields['timeout'] = 10;
  if (Object.keys(fields).length === 0) return;
  change.bot = fields;
  if (!existing) return;
  const { identifier: renamed, ...settings } = fields;
  const previous = existing.identifier?.find((i) => i.system === system)?.value?.split('/')[1];
  if (renamed) change.reasons.push(previous ? `renamed (was ${previous})` : 'adopted (identifier added)');
  const show = (value: unknown) =>
    value === undefined ? 'none' : typeof value === 'string' ? value : JSON.stringify(value);
  const said = Object.entries(settings).map(
    ([key, value]) => `${key}: ${show(existing[key as keyof Bot])} -> ${show(value)}`,
  );
  if (said.length > 0) change.reasons.push(`settings (${said.join(', ')})`);
}

function planCode(system: string, { code }: DesiredBot, change: Change, force: boolean): void {
  const { existing } = change;
  const deployed = tagOf(existing, `${system}/deployed`);
  // Both have to agree: a `$deploy` that failed leaves the new title too.
  const unchanged = deployed === code.sha256 && existing?.executableCode?.title?.includes(code.sha256.slice(0, 16));
  const moved = NEEDS_DEPLOY.filter((member) => existing && change.bot && member in change.bot);
  if (unchanged && !force && moved.length === 0) return;
  change.code = true;
  if (!existing) return;
  if (!unchanged) change.reasons.push(`code (${whyCode(system, existing, change.desired!, deployed)})`);
  else change.reasons.push(`code (deployed again: ${force ? '--force' : `${moved.join(', ')} changed`})`);
}

function whyCode(system: string, existing: Bot, { code }: DesiredBot, deployed: string | undefined): string {
  if (!deployed) {
    const ours =
      existing.executableCode?.title?.includes(code.sha256.slice(0, 16)) || tagsOf(existing, `${system}/source`).length;
    if (ours) return 'its last deployment did not finish';
    return existing.executableCode ? 'deployed from elsewhere so far' : 'it has none yet';
  }
  const there = new Set([...tagsOf(existing, `${system}/shared`), ...tagsOf(existing, `${system}/source`)]);
  const sources = [...code.source, ...code.shared];
  const changed = sources.filter(([, version]) => !there.has(version)).map(([path]) => path);
  const names = new Set(sources.map(([, version]) => version.split('@')[0]));
  const dropped = [...there].map((version) => version.split('@')[0]!).filter((name) => !names.has(name));
  if (changed.length > 0) return `${changed.join(', ')} changed`;
  return dropped.length > 0 ? `${dropped.join(', ')} no longer in it` : 'built differently from the same sources';
}

/** Bots, subscriptions and policies of this repository and environment that the configuration no longer has. */
function planOrphans(
  { system, environment, names, bots }: Desired,
  actual: Actual,
  taken: Set<string>,
  prune: boolean,
): Change[] {
  const known = new Set([...names, ...bots.flatMap(({ previousKeys }) => previousKeys.map(nameIn))]);
  const orphans = new Map<string, Change>();
  const orphan = (key: string): Change => {
    const change = orphans.get(key) ?? {
      name: nameIn(key),
      action: 'orphan',
      reasons: [],
      subscriptions: [],
      removals: [],
    };
    orphans.set(key, change);
    return change;
  };
  const mine = (key: string | undefined): key is string => key?.startsWith(`${environment}/`) === true;
  const add = (resource: Stored<Resource>, key: string | undefined): void => {
    if (mine(key) && (orphans.has(key) || !known.has(nameIn(key)))) orphan(key).removals.push(resource);
  };
  const keyOf = (bot: Bot): string | undefined =>
    bot.identifier?.find((i) => i.system === system && mine(i.value))?.value;
  const gone = actual.bots.filter(
    (bot) => mine(keyOf(bot)) && !taken.has(bot.id) && !names.includes(nameIn(keyOf(bot)!)),
  );
  for (const bot of gone) orphan(keyOf(bot)!);
  for (const one of actual.subscriptions) add(one, tagOf(one, `${system}/subscription`)?.replace(/\/\d+$/, ''));
  for (const bot of gone) {
    const member = actual.memberships?.filter(({ profile }) => profile.reference === `Bot/${bot.id}`) ?? [];
    orphan(keyOf(bot)!).removals.push(...member);
  }
  for (const one of actual.policies ?? []) add(one, tagOf(one, `${system}/policy`));
  // The Bot last: while it is there, an interrupted removal is found and finished by the next run.
  for (const bot of gone) orphan(keyOf(bot)!).removals.push(bot);
  return [...orphans.values()].map((change) => {
    const what = change.removals.map(({ resourceType }) => resourceType).join(', ');
    const reason = `no longer in medplum.config.json (${what})${prune ? '' : '; --prune removes it'}`;
    return { ...change, action: prune ? 'remove' : 'orphan', reasons: [reason] };
  });
}

/** `staging/hapi-sync-bot` -> `hapi-sync-bot` */
function nameIn(key: string): string {
  return key.split('/')[1] ?? key;
}

function problemsOf({ bots, environment }: Desired, { project, subscriptions }: Actual, changes: Change[]): string[] {
  const problems: string[] = [];
  const names = new Set([...(project?.secret ?? []), ...(project?.systemSecret ?? [])].map(({ name }) => name));
  const required = bots.flatMap(({ name, secrets }) =>
    secrets.filter((s) => !s.optional).map((s) => ({ bot: name, secret: s.name })),
  );
  for (const secret of project ? new Set(required.map((use) => use.secret)) : []) {
    if (names.has(secret)) continue;
    const users = required.filter((use) => use.secret === secret).map(({ bot }) => bot);
    const file = `.env.${environment}.secrets`;
    const cure = `Write ${secret}=<value> into ${file} and run: npm run secrets -- push ${file}`;
    problems.push(`The project has no secret ${secret}, which ${users.join(', ')} needs. ${cure}`);
  }
  if (project && !project.features?.includes('bots')) {
    problems.push('The project lacks the feature "bots", so none would run. A server admin switches it on.');
  }
  const active = subscriptions.filter(({ status }) => status === 'active').length;
  const more = changes
    .flatMap((change) => change.subscriptions)
    .filter(({ existing }) => existing?.status !== 'active').length;
  const fewer = changes
    .flatMap((change) => change.removals)
    .filter((one) => 'status' in one && one.status === 'active').length;
  if (more > 0 && active + more - fewer > MAX_ACTIVE_SUBSCRIPTIONS) {
    const sum = `${active} active subscriptions and would have ${active + more - fewer}`;
    problems.push(
      `The project has ${sum}; Medplum looks at ${MAX_ACTIVE_SUBSCRIPTIONS} only. Remove some: npm run doctor`,
    );
  }
  return problems;
}

function warningsOf({ bots }: Desired, { project, memberships }: Actual): string[] {
  const timed = bots.filter(({ settings }) => settings['cronString']).map(({ name }) => name);
  const idle = project && timed.length > 0 && !project.features?.includes('cron');
  return [
    ...(idle ? [`The project lacks the feature "cron": nothing will start ${timed.join(', ')}.`] : []),
    ...(memberships ? [] : ['These credentials are no project admin: memberships and secrets were not looked at.']),
  ];
}
