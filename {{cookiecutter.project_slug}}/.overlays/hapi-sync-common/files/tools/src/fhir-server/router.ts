// Which interaction a request means, by its method and path, as HAPI decides it.
import { processBundle } from './bundle.ts';
import { capabilityStatement } from './capability-statement.ts';
import { isResourceType } from './definitions.ts';
import { FhirError, notAvailableLocally, RoutingError } from './errors.ts';
import { HistoryService } from './history.ts';
import { create, read, remove, update } from './interactions.ts';
import { header } from './messages.ts';
import type { FhirRequest, FhirResponse } from './messages.ts';
import type { Repository } from './repository.ts';
import { SearchService } from './search.ts';

/**
 * @returns the response to one request; `url` begins after the base address, for example
 *   `/Patient/1?_summary=true`
 */
export type Router = (request: FhirRequest, url: string) => Promise<FhirResponse>;

/** A URL in parts: `/Patient/1/_history/2?_pretty=true`. */
interface Target {
  path: string;
  segments: string[];
  /** As it was sent, for conditional interactions. */
  queryText: string;
  query: URLSearchParams;
}

/** Operations of a real HAPI that this server lacks. */
const OPERATIONS = new Set([
  '$validate',
  '$everything',
  '$meta',
  '$meta-add',
  '$meta-delete',
  '$expunge',
  '$diff',
  '$reindex',
  '$expand',
  '$lookup',
  '$validate-code',
  '$document',
  '$process-message',
  '$export',
  '$graphql',
]);

export function createRouter(repository: Repository): Router {
  const searches = new SearchService(repository);
  const histories = new HistoryService(repository);

  function routeSystem(
    request: FhirRequest,
    { query }: Target,
  ): FhirResponse | Promise<FhirResponse> {
    if (request.method === 'GET' && query.has('_getpages')) {
      return searches.nextPage(request, query);
    }
    if (request.method === 'POST') {
      return processBundle(repository, request, route);
    }
    if (request.method === 'OPTIONS') {
      return { status: 200, body: capabilityStatement };
    }
    throw new FhirError(
      400,
      'HAPI-0287: This is the base URL of FHIR server. Unable to handle this request, ' +
        'as it does not contain a resource type or operation name.',
    );
  }

  function routeType(
    request: FhirRequest,
    type: string,
    target: Target,
  ): FhirResponse | Promise<FhirResponse> {
    switch (request.method) {
      case 'GET':
        return searches.search(request, type, target.query);
      case 'POST':
        return create(repository, request, type);
      case 'PUT':
        return update(repository, request, { type, id: undefined }, target.queryText);
      case 'DELETE':
        return remove(repository, request, { type, id: undefined }, target.queryText);
      case 'PATCH':
        throw notAvailableLocally('PATCH');
      default:
        throw unknownOperation(request, target);
    }
  }

  function routeInstance(
    request: FhirRequest,
    instance: { type: string; id: string; version?: string | undefined },
    target: Target,
  ): FhirResponse | Promise<FhirResponse> {
    switch (request.method) {
      case 'GET':
      case 'HEAD':
        assertReadParameters(request, target);
        return read(repository, request, instance, target.query);
      case 'PUT':
        return update(repository, request, instance, '');
      case 'DELETE':
        return remove(repository, request, instance, '');
      case 'PATCH':
        throw notAvailableLocally('PATCH');
      case 'POST':
        throw new FhirError(
          400,
          `HAPI-0365: Can not create resource with ID "${instance.id}", ` +
            'ID must not be supplied on a create (POST) operation (use an HTTP PUT / update ' +
            'operation if you wish to supply an ID)',
        );
      default:
        throw unknownOperation(request, target);
    }
  }

  async function route(request: FhirRequest, url: string): Promise<FhirResponse> {
    const target = readTarget(url);
    assertJson(request, target);
    const [type, id, part, version, ...rest] = target.segments;
    if (type === undefined) {
      return routeSystem(request, target);
    }
    if (type === 'metadata' || type === '_history') {
      return routeSystemPart(request, type);
    }
    const operation = target.segments.find((segment) => segment.startsWith('$'));
    if (operation !== undefined && OPERATIONS.has(operation)) {
      throw notAvailableLocally(`The operation ${operation}`);
    }
    if (type.startsWith('$') || type.startsWith('_') || rest.length > 0) {
      throw unknownOperation(request, target);
    }
    if (!isResourceType(type)) {
      throw new RoutingError(404, `HAPI-0302: Unknown resource type '${type}'`);
    }
    if (id === undefined) {
      return routeType(request, type, target);
    }
    if (id === '_search' && part === undefined) {
      return searches.search(request, type, searchParametersOf(request, target));
    }
    if (id === '_history' && part === undefined && request.method === 'GET') {
      throw notAvailableLocally('The history of a whole resource type');
    }
    if (part === undefined && !/^[$_]/.test(id)) {
      return routeInstance(request, { type, id }, target);
    }
    if (part === '_history' && version !== undefined) {
      return routeInstance(request, { type, id, version }, target);
    }
    if (part === '_history' && request.method === 'GET') {
      return histories.history(request, type, id, target.query);
    }
    throw unknownOperation(request, target);
  }
  return route;
}

