// The FHIR API: resources and operations, through LocalRouter.
import * as core from '@medplum/core';
import type { FhirRequest } from '@medplum/fhir-router';
import type { Context, Hono } from 'hono';
import { NEW_BOT_ID_HEADER } from '../../config/local-medplum.ts';
import { withBinaryReferences } from '../attachments.ts';
import { sendOutcome, sendResource } from '../http.ts';
import { tryCustomOperation } from '../operations/custom.ts';
import { LocalRouter } from '../local-router.ts';
import { NotAvailableError, PATHS_NOT_AVAILABLE } from '../not-available.ts';
import { readBody } from '../request-body.ts';
import { login } from './context.ts';
import type { RouteContext } from './context.ts';

const PREFIX = '/fhir/R4';

export function addFhirRoutes(app: Hono, context: RouteContext): void {
  const router = new LocalRouter();
  app.all(PREFIX, (c) => handle(c, context, router));
  app.all(`${PREFIX}/*`, (c) => handle(c, context, router));
  for (const path of PATHS_NOT_AVAILABLE) {
    app.all(`/${path}/*`, (c) => {
      throw new NotAvailableError(c.req.path);
    });
  }
}

async function handle(c: Context, context: RouteContext, router: LocalRouter): Promise<Response> {
  const { state, execute } = context;
  const repo = login(c, state);
  repo.newBotId = c.req.header(NEW_BOT_ID_HEADER);
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
  let [outcome, resource, options] = await router.handleRequest(request, repo);
  if (core.isNotFound(outcome)) {
    const custom = await tryCustomOperation(request, repo, execute);
    if (custom) {
      [outcome, resource, options] = custom;
    }
  }
  return resource
    ? sendResource(c, state, outcome, resource, options?.contentType)
    : sendOutcome(c, outcome);
}
