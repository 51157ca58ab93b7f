// The words for a plan. Everything else handles reasons, problems and warnings as values
// (reasons.ts).
import { commandFor } from '../config/environment.ts';
import { noPolicyMessage } from '../config/warnings.ts';
import { bold, dim, green, oneLine, printable, red, yellow } from '../terminal/output.ts';
import type { Action, Change, Plan } from './change.ts';
import type {
  AnyReason,
  CodeReason,
  MemberChange,
  OrphanReason,
  Problem,
  Trigger,
  Warning,
} from './reasons.ts';
import type { Server } from './server.ts';

/** The sign before a line of the plan, and the name in its sum. */
const ACTIONS: Record<Action, { sign: string; sum: string }> = {
  new: { sign: green('+'), sum: 'to create' },
  change: { sign: yellow('~'), sum: 'to change' },
  remove: { sign: red('-'), sum: 'to remove' },
  held: { sign: '=', sum: 'held' },
  blocked: { sign: red('!'), sum: 'blocked' },
  orphan: { sign: '?', sum: 'only on the server' },
  unchanged: { sign: ' ', sum: 'unchanged' },
};

/** Actions whose name is part of the line; the others are clear from their reasons. */
const NAMED_ACTIONS: readonly Action[] = ['new', 'unchanged', 'held', 'blocked'];

/** Up to this many bots, those without changes are listed, too. */
const MAX_UNCHANGED_LINES = 20;

/** How many characters of a sha256 are shown. */
const SHORT = 16;

/**
 * The plan for people.
 *
 * @returns one line for each bot that changes or of which something is said, then warnings, then a
 *   sum
 */
export function planLines({ changes, warnings }: Plan, { environment }: Server): string[] {
  const width = Math.max(0, ...changes.map(({ name }) => name.length));
  const isShort = changes.length <= MAX_UNCHANGED_LINES;
  const shown = changes.filter(
    ({ action, reasons }) => isShort || action !== 'unchanged' || reasons.length > 0,
  );
  const lines = shown.map((change) => {
    const { sign } = ACTIONS[change.action];
    const text = printable(describeChange(change, environment.name));
    const styled = change.action === 'unchanged' ? dim(text) : text;
    return `${sign} ${change.name.padEnd(width)}  ${styled}`;
  });
  return [
    `${bold(environment.name)}: ${environment.baseUrl}`,
    ...lines,
    ...warnings.map((warning) => `${yellow('Warning:')} ${printable(describeWarning(warning))}`),
    `${describeSum(changes)}.`,
  ];
}

/**
 * The plan for programs: reasons, problems and warnings as values, without what would be written.
 */
export function planToJson(plan: Plan, { environment }: Server): object {
  const { name, baseUrl, projectId } = environment;
  const changes = plan.changes.map((change) => ({
    name: change.name,
    action: change.action,
    reasons: change.reasons,
    text: describeChange(change, name),
  }));
  const { problems, warnings } = plan;
  return { environment: name, baseUrl, projectId, changes, problems, warnings };
}

/** `code (src/shared/retry.ts changed), settings (timeout: 10 -> 20)` */
export function describeChange(change: Change, environment: string): string {
  const { action } = change;
  const reasons = describeReasons(change, environment);
  return (NAMED_ACTIONS.includes(action) ? [action, reasons] : [reasons])
    .filter(Boolean)
    .join(', ');
}

/** The same without the action. */
export function describeReasons({ reasons }: Change, environment: string): string {
  return reasons.map((reason) => describeReason(reason, environment)).join(', ');
}

function describeSum(changes: readonly Change[]): string {
  const counts = Object.entries(ACTIONS).map(([action, { sum }]) => {
    const count = changes.filter((change) => change.action === action).length;
    return { count, text: `${count} ${sum}` };
  });
  const texts = counts.filter(({ count }) => count > 0).map(({ text }) => text);
  return texts.join(', ') || 'no bots';
}

/**
 * @param environment - for the commands that a reason names
 * @returns a few words, such as `subscription (new: Patient)`
 */
