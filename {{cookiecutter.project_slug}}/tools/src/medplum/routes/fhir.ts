// The FHIR API: resources and operations, through @medplum/fhir-router.
import * as core from '@medplum/core';
import { FhirRouter } from '@medplum/fhir-router';
import type { FhirRequest, FhirResponse } from '@medplum/fhir-router';
import type { Resource } from '@medplum/fhirtypes';
import type { Context, Hono } from 'hono';
import { deployBot } from '../bot-deployment.ts';
import { withBinaryReferences } from '../attachments.ts';
import { sendOutcome, sendResource } from '../http.ts';
import { tryCustomOperation } from '../operations/custom.ts';
import { patientEverything } from '../operations/everything.ts';
import { runGraphql } from '../operations/graphql.ts';
import { expandValueSet, validateCode } from '../operations/value-sets.ts';
import {
  NotAvailableError,
  OPERATIONS_NOT_AVAILABLE,
  PATHS_NOT_AVAILABLE,
} from '../not-available.ts';
import type { LocalRepository } from '../repository.ts';
import { readBody } from '../request-body.ts';
import { validateResource } from '../validation.ts';
import { login } from './context.ts';
import type { RouteContext } from './context.ts';

const PREFIX = '/fhir/R4';

export function addFhirRoutes(app: Hono, context: RouteContext): void {
  const router = createRouter();
  app.all(PREFIX, (c) => handle(c, context, router));
  app.all(`${PREFIX}/*`, (c) => handle(c, context, router));
  for (const path of PATHS_NOT_AVAILABLE) {
    app.all(`/${path}/*`, (c) => {
      throw new NotAvailableError(c.req.path);
    });
  }
}

type Handler = (request: FhirRequest, repo: LocalRepository) => Promise<FhirResponse>;

function createRouter(): FhirRouter {
  const router = new FhirRouter();
  const add = (methods: ('GET' | 'POST')[], path: string, handler: Handler): void => {
    for (const method of methods) {
      router.add(method, path, (request, repo) => handler(request, repo as LocalRepository));
    }
  };
  add(['POST'], 'Bot/:id/$deploy', deployBot);
  add(['GET', 'POST'], 'Patient/:id/$everything', patientEverything);
  add(['GET', 'POST'], 'ValueSet/$expand', expandValueSet);
  add(['GET', 'POST'], 'ValueSet/$validate-code', validateCode);
  add(['GET', 'POST'], 'ValueSet/:id/$validate-code', validateCode);
  add(['POST'], ':resourceType/$validate', async ({ body }, { state }) => {
    validateResource(body as Resource, state.store);
    return [core.allOk];
  });
  add(['POST'], ':resourceType/:id/$expunge', async ({ params }, repo) => {
    repo.expunge(params['resourceType']!, params['id']!);
    return [core.allOk];
  });
  add(['POST'], ':resourceType/:id/$reindex', async () => [core.forbidden]);
  return router;
}

async function handle(c: Context, context: RouteContext, router: FhirRouter): Promise<Response> {
  const { state, execute } = context;
  const repo = login(c, state);
  const { pathname, search } = new URL(c.req.url);
  const request: FhirRequest = {
    method: c.req.method as FhirRequest['method'],
    url: decodeURI(pathname).slice(PREFIX.length).replaceAll('%24', '$') + search,
    pathname: '',
    params: {},
    query: {},
    body: JSON.parse(withBinaryReferences(JSON.stringify(await readBody(c)), state)),
    headers: Object.fromEntries(c.req.raw.headers),
  };
  let [outcome, resource, options] = isGraphql(request)
    ? await runGraphql(request, repo)
    : await router.handleRequest(request, repo);
  if (core.isNotFound(outcome)) {
    const custom = await tryCustomOperation(request, repo, execute);
    if (custom) {
      [outcome, resource, options] = custom;
    } else {
      const operation = operationCode(request.url);
      if (operation && OPERATIONS_NOT_AVAILABLE.has(operation)) {
        throw new NotAvailableError(`$${operation}`);
      }
    }
  }
  return resource
    ? sendResource(c, state, outcome, resource, options?.contentType)
    : sendOutcome(c, outcome);
}

/** The router would answer it too, but in this thread. */
function isGraphql({ method, url }: FhirRequest): boolean {
  return method === 'POST' && url === '/$graphql';
}

function operationCode(url: string): string | undefined {
  return /\/\$([a-z-]+)/.exec(url)?.[1];
}
