// The routes below /fhir/R4: those of @medplum/fhir-router, the operations of this server, and
// those it refuses.
import * as core from '@medplum/core';
import { FhirRouter } from '@medplum/fhir-router';
import type { FhirRequest, FhirResponse, FhirRouteHandler } from '@medplum/fhir-router';
import type { Resource } from '@medplum/fhirtypes';
import { deployBot } from './bot-deployment.ts';
import {
  notAvailable,
  OPERATIONS_NOT_AVAILABLE,
  OPERATIONS_NOT_IN_BUNDLES,
  withRefusedEntries,
} from './not-available.ts';
import { patientEverything } from './operations/everything.ts';
import { runGraphql } from './operations/graphql.ts';
import { expandValueSet, validateCode } from './operations/value-sets.ts';
import type { LocalRepository } from './repository.ts';
import { validateResource } from './validation.ts';

type Handler = (request: FhirRequest, repo: LocalRepository) => Promise<FhirResponse>;
type Route = NonNullable<ReturnType<FhirRouter['find']>>;

export class LocalRouter extends FhirRouter {
  constructor() {
    super();
    this.addOperations();
    this.addRefusals();
  }

  /**
   * GraphQL runs in its own thread, also inside a Bundle: the inherited route blocks for seconds.
   */
  override find(method: FhirRequest['method'], url: string): Route | undefined {
    const route = super.find(method, url);
    const isGraphql = method === 'POST' && /^\/?\$graphql(\?|$)/.test(url);
    return route && isGraphql ? { ...route, handler: asRoute(runGraphql) } : route;
  }

  override async handleRequest(request: FhirRequest, repo: LocalRepository): Promise<FhirResponse> {
    const [outcome, resource, options] = await super.handleRequest(request, repo);
    const isBatchAnswer =
      resource?.resourceType === 'Bundle' && resource.type.endsWith('-response');
    const answer = isBatchAnswer ? withRefusedEntries(resource) : resource;
    return answer ? [outcome, answer, options ?? {}] : [outcome];
  }

  private addOperations(): void {
    this.addOperation(['POST'], 'Bot/:id/$deploy', deployBot);
    this.addOperation(['GET', 'POST'], 'Patient/:id/$everything', patientEverything);
    this.addOperation(['GET', 'POST'], 'ValueSet/$expand', expandValueSet);
    this.addOperation(['GET', 'POST'], 'ValueSet/$validate-code', validateCode);
    this.addOperation(['GET', 'POST'], 'ValueSet/:id/$validate-code', validateCode);
    this.addOperation(['POST'], ':resourceType/$validate', async ({ body }, { state }) => {
      validateResource(body as Resource, state.store);
      return [core.allOk];
    });
    this.addOperation(['POST'], ':resourceType/:id/$expunge', async ({ params }, repo) => {
      repo.expunge(params['resourceType']!, params['id']!);
      return [core.allOk];
    });
    this.addOperation(['POST'], ':resourceType/:id/$reindex', async () => [core.forbidden]);
  }

  private addRefusals(): void {
    for (const path of OPERATIONS_NOT_AVAILABLE) {
      this.addOperation(['GET', 'POST'], path, async () => [notAvailable(operationName(path))]);
    }
    for (const path of OPERATIONS_NOT_IN_BUNDLES) {
      const refuse: FhirRouteHandler = async (_request, _repo, _router, options) => {
        return [options?.batch ? core.notFound : notAvailable(operationName(path))];
      };
      this.add('GET', path, refuse);
      this.add('POST', path, refuse);
    }
  }

  private addOperation(methods: ('GET' | 'POST')[], path: string, handler: Handler): void {
    for (const method of methods) {
      this.add(method, path, asRoute(handler));
    }
  }
}

function asRoute(handler: Handler): FhirRouteHandler {
  return (request, repo) => handler(request, repo as LocalRepository);
}

/** @returns the last part of the path, such as `$export` */
function operationName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
