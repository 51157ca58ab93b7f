// The server's resources as one actor sees and changes them: rights, validation, versions, tombstones.
import type { Operation, SearchRequest, WithId } from '@medplum/core';
import * as core from '@medplum/core';
import type { CreateResourceOptions, UpdateResourceOptions } from '@medplum/fhir-router';
import { FhirRepository, getExtraEntries } from '@medplum/fhir-router';
import type {
  Bundle,
  BundleEntry,
  OperationOutcome,
  Parameters,
  Reference,
  Resource,
} from '@medplum/fhirtypes';
import { randomUUID } from 'node:crypto';
import { demand, may, withProtected, withoutHidden } from './access.ts';
import type { Actor } from './access.ts';
import { resolveReferences, search } from './search.ts';
import { stamped } from './store.ts';
import type { Store } from './store.ts';

export type Interaction = 'create' | 'update' | 'delete';

/** Something that happened; `resource` is on delete the last version. */
export interface Change {
  interaction: Interaction;
  resource: WithId<Resource>;
  previous?: WithId<Resource> | undefined;
  actor: Actor;
}

/** What all repositories of one server share. */
export interface World {
  store: Store;
  /** With a slash at the end. */
  baseUrl: string;
  /** Asks the pre-commit bots: they may refuse by throwing, or return another resource. */
  beforeCommit(change: Change): Promise<unknown>;
  /** Tells what was written. */
  committed(change: Change): void;
  /** The last of the writers that wait for each other, by resource type. */
  queues: Map<string, Promise<unknown>>;
}

export class LocalRepository extends FhirRepository {
  readonly world: World;
  readonly actor: Actor;
  /** Whether meta shows author, project and compartment (header `X-Medplum: extended`). */
  readonly extended: boolean;
  private inQueue = false;

  constructor(world: World, actor: Actor, extended = true) {
    super();
    this.world = world;
    this.actor = actor;
    this.extended = extended;
  }

  setMode(): void {
    // One store: there is no reader to choose.
  }

  generateId(): string {
    return randomUUID();
  }

  async createResource<T extends Resource>(
    resource: T,
    options?: CreateResourceOptions,
  ): Promise<WithId<T>> {
    const id = options?.assignedId && resource.id ? resource.id : randomUUID();
    return this.write({ ...resource, id }, 'create');
  }

  async updateResource<T extends Resource>(
    resource: T,
    options?: UpdateResourceOptions,
  ): Promise<WithId<T>> {
    return this.write(resource as WithId<T>, 'update', options?.ifMatch);
  }

  /** The real server looks at no If-Match here; a `test` on /meta/versionId is what guards a patch. */
  async patchResource<T extends Resource>(
    type: T['resourceType'],
    id: string,
    patch: Operation[] | Parameters,
  ): Promise<WithId<T>> {
    return this.queued(type, async () => {
      const resource = structuredClone(this.read(type, id, 'read')) as WithId<T>;
      if (Array.isArray(patch)) {
        const errors = core
          .applyPatch(resource, patch, { implicitArrayCreation: true })
          .filter((error) => error);
        if (errors.length > 0)
          fail(core.badRequest(errors.map((error) => (error as Error).message).join('\n')));
      } else {
        core.fhirpathPatchTypedValue(
          core.toTypedValue(resource),
          core.parseFhirPathPatchParameters(patch),
        );
      }
      return this.write(resource, 'update');
    });
  }

  async readResource<T extends Resource>(type: string, id: string): Promise<T> {
    return this.show<T>(this.read(type, id, 'read'));
  }

  async readReference<T extends Resource>(reference: Reference<T>): Promise<WithId<T>> {
    const [type = '', id = ''] = reference.reference?.split('/') ?? [];
    return (await this.readResource<T>(type, id)) as WithId<T>;
  }

  async readReferences<T extends Resource>(
    references: readonly Reference<T>[],
  ): Promise<(T | Error)[]> {
    return Promise.all(
      references.map((one) => this.readReference(one).catch((error: unknown) => error as Error)),
    );
  }