export function describeReason(reason: AnyReason, environment: string): string {
  switch (reason.type) {
    case 'renamed':
      return `renamed (was ${reason.from})`;
    case 'adopted':
      return 'adopted (identifier added)';
    case 'settings-changed':
      return `settings (${reason.changes.map(describeMember).join(', ')})`;
    case 'policy-new':
      return 'access policy (new)';
    case 'policy-changed':
      return 'access policy (changed)';
    case 'policy-not-attached':
      return 'access policy (not attached)';
    case 'policy-unwanted':
      return `access policy (no longer in medplum.config.json${pruneHint(reason.removed)})`;
    case 'membership-missing':
      return 'membership (missing: no event would run it)';
    case 'subscription-new':
      return `subscription (new: ${describeTrigger(reason.trigger)})`;
    case 'subscription-replaced':
      return `subscription (${describeTrigger(reason.from)} -> ${describeTrigger(reason.to)})`;
    case 'subscription-off': {
      const error = reason.error ? `; error: ${oneLine(reason.error)}` : '';
      return `subscription (was off: ${describeTrigger(reason.trigger)}${error})`;
    }
    case 'subscription-adopted':
      return `subscription (adopted: ${describeTrigger(reason.trigger)})`;
    case 'subscription-changed': {
      const members = reason.members.join(', ');
      return `subscription (${describeTrigger(reason.trigger)}: ${members} changed)`;
    }
    case 'subscription-renamed':
      return `subscription (renamed: ${describeTrigger(reason.trigger)})`;
    case 'subscription-unwanted': {
      const trigger = describeTrigger(reason.trigger);
      return `subscription (no longer wanted: ${trigger}${pruneHint(reason.removed)})`;
    }
    case 'cron-new':
      return `cron job (new: ${reason.job})`;
    case 'cron-changed':
      return `cron job (${reason.job}: ${reason.members.join(', ')} changed)`;
    case 'cron-unwanted':
      return `cron job (no longer wanted: ${reason.job}${pruneHint(reason.removed)})`;
    case 'policy-unknown':
      return `the project has no access policy with the name "${reason.policy}"`;
    case 'policy-ambiguous':
      return (
        `the project has several access policies with the name "${reason.policy}": ` +
        'rename all but one'
      );
    case 'cron-unsupported':
      return 'this server has no Cron resources: "cronJobs" needs Medplum 5.2';
    case 'cron-forbidden':
      return 'these credentials may not read Cron resources: allow it in their access policy';
    case 'cron-needs-admin':
      return (
        `the cron job ${reason.jobs.join(', ')} is new, ` +
        "and only a project admin can see the bot's membership, which it runs as"
      );
    case 'signature-needs-admin':
      return (
        `a subscription is new or changed and signed with ${reason.secrets.join(', ')}, ` +
        'and only a project admin can read secrets'
      );
    case 'resource-changed':
      return `${reason.resourceType} (${reason.members.join(', ')} changed)`;
    case 'resource-not-in-repository':
      return `${reason.resourceType} (its file is gone${pruneHint(reason.removed)})`;
    case 'resource-ambiguous':
      return `${reason.references.join(' and ')} have its url or identifier: delete all but one`;
    case 'resource-of-other':
      return (
        `it is deployed by ${reason.owner} already: ` +
        'one repository and environment deploys a resource'
      );
    case 'resource-bot-unknown':
      return `it refers to Bot/${reason.bots.join(', Bot/')}, which is not in medplum.config.json`;
    case 'resource-bot-missing':
      return `it refers to Bot/${reason.bots.join(', Bot/')}, which is not deployed yet`;
    case 'rollback-unfinished': {
      const version = reason.version.slice(0, SHORT);
      const command = commandFor(environment, 'rollback', reason.name, '--to', version);
      return `its rollback did not finish; run it again: ${command}`;
    }
    case 'needs-admin':
      return (
        'new, but these credentials are not of a project admin, ' +
        'and only an admin can give a bot the membership it needs to run'
      );
    case 'identifier-twice': {
      const bots = reason.ids.map((id) => `Bot/${id}`).join(' and ');
      return `${bots} both have the identifier ${reason.identifier}: remove it from the wrong one`;
    }
    case 'id-mismatch':
      return (
        `medplum.config.json gives it the id ${reason.id}, ` +
        `but Bot/${reason.foundId} has its identifier ${reason.identifier}`
      );
    case 'id-unknown':
      return (
        `this project has no Bot/${reason.id}, which is its id in medplum.config.json: ` +
        'remove "id" there, or give this environment another one'
      );
    case 'secrets-missing':
      return `the project has no secret ${reason.secrets.join(', ')}`;
    case 'not-deployable':
      return reason.message;
    case 'held': {
      const release = commandFor(environment, 'rollback', reason.name, '--release');
      const message = reason.message ? ` ("${reason.message}")` : '';
      const version = reason.version.slice(0, SHORT);
      return `at ${version} by a rollback${message}; to end that: ${release}`;
    }
    case 'not-configured':
      return describeOrphan(reason);
    default:
      return `code (${describeCode(reason)})`;
  }
}

