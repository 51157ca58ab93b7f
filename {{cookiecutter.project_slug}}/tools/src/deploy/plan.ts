// The plan: from what is wanted and what is stored, what has to be written and why. Pure: no
// request, no file. The reasons are values (reasons.ts); words for people are made by
// describe-plan.ts.
import type { Bot, Resource } from '@medplum/fhirtypes';
import type { Actual } from './actual.ts';
import { isWrite } from './change.ts';
import type { Action, Change, Plan, Step } from './change.ts';
import { findProblems, findWarnings, missingSecrets } from './checks.ts';
import type { Desired } from './desired.ts';
import type { DesiredBot } from './desired-bot.ts';
import { keyOf, ownBots, tagOf } from './identity.ts';
import { KINDS } from './kinds/index.ts';
import { DEPLOY_ORDER, REMOVE_ORDER } from './kinds/kind.ts';
import type { Kind, Pair, PlanOptions, Subject } from './kinds/kind.ts';
import { linkTo } from './links.ts';
import { indexByOwner } from './owner-index.ts';
import type { OwnerIndex } from './owner-index.ts';
import { planOrphans } from './plan-orphans.ts';
import { planResources } from './plan-resources.ts';
import type { Obstacle, Reason, Warning } from './reasons.ts';
import type { Stored } from './stored.ts';

/**
 * @param desired - what the repository wants
 * @param actual - what is on the server
 */
export function plan(desired: Desired, actual: Actual, options: PlanOptions): Plan {
  const owners = botsByKey(desired, actual);
  const index = indexByOwner(actual, desired.system);
  const planned = desired.bots.map((bot) =>
    planBot(bot, desired, { actual, index, owners }, options),
  );
  const unbuilt = desired.failed.map(notDeployable);
  const changes = [...planned.map(({ change }) => change), ...unbuilt];
  // Of bots that --only leaves out, nothing is known.
  const orphans = desired.only === undefined ? planOrphans(desired, actual, changes, options) : [];
  const all = [...changes, ...orphans, ...planResources(desired, actual, changes, options)];
  return {
    changes: all,
    problems: findProblems(desired, actual, all.filter(isWrite), options),
    warnings: [
      ...findWarnings(
        desired,
        actual,
        planned.map(({ change }) => change),
      ),
      ...planned.flatMap(({ warnings }) => warnings),
    ],
  };
}

/**
 * A bot whose bundle cannot be deployed. Its name stays known, so it is not taken for one that was
 * removed.
 */
function notDeployable({ name, message }: { name: string; message: string }): Change {
  return { name, action: 'blocked', reasons: [{ type: 'not-deployable', message }], steps: [] };
}

/**
 * The Bots that carry an identifier of this repository, by its value. There should be one of each.
 */
type Owners = ReadonlyMap<string, Stored<Bot>[]>;

function botsByKey({ system, environment }: Desired, { bots }: Actual): Owners {
  const owners = new Map<string, Stored<Bot>[]>();
  for (const { name, bot } of ownBots(bots, system, environment)) {
    const key = keyOf(environment, name);
    owners.set(key, [...(owners.get(key) ?? []), bot]);
  }
  return owners;
}

/** The resources on the server, and the bots they belong to. */
interface StoredResources {
  actual: Actual;
  index: OwnerIndex;
  owners: Owners;
}

interface PlannedBot {
  change: Change;
  warnings: Warning[];
}