  async readHistory<T extends Resource>(
    type: string,
    id: string,
    options: Paging = {},
  ): Promise<Bundle<T>> {
    this.read(type, id, 'history', true);
    const versions = this.world.store.versions(type, id).toReversed();
    const { offset = 0, limit = 100 } = options;
    const fullUrl = `${this.world.baseUrl}fhir/R4/${type}/${id}`;
    const entry = versions
      .slice(offset, offset + limit)
      .map(({ resource, deleted }): BundleEntry<T> => {
        const { versionId, lastUpdated } = resource.meta!;
        if (deleted) {
          const details = { text: `Deleted on ${new Date(lastUpdated!)}` };
          const response = {
            status: '410',
            outcome: { ...core.gone, issue: [{ ...core.gone.issue[0]!, details }] },
          };
          return { fullUrl, request: { method: 'DELETE', url: `${type}/${id}` }, response };
        }
        const request = { method: 'GET' as const, url: `${type}/${id}/_history/${versionId}` };
        return {
          fullUrl,
          request,
          response: { status: '200', outcome: core.allOk },
          resource: this.show<T>(resource),
        };
      });
    return { resourceType: 'Bundle', type: 'history', entry, total: versions.length };
  }

  async readVersion<T extends Resource>(type: string, id: string, versionId: string): Promise<T> {
    this.read(type, id, 'vread', true);
    const version = this.world.store
      .versions(type, id)
      .find((one) => one.resource.meta?.versionId === versionId);
    if (!version) fail(core.notFound);
    if (version.deleted) fail(core.gone);
    return this.show<T>(version.resource);
  }

  async search<T extends Resource>(request: SearchRequest<T>): Promise<Bundle<WithId<T>>> {
    for (const type of request.types ?? [request.resourceType]) {
      core.validateResourceType(type);
      if (type === 'Binary') fail(core.badRequest('Cannot search on Binary resource type'));
      demand(this.actor, 'search', type);
    }
    const { store, baseUrl } = this.world;
    const bundle = search(
      store,
      request,
      (resource) => may(this.actor, 'search', resource),
      baseUrl,
    );
    for (const entry of bundle.entry ?? []) entry.resource = this.show<T>(entry.resource!);
    if ((request.include || request.revInclude) && bundle.entry) {
      const fullUrl = (type: string, id: string): string => `${baseUrl}fhir/R4/${type}/${id}`;
      const found = bundle.entry.map((entry) => entry.resource!);
      await getExtraEntries(this, request, found, bundle.entry as BundleEntry[], { fullUrl });
    }
    return bundle;
  }

  async searchByReference<T extends Resource>(
    request: SearchRequest<T>,
    code: string,
    references: string[],
  ): Promise<Record<string, WithId<T>[]>> {
    const searches = references.map(async (value) => {
      const filters = [...(request.filters ?? []), { code, operator: core.Operator.EQUALS, value }];
      return [value, await this.searchResources({ ...request, filters })] as const;
    });
    return Object.fromEntries(await Promise.all(searches));
  }

  async deleteResource(type: string, id: string): Promise<void> {
    const resource = this.read(type, id, 'read', true);
    if (this.world.store.latest(type, id)!.deleted) return;
    if (!may(this.actor, 'delete', resource)) fail(core.forbidden);
    await this.world.beforeCommit({ interaction: 'delete', resource, actor: this.actor });
    this.world.store.bury(resource);
    this.world.committed({
      interaction: 'delete',
      resource,
      previous: resource,
      actor: this.actor,
    });
  }

  /** Removes a resource without a trace and without telling anybody; for admins. */
  expunge(type: string, id: string): void {
    if (!this.actor.admin) fail(core.forbidden);
    this.world.store.expunge(type, id);
  }

  /** Conditional writes wait for each other, so that of many creates of one identifier one wins. */
  async withTransaction<R>(
    run: (repo: this) => Promise<R>,
    options?: { resourceTypes: unknown },
  ): Promise<R> {
    return this.queued(String(options?.resourceTypes), run);
  }