function describeCode(reason: CodeReason): string {
  switch (reason.type) {
    case 'code-missing':
      return 'it has none yet';
    case 'code-replaced':
      return `another tool deployed ${reason.title} since`;
    case 'code-foreign':
      return `instead of ${reason.title}`;
    case 'code-unfinished':
      return 'its last deployment did not finish';
    case 'code-sources-changed':
      return `${reason.paths.join(', ')} changed`;
    case 'code-imports-removed':
      return 'fewer imports';
    case 'code-built-differently':
      return 'the same sources, built differently';
    case 'code-forced':
      return 'deployed again: --force';
    case 'code-settings-changed':
      return `deployed again: ${reason.members.join(', ')} changed`;
  }
}

function describeOrphan(reason: OrphanReason): string {
  const texts = [`no longer in medplum.config.json (${reason.resourceTypes.join(', ')})`];
  if (reason.removal.type !== 'removed' && reason.resourceTypes.includes('Bot')) {
    const triggers = reason.triggers.map(describeTrigger);
    const schedule = reason.cron ? [`cron ${reason.cron}`] : [];
    const all = [...triggers, ...schedule].join('; ') || 'nothing but direct calls';
    texts.push(`it is still running, started by ${all}`);
  }
  if (reason.renamedTo) {
    texts.push(
      `if it is ${reason.renamedTo} now, ` +
        `add its old name to "previousNames" of ${reason.renamedTo}`,
    );
  }
  switch (reason.removal.type) {
    case 'prune':
      texts.push('--prune removes it');
      break;
    case 'needs-admin':
      texts.push('only a project admin can remove it');
      break;
    case 'shared':
      texts.push(
        `it also has the identifier ${reason.removal.identifier}, so it stays: ` +
          'remove our identifier from it in the Medplum app',
      );
  }
  return texts.join('; ');
}

function pruneHint(isRemoved: boolean): string {
  return isRemoved ? '' : '; --prune removes it';
}

/** `Patient, create` */
export function describeTrigger({ criteria, interactions }: Trigger): string {
  return [criteria, ...interactions].join(', ');
}

function describeMember({ member, from, to }: MemberChange): string {
  return `${member}: ${showValue(from)} -> ${showValue(to)}`;
}

function showValue(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? 'none');
}

/** One line with what to do. */
export function describeProblem(problem: Problem): string {
  switch (problem.type) {
    case 'secret-missing': {
      const file = `.env.${problem.environment}.secrets`;
      return (
        `The project has no secret ${problem.secret} (for ${problem.bots.join(', ')}).` +
        ` Write ${problem.secret}=<value> into ${file} and run: npm run secrets -- push ${file}`
      );
    }
    case 'feature-missing':
      return (
        `The project lacks the feature "${problem.feature}", so no bot would run. ` +
        'Ask a server admin to enable it.'
      );
    case 'too-many-subscriptions': {
      const { now, after, limit } = problem;
      const doctor = commandFor(problem.environment, 'doctor');
      return (
        `The project has ${now} active subscriptions and would have ${after}; ` +
        `Medplum uses ${limit} only. Remove some: ${doctor}`
      );
    }
  }
}

export function describeWarning(warning: Warning): string {
  switch (warning.type) {
    case 'no-admin':
      return (
        'These credentials are not of a project admin: ' +
        'memberships, policies and secrets were not checked.'
      );
    case 'admin-needed':
      return (
        `Only a project admin can create ${warning.bots.join(', ')}: ` +
        'a new bot needs a membership to run.'
      );
    case 'cron-missing':
      return (
        'The project lacks the feature "cron": ' +
        `no schedule will start ${warning.bots.join(', ')}.`
      );
    case 'no-policy':
      return `${noPolicyMessage(warning.bots)}.`;
    case 'name-taken': {
      const adopt = commandFor(warning.environment, 'import', warning.id);
      return `${warning.bot}: Bot/${warning.id} has this name, too. To adopt it instead: ${adopt}`;
    }
    case 'foreign-subscription': {
      const subscription = `Subscription/${warning.id} (${describeTrigger(warning.trigger)})`;
      return `${warning.bot}: ${subscription} starts it, too, and is not part of this repository.`;
    }
  }
}
