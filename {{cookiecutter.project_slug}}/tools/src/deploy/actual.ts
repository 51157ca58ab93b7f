// What is on the server: three requests, however many bots there are, and one more for each further
// page of 1,000.
import type {
  AccessPolicy,
  Bot,
  Cron,
  Project,
  ProjectMembership,
  Subscription,
} from '@medplum/fhirtypes';
import { isLocalMedplum } from '../config/local-medplum.ts';
import { UserError } from '../terminal/user-error.ts';
import type { Desired } from './desired.ts';
import { readResources } from './read-resources.ts';
import { searchAll, UNKNOWN_TYPE } from './search.ts';
import { expectResource, RequestError } from './server.ts';
import type { Server } from './server.ts';
import type { Stored } from './stored.ts';

export interface Actual {
  projectId: string;
  /** Whether this is the local Medplum: the ids of deployed bots are those of other servers. */
  isLocalMedplum: boolean;
  /** Undefined without the rights of a project admin. */
  project: Project | undefined;
  /** Every bot of the project, also those of other repositories. */
  bots: Stored<Bot>[];
  /** Of bots; undefined without the rights of a project admin. */
  memberships: Stored<ProjectMembership>[] | undefined;
  /** Every subscription of the project, of any status. */
  subscriptions: Stored<Subscription>[];
  /** Undefined if the credentials may not read them. */
  policies: Stored<AccessPolicy>[] | undefined;
  /** Undefined if the server has no such resources, or if the credentials may not read them. */
  crons: Stored<Cron>[] | undefined;
  /** Whether the server has Cron resources: they came with Medplum 5.2. */
  hasCrons: boolean;
  /** What belongs to the files of resources/. */
  resources: Stored[];
}

const CRONS = 'Cron?_count=1000&_sort=_lastUpdated';

/**
 * Reads the project's bots and what belongs to them. Everything is read and sorted here rather than
 * searched for by identifier: this also finds bots of the same name that come from elsewhere, and
 * subscriptions that others made.
 *
 * @param desired - whose resources/ are read, too; without it none are
 * @throws UserError if the credentials may not read bots or subscriptions
 */
export async function readActual(
  server: Server,
  desired?: Pick<Desired, 'resources' | 'hasResources' | 'system'>,
): Promise<Actual> {
  const all = '_count=1000&_sort=_lastUpdated';
  const [project, resources, [bots, memberships, subscriptions, policies, crons]] =
    await Promise.all([
      readProject(server),
      desired?.hasResources ? readResources(server, desired.resources, desired.system) : [],
      searchAll(
        server,
        [
          `Bot?${all}`,
          `ProjectMembership?profile-type=Bot&${all}`,
          `Subscription?${all}`,
          `AccessPolicy?${all}`,
          CRONS,
        ],
        (query) => query === CRONS,
      ),
    ]);
  if (!bots || !subscriptions) {
    const missing = [...(bots ? [] : ['Bot']), ...(subscriptions ? [] : ['Subscription'])];
    throw new UserError(
      'These credentials may not read bots or subscriptions: ' +
        `allow ${missing.join(' and ')} in their access policy.`,
    );
  }
  return {
    projectId: server.environment.projectId,
    isLocalMedplum: isLocalMedplum(server.environment),
    project,
    bots: bots as Stored<Bot>[],
    memberships: project && (memberships as Stored<ProjectMembership>[] | undefined),
    subscriptions: subscriptions as Stored<Subscription>[],
    policies: policies as Stored<AccessPolicy>[] | undefined,
    crons: crons === UNKNOWN_TYPE ? undefined : (crons as Stored<Cron>[] | undefined),
    hasCrons: crons !== UNKNOWN_TYPE,
    resources,
  };
}

/** Reads the project's features and secrets; undefined without the rights of a project admin. */
export async function readProject(server: Server): Promise<Stored<Project> | undefined> {
  try {
    const path = `Project/${server.environment.projectId}`;
    return expectResource<Project>(await server.send('GET', path), 'Project', `GET ${path}`);
  } catch (error) {
    if (error instanceof RequestError && error.status === 403) {
      return undefined;
    }
    throw error;
  }
}