function planBot(
  desired: DesiredBot,
  { system, environment }: Desired,
  { actual, index, owners }: StoredResources,
  options: PlanOptions,
): PlannedBot {
  const found = findBot(desired, actual, owners);
  if (found.obstacle) {
    return blocked(desired, undefined, found.obstacle);
  }
  const { existing } = found;
  // The Bot that `id` names may have another name on the server. What belongs to another Bot under
  // a previous name is not this one's.
  const [storedAs] = existing ? ownBots([existing], system, environment) : [];
  const storedName = storedAs?.name ?? desired.name;
  const isFree = (key: string): boolean =>
    (owners.get(key) ?? []).every((owner) => owner === existing);
  const previousKeys = [...desired.previousKeys, keyOf(environment, storedName)].filter(isFree);
  const bot = { ...desired, previousKeys };

  const held = tagOf(existing, `${system}/held`);
  if (held && tagOf(existing, `${system}/deployed`) !== held) {
    return blocked(bot, existing, { type: 'rollback-unfinished', version: held, name: storedName });
  }
  if (held) {
    const message = existing?.meta?.tag?.find((tag) => tag.system === `${system}/held`)?.display;
    const reason = { type: 'held', version: held, name: storedName, message } as const;
    return {
      change: {
        name: bot.name,
        action: 'held',
        reasons: [reason],
        steps: [],
        existing,
        desired: bot,
      },
      warnings: [],
    };
  }
  const keys = [bot.key, ...previousKeys];
  const subject: Subject = { bot, existing, keys, system, actual, index, options };
  const obstacle = findObstacle(subject);
  return obstacle ? blocked(bot, existing, obstacle) : planKinds(subject, environment);
}

/** What this server or these credentials cannot do for the bot. */
function findObstacle(subject: Subject): Obstacle | undefined {
  const { bot, existing, actual, options } = subject;
  const { memberships, project } = actual;
  if (!existing && !memberships && !options.forAdmin) {
    return { type: 'needs-admin' };
  }
  const secrets = project && options.skipFailed ? missingSecrets(bot, project) : [];
  if (secrets.length > 0) {
    return { type: 'secrets-missing', secrets };
  }
  for (const kind of KINDS) {
    const obstacle = kind.obstacle?.(subject);
    if (obstacle) {
      return obstacle;
    }
  }
  return undefined;
}

function blocked(
  desired: DesiredBot,
  existing: Stored<Bot> | undefined,
  obstacle: Obstacle,
): PlannedBot {
  const { name } = desired;
  const change: Change = {
    name,
    action: 'blocked',
    reasons: [obstacle],
    steps: [],
    existing,
    desired,
  };
  return { change, warnings: [] };
}

/** Compares every kind of resource that belongs to the bot. */
function planKinds(subject: Subject, environment: string): PlannedBot {
  const { bot, existing } = subject;
  const plans = KINDS.map((kind) => planKind(kind, subject));
  const steps = plans.flatMap((kindPlan) => kindPlan.steps);
  const ofExisting: Action = steps.length > 0 ? 'change' : 'unchanged';
  const change: Change = {
    name: bot.name,
    action: existing ? ofExisting : 'new',
    reasons: existing ? plans.flatMap(({ reasons }) => reasons) : [],
    steps: steps.toSorted((a, b) => a.order - b.order),
    existing,
    desired: bot,
  };
  const warnings = plans.flatMap((kindPlan) => kindPlan.warnings);
  const namesake = existing ? undefined : findNamesake(bot.name, subject.actual);
  if (namesake) {
    warnings.push({ type: 'name-taken', bot: bot.name, id: namesake.id, environment });
  }
  return { change, warnings };
}

interface KindPlan {
  steps: Step[];
  reasons: Reason[];
  warnings: Warning[];
}

function planKind(kind: Kind, subject: Subject): KindPlan {
  const stored = kind.find(subject);
  if (!stored) {
    return { steps: [], reasons: [], warnings: [] };
  }
  const { pairs, unwanted, others } = pairUp(kind, subject, stored);
  const written = pairs.map((pair) => planPair(kind, subject, pair, pairs));
  const removals = kind.unwanted && subject.options.prune ? unwanted : [];
  return {
    steps: [
      ...written.flatMap(({ steps }) => steps),
      ...removals.map((existing): Step => ({ type: 'remove', order: REMOVE_ORDER, existing })),
    ],
    reasons: [
      ...written.flatMap(({ reasons }) => reasons),
      ...unwanted.flatMap((resource) => kind.unwanted?.(subject, resource) ?? []),
    ],
    warnings: kind.warnings?.(subject, others) ?? [],
  };
}