  private async queued<R>(name: string, run: (repo: this) => Promise<R>): Promise<R> {
    if (this.inQueue) return run(this);
    const repo = new LocalRepository(this.world, this.actor, this.extended) as this;
    repo.inQueue = true;
    const turn = (this.world.queues.get(name) ?? Promise.resolve()).then(() => run(repo));
    this.world.queues.set(
      name,
      turn.catch(() => undefined),
    );
    return turn;
  }

  /** The current resource, or its tombstone if that is wanted; a policy hides both as if they had never been. */
  private read(
    type: string,
    id: string,
    interaction: Reading,
    tombstoneToo = false,
  ): WithId<Resource> {
    if (!core.isUUID(id)) fail(core.notFound);
    core.validateResourceType(type);
    demand(this.actor, 'read', type);
    const latest = this.world.store.latest(type, id);
    if (!latest || !may(this.actor, 'read', latest.resource)) fail(core.notFound);
    if (latest.deleted && !tombstoneToo) fail(core.gone);
    if (!latest.deleted && !may(this.actor, interaction, latest.resource)) fail(core.forbidden);
    return latest.resource;
  }

  private async write<T extends Resource>(
    given: WithId<T>,
    how: 'create' | 'update',
    ifMatch?: string,
  ): Promise<WithId<T>> {
    const { resourceType: type, id } = given;
    if (!id) fail(core.badRequest('Missing id'));
    if (!core.isUUID(id)) fail(core.badRequest('Invalid id'));
    demand(this.actor, how, type);
    let wanted: WithId<Resource> = given;
    const answer = await this.world.beforeCommit({
      interaction: how,
      resource: wanted,
      actor: this.actor,
    });
    if (core.isResource(answer) && answer.resourceType === type && answer.id === id)
      wanted = answer as typeof wanted;
    const existing = how === 'create' ? undefined : this.existing(type, id);
    if (existing && !may(this.actor, 'update', existing)) fail(core.forbidden);
    if (existing && ifMatch && existing.meta?.versionId !== ifMatch) fail(core.preconditionFailed);
    if (HAS_CONDITION.test(JSON.stringify(wanted))) wanted = await resolveReferences(wanted, this);
    const resource = stamped(
      withProtected(this.actor, wanted, existing),
      existing,
      this.actor.author,
    );
    if (!core.isResourceType(type)) fail(core.badRequest(`Unknown data type: ${type}`));
    core.validateResource(resource);
    if (existing && core.deepEquals(parsed(existing), parsed(resource)))
      return this.show<T>(existing);
    if (!may(this.actor, how, resource)) fail(core.forbidden);
    this.world.store.add(parsed(resource));
    this.world.committed({ interaction: how, resource, previous: existing, actor: this.actor });
    return this.show<T>(resource);
  }

  private existing(type: string, id: string): WithId<Resource> | undefined {
    const latest = this.read(type, id, 'read', true);
    return this.world.store.latest(type, id)!.deleted ? undefined : latest;
  }

  /** Without what the policy hides and, unless asked for, without Medplum's own members of meta. */
  private show<T extends Resource>(resource: WithId<Resource>): WithId<T> {
    const shown = withoutHidden(this.actor, resource);
    const { author, project, compartment, account, accounts, ...meta } = resource.meta ?? {};
    return (this.extended ? shown : { ...shown, meta }) as WithId<Resource> as WithId<T>;
  }
}

const HAS_CONDITION = /"reference":"[A-Z][A-Za-z]+\?/;

type Reading = 'read' | 'vread' | 'history';
type Paging = { offset?: number; limit?: number };

/** As it looks after a trip through JSON, empty values left out. */
function parsed<T>(resource: T): T {
  return JSON.parse(core.stringify(resource)) as T;
}

function fail(outcome: OperationOutcome): never {
  throw new core.OperationOutcomeError(outcome);
}
