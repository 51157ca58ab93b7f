// The server's resources as one actor sees and changes them: rights, validation, versions,
// tombstones.
import type { Operation, SearchRequest, WithId } from '@medplum/core';
import * as core from '@medplum/core';
import { FhirRepository } from '@medplum/fhir-router';
import type { CreateResourceOptions, UpdateResourceOptions } from '@medplum/fhir-router';
import type {
  Bundle,
  BundleEntry,
  OperationOutcome,
  Parameters,
  Reference,
  Resource,
} from '@medplum/fhirtypes';
import { randomUUID } from 'node:crypto';
import {
  assertTypeAccess,
  canAccess,
  canWrite,
  visibilityCondition,
  withProtected,
  withoutHidden,
} from './access-policies.ts';
import type { Actor } from './access.ts';
import { resolveConditionalReferences } from './conditional-references.ts';
import { stamped } from './meta.ts';
import { filterCondition } from './search/filters.ts';
import { search } from './search/search.ts';
import type { SearchContext } from './search/search.ts';
import type { Interaction, ServerState } from './server-state.ts';
import type { Version } from './version.ts';
import { assertKnownType, isKnownType, validateResource } from './validation.ts';

/** Quota points of an interaction. */
const COST = { read: 1, history: 10, search: 20, write: 100 };

export class LocalRepository extends FhirRepository {
  readonly state: ServerState;
  readonly actor: Actor;
  /** Whether meta shows author, project and compartment (header `X-Medplum: extended`). */
  readonly extended: boolean;
  /** The id of the next Bot that is created here; a random one if undefined. */
  newBotId: string | undefined;
  private inQueue = false;

  constructor(state: ServerState, actor: Actor, extended = true) {
    super();
    this.state = state;
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
    this.charge('write');
    const assignedId = options?.assignedId ? resource.id : this.takeNewBotId(resource);
    return this.write({ ...resource, id: assignedId || randomUUID() }, 'create');
  }

  /** @returns `newBotId` if the resource is a Bot, and no other one has this id */
  private takeNewBotId({ resourceType }: Resource): string | undefined {
    const id = this.newBotId;
    if (resourceType !== 'Bot' || id === undefined) {
      return undefined;
    }
    this.newBotId = undefined;
    const latest = this.state.store.latest('Bot', id);
    return !latest || latest.deleted ? id : undefined;
  }

  async updateResource<T extends Resource>(
    resource: T,
    options?: UpdateResourceOptions,
  ): Promise<WithId<T>> {
    this.charge('write');
    return this.write(resource as WithId<T>, 'update', options?.ifMatch);
  }

  /**
   * Until 5.1.28 no If-Match counts here; a `test` on /meta/versionId guards a patch on all
   * versions.
   */
  async patchResource<T extends Resource>(
    type: T['resourceType'],
    id: string,
    patch: Operation[] | Parameters,
    options?: UpdateResourceOptions,
  ): Promise<WithId<T>> {
    this.charge('write');
    const ifMatch = this.state.version.atLeast('5.1.28') ? options?.ifMatch : undefined;
    return this.queued(type, async () => {
      const resource = structuredClone(this.read(type, id, 'read')) as WithId<T>;
      if (Array.isArray(patch)) {
        applyJsonPatch(resource, patch);
      } else {
        core.fhirpathPatchTypedValue(
          core.toTypedValue(resource),
          core.parseFhirPathPatchParameters(patch),
        );
      }
      return this.write(resource, 'update', ifMatch);
    });
  }