/**
 * Each wanted resource gets the stored one that does the same; then those without one take what is
 * left, so that a changed resource is written in place.
 */
function pairUp(
  kind: Kind,
  subject: Subject,
  stored: readonly Stored[],
): { pairs: Pair<Resource>[]; unwanted: Stored[]; others: Stored[] } {
  const own = new Set(stored);
  const others = new Set(kind.findAdoptable?.(subject) ?? []);
  const takeFrom = (candidates: Set<Stored>, fits: (resource: Stored) => boolean) => {
    const found = [...candidates].find(fits);
    if (found) {
      candidates.delete(found);
    }
    return found;
  };
  const same = kind.desired(subject).map((wanted): Pair<Resource> => {
    const isSame = (resource: Stored): boolean => kind.isSame?.(resource, wanted) === true;
    return { wanted, stored: takeFrom(own, isSame) ?? takeFrom(others, isSame) };
  });
  const pairs = same.map((pair) => ({
    ...pair,
    stored: pair.stored ?? takeFrom(own, () => true),
  }));
  return { pairs, unwanted: [...own], others: [...others] };
}

function planPair(
  kind: Kind,
  subject: Subject,
  pair: Pair<Resource>,
  pairs: readonly Pair<Resource>[],
): { steps: Step[]; reasons: Reason[] } {
  const { resourceType, order } = kind;
  const { code, key } = subject.bot;
  const { fields, reasons, uploadsCode } = kind.compare(subject, pair, pairs);
  if (pair.stored && !uploadsCode && Object.keys(fields).length === 0) {
    return { steps: [], reasons };
  }
  const link = linkTo(resourceType, key);
  const write: Step = {
    type: 'write',
    order,
    resourceType,
    link,
    existing: pair.stored,
    fields,
    createQuery: pair.stored ? undefined : kind.createQuery(subject, fields),
    newId: pair.stored ? undefined : kind.newId?.(subject),
    ...(uploadsCode && { code }),
  };
  const deployment: Step = { type: 'deploy', order: DEPLOY_ORDER, link, sha256: code.sha256 };
  return { steps: uploadsCode ? [write, deployment] : [write], reasons };
}

/**
 * By `id` if the configuration has one, else by identifier, also that of a previous name. On the
 * local Medplum, which need not have the Bot that `id` names, the identifier counts first.
 */
function findBot(
  { key, previousKeys, id: configuredId }: DesiredBot,
  { bots, isLocalMedplum }: Actual,
  owners: Owners,
): { existing?: Stored<Bot> | undefined; obstacle?: Obstacle } {
  const holdersOf = (candidate: string): Stored<Bot>[] => owners.get(candidate) ?? [];
  const byId = bots.find((bot) => bot.id === configuredId);
  const hasHolder = holdersOf(key).length > 0;
  const idCounts = !isLocalMedplum || (byId !== undefined && !hasHolder);
  const id = idCounts ? configuredId : undefined;
  const isRenamed = id === undefined && !hasHolder;
  const previous = isRenamed
    ? previousKeys.find((candidate) => holdersOf(candidate).length > 0)
    : undefined;
  const identifier = previous ?? key;
  const [byKey, ...others] = holdersOf(identifier);
  if (byKey && others.length > 0) {
    const ids = [byKey, ...others].map((bot) => bot.id);
    return { obstacle: { type: 'identifier-twice', identifier, ids } };
  }
  if (id === undefined) {
    return { existing: byKey };
  }
  if (byKey && byKey.id !== id) {
    return { obstacle: { type: 'id-mismatch', id, foundId: byKey.id, identifier: key } };
  }
  return byId ? { existing: byId } : { obstacle: { type: 'id-unknown', id } };
}

/** A Bot of the same name that another tool made. */
function findNamesake(name: string, { bots }: Actual): Stored<Bot> | undefined {
  const isDeployed = (bot: Bot): boolean =>
    bot.meta?.tag?.some((tag) => tag.system?.endsWith('/deployed')) === true;
  return bots.find((bot) => bot.name === name && !isDeployed(bot));
}
