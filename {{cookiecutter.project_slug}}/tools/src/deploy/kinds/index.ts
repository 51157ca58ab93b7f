// All kinds that belong to a bot, in the order in which a plan names them.
import type { Resource } from '@medplum/fhirtypes';
import { accessPolicyKind } from './access-policy.ts';
import { botKind } from './bot.ts';
import { cronKind } from './cron.ts';
import type { Kind } from './kind.ts';
import { projectMembershipKind } from './project-membership.ts';
import { subscriptionKind } from './subscription.ts';

export const KINDS = [
  botKind,
  accessPolicyKind,
  projectMembershipKind,
  subscriptionKind,
  cronKind,
] as unknown as readonly Kind<Resource>[];
