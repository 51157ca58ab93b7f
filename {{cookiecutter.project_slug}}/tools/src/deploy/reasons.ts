// Why something is deployed, blocked or left alone, as values. The words for people are in
// describe-plan.ts.
import type { Resource } from '@medplum/fhirtypes';

/** What starts a bot, as far as one Subscription says it. */
export interface Trigger {
  criteria: string;
  /** Empty for all of them. */
  interactions: string[];
}

export interface MemberChange {
  member: string;
  from: unknown;
  to: unknown;
}

/** Why code is uploaded and deployed. */
export type CodeReason =
  /** The Bot holds no code. */
  | { type: 'code-missing' }
  /** Another tool deployed its own code, with this title, after this repository did. */
  | { type: 'code-replaced'; title: string }
  /** Code with this title is there that this repository never deployed. */
  | { type: 'code-foreign'; title: string }
  /** The code was uploaded, but its `$deploy` never succeeded. */
  | { type: 'code-unfinished' }
  | { type: 'code-sources-changed'; paths: string[] }
  /** Fewer modules are bundled than before. */
  | { type: 'code-imports-removed' }
  /** The same sources gave another bundle: another version of esbuild or of a package. */
  | { type: 'code-built-differently' }
  | { type: 'code-forced' }
  /** These settings reach an AWS Lambda only when its code is deployed again. */
  | { type: 'code-settings-changed'; members: string[] };

/** Why the change is made, or what is different and was left alone. */
export type Reason =
  | CodeReason
  | { type: 'renamed'; from: string }
  /** An existing Bot is given the identifier of this repository. */
  | { type: 'adopted' }
  | { type: 'settings-changed'; changes: MemberChange[] }
  | { type: 'policy-new' }
  | { type: 'policy-changed' }
  | { type: 'policy-not-attached' }
  | { type: 'policy-unwanted'; removed: boolean }
  /** Without a ProjectMembership no subscription runs the bot. */
  | { type: 'membership-missing' }
  | { type: 'subscription-new'; trigger: Trigger }
  | { type: 'subscription-replaced'; from: Trigger; to: Trigger }
  /** The server or a person switched it off; `error` is what the server noted. */
  | { type: 'subscription-off'; trigger: Trigger; error?: string | undefined }
  | { type: 'subscription-adopted'; trigger: Trigger }
  | { type: 'subscription-changed'; trigger: Trigger; members: string[] }
  | { type: 'subscription-renamed'; trigger: Trigger }
  | { type: 'subscription-unwanted'; trigger: Trigger; removed: boolean }
  /** A Cron resource. */
  | { type: 'cron-new' | 'cron-changed'; job: string; members: string[] }
  | { type: 'cron-unwanted'; job: string; removed: boolean }
  /** Of a file in resources/. */
  | { type: 'resource-changed'; resourceType: string; members: string[] }
  | { type: 'resource-not-in-repository'; resourceType: string; removed: boolean };

/** Why a bot cannot be deployed. */
export type Obstacle =
  | { type: 'rollback-unfinished'; version: string; name: string }
  /** Only a project admin can give a bot its membership. */
  | { type: 'needs-admin' }
  | { type: 'identifier-twice'; identifier: string; ids: string[] }
  /** The identifier belongs to another Bot than the one that `id` in the configuration names. */
  | { type: 'id-mismatch'; id: string; foundId: string; identifier: string }
  | { type: 'id-unknown'; id: string }
  | { type: 'secrets-missing'; secrets: string[] }
  /** Its bundle is missing, out of date or broken. */
  | { type: 'not-deployable'; message: string }
  /** The configuration names a policy that the project does not have, or has twice. */
  | { type: 'policy-unknown' | 'policy-ambiguous'; policy: string }
  /** The server is older than Medplum 5.2. */
  | { type: 'cron-unsupported' }
  | { type: 'cron-forbidden' }
  /** Only a project admin sees the membership that a new cron job runs as. */
  | { type: 'cron-needs-admin'; jobs: string[] }
  /** Only a project admin can read the secrets that sign new or changed subscriptions. */
  | { type: 'signature-needs-admin'; secrets: string[] }
  /** Several resources have the url or identifier of a file. */
  | { type: 'resource-ambiguous'; references: string[] }
  /** Another repository or environment deploys this resource. */
  | { type: 'resource-of-other'; owner: string }
  /** The file refers to bots that medplum.config.json does not have. */
  | { type: 'resource-bot-unknown'; file: string; bots: string[] }
  /** The file refers to bots that are not on the server, and are not created in this run. */
  | { type: 'resource-bot-missing'; bots: string[] };

/** What keeps an orphan, a bot that is only on the server, from being removed. */
export type Removal =
  | { type: 'removed' }
  | { type: 'prune' }
  /** It carries an identifier of another repository or environment, too. */
  | { type: 'shared'; identifier: string }
  | { type: 'needs-admin' };

/** A bot of this repository that the configuration no longer has. */
export interface OrphanReason {
  type: 'not-configured';
  resourceTypes: Resource['resourceType'][];
  /** What still starts it. */
  triggers: Trigger[];
  /** Its own schedule, if it has one. */
  cron?: string | undefined;
  removal: Removal;
  /**
   * A new bot of the configuration with the same code and triggers: this one under another name.
   */
  renamedTo?: string | undefined;
}

export interface HeldReason {
  type: 'held';
  version: string;
  /** Its name on the server. */
  name: string;
  /** What the person wrote who rolled it back. */
  message?: string | undefined;
}

export type AnyReason = Reason | Obstacle | OrphanReason | HeldReason;

/** Why nothing at all may be written. */
export type Problem =
  | { type: 'secret-missing'; secret: string; bots: string[]; environment: string }
  | { type: 'feature-missing'; feature: string }
  | {
      type: 'too-many-subscriptions';
      now: number;
      after: number;
      limit: number;
      environment: string;
    };

/** What a person should know, and a deployment does not change. */
export type Warning =
  | { type: 'no-admin' }
  /** These bots are new, and the credentials cannot create them. */
  | { type: 'admin-needed'; bots: string[] }
  | { type: 'cron-missing'; bots: string[] }
  /** Neither the configuration nor the server restricts what these bots may do. */
  | { type: 'no-policy'; bots: string[] }
  | { type: 'name-taken'; bot: string; id: string; environment: string }
  /** Something else made a Subscription that starts the bot. */
  | { type: 'foreign-subscription'; bot: string; id: string; trigger: Trigger };