  async readResource<T extends Resource>(type: string, id: string): Promise<T> {
    this.charge('read');
    const stale = this.state.staleReads?.read(type, id);
    if (stale) {
      return this.show<T>(stale);
    }
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
      references.map((reference) =>
        this.readReference(reference).catch((error: unknown) => error as Error),
      ),
    );
  }

  async readHistory<T extends Resource>(
    type: string,
    id: string,
    options: Paging = {},
  ): Promise<Bundle<T>> {
    this.charge('history');
    this.read(type, id, 'history', true);
    const { offset = 0, limit = DEFAULT_HISTORY_COUNT } = options;
    const versions = this.state.store.versions(type, id).toReversed();
    const from = Math.max(0, offset);
    const count = Math.min(Math.max(0, limit), MAX_HISTORY_COUNT);
    const entry = versions
      .slice(from, from + count)
      .map((version) => this.historyEntry<T>(version));
    return { resourceType: 'Bundle', type: 'history', entry, total: versions.length };
  }

  private historyEntry<T extends Resource>({ resource, deleted }: Version): BundleEntry<T> {
    const { resourceType: type, id } = resource;
    const { versionId, lastUpdated } = resource.meta!;
    const fullUrl = `${this.state.baseUrl}fhir/R4/${type}/${id}`;
    if (deleted) {
      const details = { text: `Deleted on ${new Date(lastUpdated!)}` };
      const outcome = { ...core.gone, issue: [{ ...core.gone.issue[0]!, details }] };
      const request = { method: 'DELETE' as const, url: `${type}/${id}` };
      return { fullUrl, request, response: { status: '410', outcome } };
    }
    return {
      fullUrl,
      request: { method: 'GET', url: `${type}/${id}/_history/${versionId}` },
      response: { status: '200', outcome: core.allOk },
      resource: this.show<T>(resource),
    };
  }

  async readVersion<T extends Resource>(type: string, id: string, versionId: string): Promise<T> {
    this.charge('read');
    this.read(type, id, 'vread', true);
    const version = this.state.store
      .versions(type, id)
      .find(({ resource }) => resource.meta?.versionId === versionId);
    if (!version) {
      fail(core.notFound);
    }
    if (version.deleted) {
      fail(core.gone);
    }
    return this.show<T>(version.resource);
  }

  async search<T extends Resource>(request: SearchRequest<T>): Promise<Bundle<WithId<T>>> {
    this.charge('search');
    return search(this.searchContext(), request);
  }

  /** What a search needs to know of this repository's actor. */
  searchContext(): SearchContext {
    const { policy } = this.actor;
    const { store, baseUrl, warn } = this.state;
    const context: SearchContext = {
      store,
      baseUrl,
      assertSearch: (type) => {
        assertKnownType(type);
        assertTypeAccess(policy, 'search', type);
      },
      condition: (type, filter) => filterCondition(context, type, filter),
      warn,
      visible: (type) => visibilityCondition(context, policy, type),
      read: (reference) => this.tryRead(reference),
      show: (resource) => this.show(resource),
    };
    return context;
  }

  private tryRead(reference: string): WithId<Resource> | undefined {
    const [type = '', id = ''] = reference.split('/');
    const latest = this.state.store.latest(type, id);
    const visible =
      latest && !latest.deleted && canAccess(this.actor.policy, 'read', latest.resource);
    return visible ? latest.resource : undefined;
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
    this.charge('write');
    const resource = this.read(type, id, 'read', true);
    if (this.state.store.latest(type, id)!.deleted) {
      return;
    }
    if (!canAccess(this.actor.policy, 'delete', resource)) {
      fail(core.forbidden);
    }
    await this.state.beforeCommit({ interaction: 'delete', resource, actor: this.actor });
    this.state.staleReads?.deleted(resource);
    this.state.store.createTombstone(resource);
    this.state.committed({
      interaction: 'delete',
      resource,
      previous: resource,
      actor: this.actor,
    });
  }

  /** Removes a resource with its history; no subscription is told. For admins. */
  expunge(type: string, id: string): void {
    if (!this.actor.admin) {
      fail(core.forbidden);
    }
    this.state.store.expunge(type, id);
  }

  /** Conditional writes wait for each other, so that of many creates of one identifier one wins. */
  async withTransaction<R>(
    run: (repo: this) => Promise<R>,
    options?: { resourceTypes: unknown },
  ): Promise<R> {
    return this.queued(String(options?.resourceTypes), run);
  }

  private async queued<R>(name: string, run: (repo: this) => Promise<R>): Promise<R> {
    if (this.inQueue) {
      return run(this);
    }
    const repo = new LocalRepository(this.state, this.actor, this.extended) as this;
    repo.inQueue = true;
    repo.newBotId = this.newBotId;
    const turn = (this.state.queues.get(name) ?? Promise.resolve()).then(() => run(repo));
    this.state.queues.set(
      name,
      turn.catch(() => undefined),
    );
    return turn;
  }

  private charge(interaction: keyof typeof COST): void {
    const { membership } = this.actor;
    if (membership) {
      this.state.quota?.consume(membership.id, COST[interaction]);
    }
  }

  /**
   * @returns the current resource, or its tombstone if that is wanted too
   * @throws OperationOutcomeError: what a policy hides is not found, deleted or not
   */
  private read(
    type: string,
    id: string,
    interaction: Reading,
    tombstoneToo = false,
  ): WithId<Resource> {
    if (!core.isUUID(id)) {
      fail(core.notFound);
    }
    assertKnownType(type);
    const { policy } = this.actor;
    assertTypeAccess(policy, 'read', type);
    const latest = this.state.store.latest(type, id);
    if (!latest || !canAccess(policy, 'read', latest.resource)) {
      fail(core.notFound);
    }
    if (latest.deleted && !tombstoneToo) {
      fail(core.gone);
    }
    if (!latest.deleted && !canAccess(policy, interaction, latest.resource)) {
      fail(core.forbidden);
    }
    return latest.resource;
  }

  private async write<T extends Resource>(
    given: WithId<T>,
    interaction: 'create' | 'update',
    ifMatch?: string,
  ): Promise<WithId<T>> {
    const { resourceType: type, id } = given;
    const { policy } = this.actor;
    if (!id) {
      fail(core.badRequest('Missing id'));
    }
    if (!core.isUUID(id)) {
      fail(core.badRequest('Invalid id'));
    }
    assertTypeAccess(policy, interaction, type);
    const asked = await this.askPreCommitBots(given, interaction);
    const existing = interaction === 'create' ? undefined : this.existing(type, id);
    if (existing && !canAccess(policy, 'update', existing)) {
      fail(core.forbidden);
    }
    if (existing && ifMatch && existing.meta?.versionId !== ifMatch) {
      fail(core.preconditionFailed);
    }
    const wanted = await resolveConditionalReferences(asked, this);
    const resource = stamped(withProtected(policy, wanted, existing), existing, this.actor.author);
    if (!isKnownType(type)) {
      fail(core.badRequest(`Unknown data type: ${type}`));
    }
    validateResource(resource, this.state.store);
    const stored = asStored(resource);
    if (existing && core.deepEquals(existing, stored)) {
      return this.show<T>(existing);
    }
    if (!canWrite(policy, interaction, existing, stored)) {
      fail(core.forbidden);
    }
    this.state.store.add(stored);
    this.state.staleReads?.written(stored);
    this.state.committed({ interaction, resource: stored, previous: existing, actor: this.actor });
    return this.show<T>(stored);
  }

  /** @returns the resource, or what a pre-commit bot returned in its place */
  private async askPreCommitBots(
    resource: WithId<Resource>,
    interaction: Interaction,
  ): Promise<WithId<Resource>> {
    const answer = await this.state.beforeCommit({ interaction, resource, actor: this.actor });
    const replaces =
      core.isResource(answer) &&
      answer.resourceType === resource.resourceType &&
      answer.id === resource.id;
    return replaces ? (answer as WithId<Resource>) : resource;
  }

  private existing(type: string, id: string): WithId<Resource> | undefined {
    const latest = this.read(type, id, 'read', true);
    return this.state.store.latest(type, id)!.deleted ? undefined : latest;
  }

  /** Without what the policy hides and, unless asked for, without Medplum's own members of meta. */
  private show<T extends Resource>(resource: WithId<Resource>): WithId<T> {
    const shown = withoutHidden(this.actor.policy, resource);
    if (this.extended) {
      return shown as WithId<Resource> as WithId<T>;
    }
    const { author, project, compartment, account, accounts, ...meta } = shown.meta ?? {};
    return { ...shown, meta } as WithId<Resource> as WithId<T>;
  }
}

const DEFAULT_HISTORY_COUNT = 100;
const MAX_HISTORY_COUNT = 1000;

type Reading = 'read' | 'vread' | 'history';

interface Paging {
  offset?: number;
  limit?: number;
}

function applyJsonPatch(resource: Resource, patch: Operation[]): void {
  const errors = core
    .applyPatch(resource, patch, { implicitArrayCreation: true })
    .filter((error) => error !== null);
  if (errors.length > 0) {
    fail(core.badRequest(errors.map(({ message }) => message).join('\n')));
  }
}

/** As it looks after a trip through JSON, empty values left out. */
function asStored<T>(resource: T): T {
  return JSON.parse(core.stringify(resource)) as T;
}

function fail(outcome: OperationOutcome): never {
  throw new core.OperationOutcomeError(outcome);
}
