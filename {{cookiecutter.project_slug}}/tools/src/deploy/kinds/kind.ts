// What the plan has to know about one kind of resource. One file in this folder is one kind.
import type { Bot, Resource } from '@medplum/fhirtypes';
import type { Actual } from '../actual.ts';
import type { DesiredBot } from '../desired-bot.ts';
import type { OwnerIndex } from '../owner-index.ts';
import type { Obstacle, Reason, Warning } from '../reasons.ts';
import type { Fields, Stored } from '../stored.ts';

export interface PlanOptions {
  /** Deploy code that is unchanged, too. */
  force: boolean;
  /** Remove what the configuration no longer has. */
  prune: boolean;
  /** A bot that lacks a secret or a bundle is blocked; without this, nothing is deployed. */
  skipFailed: boolean;
  /** What a project admin would deploy, also where these credentials may only read. */
  forAdmin: boolean;
}

/** The bot whose resources are planned, and what is known about it. */
export interface Subject {
  bot: DesiredBot;
  /** The Bot on the server; undefined if it has to be created. */
  existing: Stored<Bot> | undefined;
  /** Its key, and those of its previous names: the tags of its resources begin with one of them. */
  keys: readonly string[];
  /** identifierSystem of the repository. */
  system: string;
  actual: Actual;
  /** What the server has, by owner. */
  index: OwnerIndex;
  options: PlanOptions;
}

/** One resource that is wanted, and the stored one that it will be. */
export interface Pair<T extends Resource> {
  wanted: Fields;
  stored: Stored<T> | undefined;
}

export interface Comparison {
  /** New values of members; of a resource that has to be created, all of its members. */
  fields: Fields;
  reasons: Reason[];
  /** The bundle has to be uploaded and deployed. */
  uploadsCode?: boolean;
}

/**
 * One kind of resource that belongs to a bot. A wanted member may refer to a resource whose id is
 * not known yet; it then holds the link of that resource (see links.ts).
 */
export interface Kind<T extends Resource = Resource> {
  readonly resourceType: T['resourceType'];

  /**
   * The steps of a bot are carried out in ascending order: 1 its access policy, 2 the Bot, 3 the
   * membership that refers to both, 4 `$deploy` (DEPLOY_ORDER), 5 subscriptions, 6 Cron resources,
   * 10 removals (REMOVE_ORDER).
   */
  readonly order: number;

  /** Members that reach an AWS Lambda only through `$deploy`. */
  readonly needsDeploy: readonly string[];

  /** Why the bot cannot be deployed; undefined if nothing speaks against it. */
  obstacle?(subject: Subject): Obstacle | undefined;

  /** The members of each resource that the bot should have. */
  desired(subject: Subject): Fields[];

  /**
   * What the server has of the bot's resources; undefined if these credentials may not see this
   * kind.
   */
  find(subject: Subject): Stored<T>[] | undefined;

  /** Resources that someone else made. One that does the same as a wanted one becomes the bot's. */
  findAdoptable?(subject: Subject): Stored<T>[];

  /** Whether a stored resource is this wanted one, and not only another one of the same bot. */
  isSame?(stored: T, wanted: Fields): boolean;

  /** What has to be written, and why. `pairs` holds this pair and the others of the same kind. */
  compare(subject: Subject, pair: Pair<T>, pairs: readonly Pair<T>[]): Comparison;

  /** The search of a conditional create: two deployments at the same time create one resource. */
  createQuery(subject: Subject, fields: Fields): string;

  /** The id to create the resource with, if the server lets us choose it. */
  newId?(subject: Subject): string | undefined;

  /** What is said about a stored resource that is no longer wanted; nothing if it is left alone. */
  unwanted?(subject: Subject, stored: Stored<T>): Reason;

  /** What is said about resources that stay as they are. */
  warnings?(subject: Subject, others: readonly Stored<T>[]): Warning[];
}

/** The places of the steps that do not belong to one kind; see `order` above. */
export const DEPLOY_ORDER = 4;
export const REMOVE_ORDER = 10;