/** Responses are JSON only. */
function assertJson(request: FhirRequest, { query }: Target): void {
  const [accepted = ''] = (header(request, 'accept') ?? '').split(',');
  if (/xml/.test(query.get('_format') ?? accepted) && !accepted.includes('html')) {
    throw notAvailableLocally('XML');
  }
}

function routeSystemPart({ method }: FhirRequest, name: 'metadata' | '_history'): FhirResponse {
  if (name === '_history') {
    throw notAvailableLocally('The history of the whole server');
  }
  if (method !== 'GET' && method !== 'HEAD') {
    throw new FhirError(405, 'HAPI-0388: /metadata request must use HTTP GET or HTTP HEAD');
  }
  return { status: 200, body: capabilityStatement };
}

/** `_search` takes its parameters from the URL and from the body. */
function searchParametersOf(request: FhirRequest, target: Target): URLSearchParams {
  if (request.method !== 'POST' && request.method !== 'GET') {
    throw unknownOperation(request, target);
  }
  const body = request.method === 'POST' ? new URLSearchParams(request.body) : [];
  return new URLSearchParams([...target.query, ...body]);
}

/** @throws FhirError 400 for a path or a query that is not percent-encoded as it should be */
function readTarget(url: string): Target {
  const [path = '', queryText = ''] = url.split(/\?(.*)/s);
  const segments = path.replace(/^\//, '').replace(/\/$/, '').split('/');
  if (segments.length > 1 && segments.includes('')) {
    throw new FhirError(400, 'Ambiguous URI empty segment');
  }
  const decoded = segments.filter((segment) => segment !== '').map(decodeSegment);
  assertQuery(queryText);
  return {
    path: decoded.join('/'),
    segments: decoded,
    queryText,
    query: new URLSearchParams(queryText),
  };
}

const INVALID_ESCAPE = /%(?![0-9a-f]{2})/i;

function decodeSegment(segment: string): string {
  if (INVALID_ESCAPE.test(segment)) {
    throw new FhirError(400, 'Bad Request: the path is not percent-encoded correctly');
  }
  if (/%00|%2f/i.test(segment)) {
    throw new FhirError(400, 'Bad Request: the path contains an encoded slash or NUL');
  }
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new FhirError(400, 'Bad Request: the path is not valid UTF-8');
  }
}

function assertQuery(queryText: string): void {
  if (INVALID_ESCAPE.test(queryText)) {
    throw new FhirError(500, 'URLDecoder: Illegal hex characters in escape (%) pattern');
  }
}

/** A read takes no search parameters. */
function assertReadParameters(request: FhirRequest, target: Target): void {
  const names = [...target.query.keys()].filter((name) => !name.startsWith('_'));
  if (names.length > 0) {
    throw unknownOperation(request, target, names);
  }
}

function unknownOperation(
  { method }: FhirRequest,
  { path }: Target,
  names: string[] = [],
): RoutingError {
  const text =
    `Invalid request: The FHIR endpoint on this server does not know how to handle ${method} ` +
    `operation[${path}] with parameters [[${names.join(', ')}]]`;
  return new RoutingError(400, text, { code: 'not-supported' });
}
