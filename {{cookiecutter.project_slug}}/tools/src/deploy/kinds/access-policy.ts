// The AccessPolicy: what a bot may read and write. It is attached to the bot's ProjectMembership.
import type { AccessPolicy } from '@medplum/fhirtypes';
import { withTags } from '../identity.ts';
import { linkTo, token } from '../links.ts';
import { ownedBy } from '../owner-index.ts';
import { differences } from '../stored.ts';
import type { Stored } from '../stored.ts';
import type { Kind, Subject } from './kind.ts';

export const accessPolicyKind: Kind<AccessPolicy> = {
  resourceType: 'AccessPolicy',
  order: 1,
  needsDeploy: [],

  obstacle({ bot, actual }) {
    if (bot.policy?.type !== 'existing' || !actual.policies || !actual.memberships) {
      return undefined;
    }
    const { name } = bot.policy;
    const count = policiesNamed(actual.policies, name).length;
    if (count === 1) {
      return undefined;
    }
    return { type: count === 0 ? 'policy-unknown' : 'policy-ambiguous', policy: name };
  },

  desired({ bot }) {
    return bot.policy?.type === 'own' ? [{ name: bot.key, ...bot.policy.fields }] : [];
  },

  find({ actual, index, keys }) {
    // Only a project admin sees memberships, without which a policy is of no use.
    if (!actual.policies || !actual.memberships) {
      return undefined;
    }
    return ownedBy(index.policies, keys);
  },

  compare({ bot, system }, { wanted, stored }) {
    const tags = withTags(stored, policyTag(system), [bot.key]);
    const fields = differences(stored, { ...wanted, 'meta.tag': tags });
    if (!stored) {
      return { fields, reasons: [{ type: 'policy-new' }] };
    }
    const isChanged = Object.keys(fields).length > 0;
    return { fields, reasons: isChanged ? [{ type: 'policy-changed' }] : [] };
  },

  createQuery({ bot, system }) {
    return `_tag=${token(policyTag(system), bot.key)}`;
  },

  unwanted({ options }) {
    return { type: 'policy-unwanted', removed: options.prune };
  },
};

/** The system of the tag that says whose policy it is. */
export function policyTag(system: string): string {
  return `${system}/policy`;
}

/** The policy that the bot should have, or its link as long as it is not created. */
export function policyReference(subject: Subject): string | undefined {
  const { bot, actual } = subject;
  switch (bot.policy?.type) {
    case undefined:
      return undefined;
    case 'existing': {
      const [policy] = policiesNamed(actual.policies ?? [], bot.policy.name);
      return policy && `AccessPolicy/${policy.id}`;
    }
    case 'own': {
      const policy = accessPolicyKind.find(subject)?.[0];
      return policy ? `AccessPolicy/${policy.id}` : linkTo('AccessPolicy', bot.key);
    }
  }
}

/** Policies that the project has under this name; there should be one. */
export function policiesNamed(
  policies: readonly Stored<AccessPolicy>[],
  name: string,
): Stored<AccessPolicy>[] {
  return policies.filter((policy) => policy.name === name);
}
