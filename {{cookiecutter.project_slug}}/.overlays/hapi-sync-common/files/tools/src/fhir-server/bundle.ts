// Bundles that are sent to the base address: a transaction happens as a whole or not at all; each
// entry of a batch stands alone.
import { randomUUID } from 'node:crypto';
import { statusText } from './bundle-entries.ts';
import type { BundleRequestEntry, BundleResponseEntry } from './bundle-entries.ts';
import { errorOutcome, FhirError, RoutingError } from './errors.ts';
import { DeleteConflictError, parseBody } from './interactions.ts';
import type { FhirRequest, FhirResponse } from './messages.ts';
import type { Repository } from './repository.ts';
import { Transaction } from './transaction.ts';

/** Answers one GET, for entries that read. */
export type Route = (request: FhirRequest, url: string) => FhirResponse | Promise<FhirResponse>;

/** @throws FhirError where a transaction fails, or a Bundle is of another type */
export async function processBundle(
  repository: Repository,
  request: FhirRequest,
  route: Route,
): Promise<FhirResponse> {
  const { type, entry: entries = [] } = parseBody(request, 'Bundle') as {
    type?: string;
    entry?: BundleRequestEntry[];
  };
  if (type !== 'batch' && type !== 'transaction') {
    throw new FhirError(
      400,
      `HAPI-0527: Unable to process transaction where incoming Bundle.type = ${type}`,
    );
  }
  await request.beforeWrite?.();
  const entry =
    type === 'batch'
      ? await runBatch(repository, request, entries, route)
      : await runTransaction(repository, request, entries, route);
  const link = [{ relation: 'self', url: request.baseUrl }];
  const body = { resourceType: 'Bundle', id: randomUUID(), type: `${type}-response`, link };
  return { status: 200, body: entry.length > 0 ? { ...body, entry } : body };
}

async function runTransaction(
  repository: Repository,
  request: FhirRequest,
  entries: BundleRequestEntry[],
  route: Route,
): Promise<BundleResponseEntry[]> {
  for (const [index, { request: entryRequest }] of entries.entries()) {
    if (!entryRequest?.method) {
      throw new FhirError(
        400,
        'HAPI-0529: Transaction bundle entry has missing or invalid HTTP Verb specified in ' +
          `Bundle.entry(${index}).request.method. Found value: "null"`,
      );
    }
  }
  const responses = new Transaction(repository, request).write(entries);
  const result: BundleResponseEntry[] = [];
  for (const [index, entry] of entries.entries()) {
    const response =
      responses[index] ?? (isRead(entry) ? await readEntry(request, entry, route) : undefined);
    if (response) {
      result.push(response);
    }
  }
  return result;
}

/** HAPI runs the entries that write first, in their order, and those that read afterwards. */
async function runBatch(
  repository: Repository,
  request: FhirRequest,
  entries: BundleRequestEntry[],
  route: Route,
): Promise<BundleResponseEntry[]> {
  if (entries.some((entry) => !entry.request?.method)) {
    throw new FhirError(
      500,
      'HAPI-0389: Failed to call access method: java.lang.NullPointerException',
    );
  }
  const result: BundleResponseEntry[] = [];
  for (const reads of [false, true]) {
    for (const [index, entry] of entries.entries()) {
      if (isRead(entry) === reads) {
        result[index] = await runAlone(repository, request, entry, route);
      }
    }
  }
  return result;
}

async function runAlone(
  repository: Repository,
  request: FhirRequest,
  entry: BundleRequestEntry,
  route: Route,
): Promise<BundleResponseEntry> {
  try {
    const [response] = await runTransaction(repository, request, [entry], route);
    return response ?? { response: {} };
  } catch (error) {
    if (error instanceof FhirError) {
      return failedEntry(error);
    }
    throw error;
  }
}

function failedEntry(error: FhirError): BundleResponseEntry {
  const outcome = errorOutcome(error, 'exception');
  if (error instanceof DeleteConflictError) {
    outcome.issue[0]!.diagnostics = `HAPI-0550: HAPI-0515: ${error.message}`;
  }
  return { response: { status: statusText(error.status), outcome } };
}

function isRead({ request }: BundleRequestEntry): boolean {
  return request?.method === 'GET';
}

/** A GET that fails does not fail the transaction; one whose URL means nothing does. */
async function readEntry(
  { headers, baseUrl }: FhirRequest,
  { request }: BundleRequestEntry,
  route: Route,
): Promise<BundleResponseEntry> {
  const { url = '', ifNoneMatch } = request ?? {};
  const path = url.startsWith('/') ? url : `/${url}`;
  const entryHeaders = { ...headers, 'if-none-match': ifNoneMatch ?? headers['if-none-match'] };
  try {
    const { status, body } = await route(
      { method: 'GET', headers: entryHeaders, body: '', baseUrl },
      path,
    );
    return {
      ...(typeof body === 'object' && { resource: body }),
      response: { status: statusText(status) },
    };
  } catch (error) {
    if (error instanceof FhirError && !(error instanceof RoutingError)) {
      return failedEntry(error);
    }
    throw error;
  }
}
