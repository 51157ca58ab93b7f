// The ProjectMembership: makes a Bot a member of the project. Without one, subscriptions never run
// it.
import type { ProjectMembership } from '@medplum/fhirtypes';
import { linkTo } from '../links.ts';
import type { Reason } from '../reasons.ts';
import { differences } from '../stored.ts';
import type { Fields } from '../stored.ts';
import { accessPolicyKind, policyReference } from './access-policy.ts';
import type { Kind, Subject } from './kind.ts';

export const projectMembershipKind: Kind<ProjectMembership> = {
  resourceType: 'ProjectMembership',
  order: 3,
  needsDeploy: [],

  desired() {
    return [{}];
  },

  find({ actual, index, existing }) {
    if (!actual.policies || !actual.memberships) {
      return undefined;
    }
    const memberships = existing ? index.memberships.get(`Bot/${existing.id}`) : undefined;
    return memberships?.slice(0, 1) ?? [];
  },

  compare(subject, { stored }) {
    const rights = wantedRights(subject, stored);
    if (!stored) {
      const reasons: Reason[] = subject.existing ? [{ type: 'membership-missing' }] : [];
      return { fields: differences(stored, { ...newMembership(subject), ...rights }), reasons };
    }
    const fields = differences(stored, rights);
    // Of a policy that has to be created, its own kind says so.
    const isCreated = subject.bot.policy?.type === 'own' && !accessPolicyKind.find(subject)?.[0];
    const isNoted = subject.bot.policy && !isCreated && Object.keys(fields).length > 0;
    return { fields, reasons: isNoted ? [{ type: 'policy-not-attached' }] : [] };
  },

  createQuery({ bot }) {
    return `profile=${linkTo('Bot', bot.key)}`;
  },
};

function newMembership({ bot, actual }: Subject): Fields {
  const reference = linkTo('Bot', bot.key);
  return {
    project: { reference: `Project/${actual.projectId}` },
    user: { reference },
    profile: { reference },
  };
}

/**
 * The members that give rights. Without a policy in the configuration, one that someone attached by
 * hand stays.
 */
function wantedRights(subject: Subject, stored: ProjectMembership | undefined): Fields {
  const { policy } = subject.bot;
  const reference = policyReference(subject);
  if (policy && reference !== undefined) {
    const { parameters } = policy;
    // A policy with parameters can only be attached by `access`.
    return parameters.length > 0
      ? {
          accessPolicy: undefined,
          access: [{ policy: { reference }, parameter: parameters }],
        }
      : { accessPolicy: { reference }, access: undefined };
  }
  const own = (accessPolicyKind.find(subject) ?? []).map(({ id }) => `AccessPolicy/${id}`);
  const attached = [stored?.accessPolicy, ...(stored?.access ?? []).map((item) => item.policy)];
  const isOwn = attached.some((candidate) => own.includes(candidate?.reference ?? ''));
  return subject.options.prune && isOwn ? { accessPolicy: undefined, access: undefined } : {};
}
