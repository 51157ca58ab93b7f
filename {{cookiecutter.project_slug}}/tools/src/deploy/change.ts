// What a plan consists of: changes, each with its reasons and its steps.
import type { Resource } from '@medplum/fhirtypes';
import type { Code } from './bundle-code.ts';
import type { DesiredBot } from './desired-bot.ts';
import type { AnyReason, Problem, Warning } from './reasons.ts';
import type { Fields, Stored } from './stored.ts';

/**
 * One request, or a few that belong together. The steps of a change are carried out in their order.
 */
export type Step =
  | {
      type: 'write';
      order: number;
      resourceType: Resource['resourceType'];
      /** What others in this change refer to it by. */
      link: string;
      /** Undefined if it is created. */
      existing: Stored | undefined;
      fields: Fields;
      /** The search of a conditional create; undefined if the resource exists. */
      createQuery: string | undefined;
      /** The id it is created with; undefined if the server chooses one. */
      newId?: string | undefined;
      /** Of a Bot: the bundle that is uploaded with it. */
      code?: Code;
      /** The resource is tagged with the git commit. */
      marksCommit?: boolean;
    }
  /** `$deploy` of what the Bot holds, and the mark that it succeeded. */
  | { type: 'deploy'; order: number; link: string; sha256: string }
  | { type: 'remove'; order: number; existing: Stored };

export type Action = 'new' | 'change' | 'remove' | 'unchanged' | 'held' | 'blocked' | 'orphan';

/** All that is done, or said, about one bot or one file of resources/. */
export interface Change {
  /** Of the bot, or the path of the file. */
  name: string;
  action: Action;
  reasons: AnyReason[];
  steps: Step[];
  /** The Bot, or the resource of the file, on the server. */
  existing?: Stored | undefined;
  /** Of a bot. */
  desired?: DesiredBot | undefined;
  /** Of a file: the names of bots that it refers to, and that have to be created first. */
  waitsFor?: string[];
}

export interface Plan {
  changes: Change[];
  /** Nothing at all may be written before these are solved. */
  problems: Problem[];
  warnings: Warning[];
}

/** Whether anything is written for it. */
export function isWrite({ action }: Change): boolean {
  return action === 'new' || action === 'change' || action === 'remove';
}
