// Checks that medplum.config.json fits src/shared/sync/config.ts; `npm run build` refuses what does
// not.
import type { Finding } from '../bundling/finding.ts';
import type { AccessPolicyRule } from '../config/access-policy.ts';
import type { BotConfig } from '../config/config.ts';
import { syncConfig } from '../../../src/shared/sync/config.ts';
import type { SyncConfig } from '../../../src/shared/sync/config.ts';
import { isSupported, rulesOf, TYPES } from '../../../src/shared/sync/types.ts';

const CONFIG = 'src/shared/sync/config.ts';
const SYNC_BOT = 'hapi-sync-bot';
const RECONCILE_BOT = 'hapi-reconcile-bot';

/**
 * Finds what does not fit together.
 *
 * @param bots - The bots of medplum.config.json.
 * @param config - The configuration of the sync; that of the repository if it is left out.
 * @returns An error for each problem, with what to do.
 */
export function check(
  bots: BotConfig[],
  config: Pick<SyncConfig, 'types' | 'onDelete'> = syncConfig({}),
): Finding[] {
  return bots
    .filter(({ name }) => name === SYNC_BOT || name === RECONCILE_BOT)
    .flatMap((bot) => [
      ...problemsOfTypes(config).map((message) => finding(bot, CONFIG, message)),
      ...problemsOfBot(bot, config).map((message) => finding(bot, 'medplum.config.json', message)),
    ]);
}

function finding({ name }: BotConfig, file: string, message: string): Finding {
  return { severity: 'error', kind: 'sync-configuration', message, file, bots: [name] };
}

function problemsOfTypes({ types, onDelete }: Pick<SyncConfig, 'types' | 'onDelete'>): string[] {
  const problems: string[] = [];
  for (const type of types) {
    if (!isSupported(type)) {
      const supported = Object.keys(TYPES).join(', ');
      problems.push(`"${String(type)}" cannot be synced; supported are ${supported}`);
    } else if (onDelete === 'deactivate' && !rulesOf(type).hasActive) {
      problems.push(
        `onDelete "deactivate" is not possible for ${type}, which has no "active"; use "delete"`,
      );
    }
  }
  const repeated = types.find((type, index) => types.indexOf(type) !== index);
  return repeated ? [...problems, `"${repeated}" is named twice among the types`] : problems;
}

function problemsOfBot(bot: BotConfig, { types }: Pick<SyncConfig, 'types'>): string[] {
  const where = bot.name;
  const isSubscribed = bot.name === SYNC_BOT;
  const criteria = bot.subscriptions.map((subscription) => subscription.criteria);
  const problems: string[] = [];
  for (const type of types) {
    // A repository may leave a type to another bot, or run this one in another way: then it has no
    // subscription at all.
    if (isSubscribed && criteria.length > 0 && !criteria.includes(type)) {
      const add = `{ "criteria": "${type}", "interactions": ["create", "update", "delete"] }`;
      problems.push(`${where} has no subscription to ${type}; add ${add}`);
    }
  }
  for (const other of isSubscribed ? criteria : []) {
    const type = other.split('?')[0];
    if (!types.some((synced) => synced === type)) {
      problems.push(`${where} is subscribed to ${type}, which is not among the types of ${CONFIG}`);
    }
  }
  // An access policy that is not kept in this repository cannot be checked here.
  const rules = bot.accessPolicy?.kind === 'own' ? bot.accessPolicy.resources : undefined;
  if (rules) {
    problems.push(...types.flatMap((type) => problemsOfAccess(where, type, rules)));
    if (!isSubscribed && !rules.some(({ resourceType }) => ['*', 'Basic'].includes(resourceType))) {
      problems.push(
        `${where} keeps its progress in a Basic resource; ` +
          'add { "resourceType": "Basic" } to its accessPolicy',
      );
    }
  }
  return problems;
}

/**
 * A criteria would answer 404 to what is outside of it, and a 404 cannot be told from a deletion.
 */
function problemsOfAccess(where: string, type: string, rules: AccessPolicyRule[]): string[] {
  const entries = rules.filter(({ resourceType }) => resourceType === type || resourceType === '*');
  if (entries.length === 0) {
    const add = `{ "resourceType": "${type}", "readonly": true }`;
    return [`${where} may not read ${type}; add ${add} to its accessPolicy`];
  }
  return entries.every(({ criteria }) => criteria)
    ? [`${where} may read ${type} with criteria only; give it a rule without (see inScope)`]
    : [];
}
