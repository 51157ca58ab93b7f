// What is checked before anything is written, beside the bots themselves.
import type { Project, Resource, Subscription } from '@medplum/fhirtypes';
import type { Actual } from './actual.ts';
import type { Desired } from './desired.ts';
import type { DesiredBot } from './desired-bot.ts';
import type { Change } from './change.ts';
import type { PlanOptions } from './kinds/kind.ts';
import type { Problem, Warning } from './reasons.ts';

/**
 * The server looks at no more active subscriptions of a project than this [Medplum 5.1,
 * workers/subscription.ts].
 */
export const MAX_ACTIVE_SUBSCRIPTIONS = 1000;

/**
 * @param writes - the changes that write something
 * @returns why nothing may be written
 */
export function findProblems(
  desired: Desired,
  actual: Actual,
  writes: readonly Change[],
  { skipFailed }: PlanOptions,
): Problem[] {
  const problems = skipFailed ? [] : findMissingSecrets(desired, actual.project);
  // Without the rights of an admin the project cannot be read.
  if (actual.project && !actual.project.features?.includes('bots')) {
    problems.push({ type: 'feature-missing', feature: 'bots' });
  }
  const now = actual.subscriptions.filter(isActive).length;
  const steps = writes.flatMap((change) => change.steps);
  const added = steps.filter(
    (step) =>
      step.type === 'write' &&
      step.resourceType === 'Subscription' &&
      !isActive(step.existing as Subscription | undefined),
  ).length;
  const removed = steps.filter((step) => step.type === 'remove' && isActive(step.existing)).length;
  const after = now + added - removed;
  if (added > 0 && after > MAX_ACTIVE_SUBSCRIPTIONS) {
    const { environment } = desired;
    const limit = MAX_ACTIVE_SUBSCRIPTIONS;
    problems.push({ type: 'too-many-subscriptions', now, after, limit, environment });
  }
  return problems;
}

/** The names of the secrets that a bot needs and the project lacks. */
export function missingSecrets(bot: DesiredBot, project: Project): string[] {
  const secrets = [...(project.secret ?? []), ...(project.systemSecret ?? [])];
  const names = new Set(secrets.map(({ name }) => name));
  const required = bot.secrets.filter(({ optional }) => !optional).map(({ name }) => name);
  const signing = bot.subscriptions.flatMap(({ secret }) => secret ?? []);
  return [...new Set([...required, ...signing])].filter((name) => !names.has(name));
}

function findMissingSecrets(
  { bots, environment }: Desired,
  project: Project | undefined,
): Problem[] {
  if (!project) {
    return [];
  }
  const users = new Map<string, string[]>();
  for (const bot of bots) {
    for (const secret of missingSecrets(bot, project)) {
      users.set(secret, [...(users.get(secret) ?? []), bot.name]);
    }
  }
  return [...users].map(([secret, names]) => {
    return { type: 'secret-missing', secret, bots: names, environment };
  });
}

function isActive(resource: Resource | undefined): boolean {
  return resource?.resourceType === 'Subscription' && resource.status === 'active';
}

/** @param changes - of the bots that the configuration has */
export function findWarnings(
  { bots }: Desired,
  { project, memberships }: Actual,
  changes: readonly Change[],
): Warning[] {
  const warnings: Warning[] = [];
  const unrestricted = changes
    .filter((change) => !isRestricted(change, memberships))
    .map(({ name }) => name);
  if (unrestricted.length > 0) {
    warnings.push({ type: 'no-policy', bots: unrestricted });
  }
  const scheduled = bots
    .filter(({ settings }) => settings['cronString'] ?? settings['cronTiming'])
    .map(({ name }) => name);
  if (project && scheduled.length > 0 && !project.features?.includes('cron')) {
    warnings.push({ type: 'cron-missing', bots: scheduled });
  }
  if (!memberships) {
    warnings.push({ type: 'no-admin' });
    const created = changes.filter(({ action }) => action === 'new').map(({ name }) => name);
    if (created.length > 0) {
      warnings.push({ type: 'admin-needed', bots: created });
    }
  }
  return warnings;
}

/**
 * Whether something limits what the bot may do: a policy, also one that was attached by hand, or
 * the rights of its caller.
 */
function isRestricted({ desired, existing }: Change, memberships: Actual['memberships']): boolean {
  if (!desired || desired.policy || desired.settings['runAsUser'] === true) {
    return true;
  }
  const membership =
    existing && memberships?.find(({ profile }) => profile.reference === `Bot/${existing.id}`);
  return membership !== undefined && (membership.accessPolicy ?? membership.access) !== undefined;
}
