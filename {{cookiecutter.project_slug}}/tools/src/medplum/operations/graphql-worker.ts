// The thread that answers GraphQL queries; it reads and writes resources over the server's own API,
// with a token of the caller's.
import { MedplumClient } from '@medplum/core';
import type { Operation, SearchRequest, WithId } from '@medplum/core';
import * as core from '@medplum/core';
import { FhirRepository, FhirRouter } from '@medplum/fhir-router';
import type { FhirResponse } from '@medplum/fhir-router';
import type { Bundle, Reference, Resource, ResourceType } from '@medplum/fhirtypes';
import { randomUUID } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import { loadDefinitions } from '../definitions.ts';

export interface GraphqlQuestion {
  number: number;
  /** query, variables, operationName */
  body: unknown;
  /** An Authorization header with the caller's rights. */
  authorization: string;
  baseUrl: string;
}

export interface GraphqlAnswer {
  number: number;
  response: FhirResponse;
}

class RemoteRepository extends FhirRepository {
  private readonly client: MedplumClient;

  constructor({ baseUrl, authorization }: GraphqlQuestion) {
    super();
    this.client = new MedplumClient({
      baseUrl,
      cacheTime: 0,
      fetch: ((url: string, options: RequestInit = {}) => {
        const headers = { ...(options.headers as object), authorization };
        return fetch(url, { ...options, headers });
      }) as never,
    });
  }

  setMode(): void {
    // There is no reader to choose.
  }

  generateId(): string {
    return randomUUID();
  }

  async createResource<T extends Resource>(resource: T): Promise<WithId<T>> {
    return this.client.createResource(resource);
  }

  async readResource<T extends Resource>(type: string, id: string): Promise<WithId<T>> {
    return this.client.readResource(type as ResourceType, id) as Promise<unknown> as Promise<
      WithId<T>
    >;
  }

  async readReference<T extends Resource>(reference: Reference<T>): Promise<WithId<T>> {
    return this.client.readReference(reference);
  }

  async readReferences<T extends Resource>(
    references: readonly Reference<T>[],
  ): Promise<(WithId<T> | Error)[]> {
    return Promise.all(
      references.map((reference) =>
        this.readReference(reference).catch((error: unknown) => error as Error),
      ),
    );
  }

  async readHistory<T extends Resource>(type: string, id: string): Promise<Bundle<WithId<T>>> {
    return this.client.readHistory(type as ResourceType, id) as unknown as Promise<
      Bundle<WithId<T>>
    >;
  }

  async readVersion<T extends Resource>(
    type: string,
    id: string,
    versionId: string,
  ): Promise<WithId<T>> {
    return this.client.readVersion(type as ResourceType, id, versionId) as unknown as Promise<
      WithId<T>
    >;
  }

  async updateResource<T extends Resource>(resource: T): Promise<WithId<T>> {
    return this.client.updateResource(resource as WithId<T>);
  }

  async deleteResource(type: string, id: string): Promise<void> {
    await this.client.deleteResource(type as ResourceType, id);
  }

  async patchResource<T extends Resource>(
    type: T['resourceType'],
    id: string,
    patch: Operation[],
  ): Promise<WithId<T>> {
    return this.client.patchResource(type, id, patch) as Promise<unknown> as Promise<WithId<T>>;
  }

  async search<T extends Resource>(request: SearchRequest<T>): Promise<Bundle<WithId<T>>> {
    const query = core.formatSearchQuery(request);
    const bundle = await this.client.search(request.resourceType, query.slice(1));
    return { ...bundle, entry: bundle.entry ?? [] } as unknown as Bundle<WithId<T>>;
  }

  async searchByReference<T extends Resource>(
    request: SearchRequest<T>,
    code: string,
    references: string[],
  ): Promise<Record<string, WithId<T>[]>> {
    const operator = core.Operator.EQUALS;
    const searches = references.map(async (value) => {
      const filters = [...(request.filters ?? []), { code, operator, value }];
      return [value, await this.searchResources({ ...request, filters })] as const;
    });
    return Object.fromEntries(await Promise.all(searches));
  }

  async withTransaction<R>(run: (repo: this) => Promise<R>): Promise<R> {
    return run(this);
  }
}

const router = new FhirRouter();

async function answer(question: GraphqlQuestion): Promise<void> {
  loadDefinitions();
  const request = {
    method: 'POST' as const,
    url: '$graphql',
    pathname: '',
    params: {},
    query: {},
    body: question.body,
  };
  const response = await router.handleRequest(request, new RemoteRepository(question));
  // Results of GraphQL have objects without a prototype, which cannot be sent between threads.
  const sent = JSON.parse(JSON.stringify(response)) as FhirResponse;
  parentPort!.postMessage({ number: question.number, response: sent } satisfies GraphqlAnswer);
}

parentPort?.on('message', (question: GraphqlQuestion) => void answer(question));
