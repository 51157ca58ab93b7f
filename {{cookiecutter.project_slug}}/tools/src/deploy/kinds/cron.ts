// Cron resources: several schedules of one bot, each with its own parameters. Medplum 5.2 and newer
// have them.
import type { Cron } from '@medplum/fhirtypes';
import { withTags } from '../identity.ts';
import { linkTo, token } from '../links.ts';
import { ownedBy } from '../owner-index.ts';
import type { Reason } from '../reasons.ts';
import { differences } from '../stored.ts';
import type { Fields } from '../stored.ts';
import type { Kind, Subject } from './kind.ts';
import { projectMembershipKind } from './project-membership.ts';

export const cronKind: Kind<Cron> = {
  resourceType: 'Cron',
  order: 6,
  needsDeploy: [],

  obstacle(subject) {
    const { bot, actual, index, keys, options } = subject;
    if (bot.cronJobs.length === 0) {
      return undefined;
    }
    if (!actual.crons) {
      return { type: actual.hasCrons ? 'cron-forbidden' : 'cron-unsupported' };
    }
    if (options.forAdmin || actual.memberships) {
      return undefined;
    }
    const stored = ownedBy(index.crons, keys).map(jobName);
    const jobs = bot.cronJobs
      .filter(({ name, onBehalfOf }) => onBehalfOf === undefined && !stored.includes(name))
      .map(({ name }) => name);
    return jobs.length > 0 ? { type: 'cron-needs-admin', jobs } : undefined;
  },

  desired(subject) {
    const { bot, existing, system } = subject;
    const targetReference = { reference: existing ? `Bot/${existing.id}` : linkTo('Bot', bot.key) };
    return bot.cronJobs.map((job) => {
      const fields: Fields = {
        ...job.fields,
        targetReference,
        'meta.tag': [{ system: cronTag(system), code: `${bot.key}/${job.name}` }],
      };
      const reference = job.onBehalfOf ?? ownMembership(subject);
      if (reference !== undefined) {
        fields['onBehalfOf'] = { reference };
      }
      return fields;
    });
  },

  find({ actual, index, keys }) {
    return actual.crons && ownedBy(index.crons, keys);
  },

  isSame(stored, wanted) {
    return jobName(stored) === jobName({ meta: { tag: wanted['meta.tag'] } } as Partial<Cron>);
  },

  compare({ system }, { wanted, stored }) {
    const code = (wanted['meta.tag'] as { code: string }[])[0]?.code ?? '';
    const tags = withTags(stored, cronTag(system), [code]);
    const fields = differences(stored, { ...wanted, 'meta.tag': tags });
    const members = Object.keys(fields).filter((member) => member !== 'meta.tag');
    const reason: Reason = {
      type: stored ? 'cron-changed' : 'cron-new',
      job: code.split('/')[2] ?? '',
      members,
    };
    return { fields, reasons: Object.keys(fields).length > 0 ? [reason] : [] };
  },

  createQuery({ system }, fields: Fields) {
    const tags = fields['meta.tag'] as { system: string; code: string }[];
    const tag = tags.find((candidate) => candidate.system === cronTag(system));
    return `_tag=${token(cronTag(system), tag?.code ?? '')}`;
  },

  unwanted({ options }, stored) {
    return { type: 'cron-unwanted', job: jobName(stored), removed: options.prune };
  },
};

/** The system of the tag `<environment>/<bot>/<job>`. */
export function cronTag(system: string): string {
  return `${system}/cron`;
}

function jobName({ meta }: Partial<Cron>): string {
  const tag = meta?.tag?.find(({ system }) => system?.endsWith('/cron'));
  return tag?.code?.split('/')[2] ?? '';
}

/**
 * The bot's own ProjectMembership: the schedule runs with the bot's rights. Undefined for
 * credentials that do not see memberships: a stored job keeps the one that it has.
 */
function ownMembership(subject: Subject): string | undefined {
  const memberships = projectMembershipKind.find(subject);
  if (!memberships) {
    return undefined;
  }
  const [membership] = memberships;
  return membership
    ? `ProjectMembership/${membership.id}`
    : linkTo('ProjectMembership', subject.bot.key);
}
