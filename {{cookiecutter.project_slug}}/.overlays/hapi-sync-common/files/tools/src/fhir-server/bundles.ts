// What the external FHIR server does with a transaction or a batch, as HAPI FHIR JPA 8.8.0 does it.
import type { BundleEntry, Resource } from '@medplum/fhirtypes';
import { STATUS_CODES } from 'node:http';
import { deleteNow, outcome, parseBody } from './operations.ts';
import type { FhirRequest, Reply } from './operations.ts';
import type { FhirRecords, Together } from './records.ts';
import { FhirError } from './resources.ts';
import { bundle } from './search.ts';

type Send = (request: FhirRequest, url: string) => Promise<Reply>;

/** A transaction happens as a whole or not at all; each entry of a batch stands alone. `send` answers their GETs. */
export async function processBundle(
  records: FhirRecords,
  request: FhirRequest,
  send: Send,
): Promise<Reply> {
  const { type, entry = [] } = parseBody(request, 'Bundle') as {
    type?: string;
    entry?: BundleEntry[];
  };
  if (type !== 'transaction' && type !== 'batch')
    throw new FhirError(400, `HAPI-0527: Unable to process Bundle.type = ${type}`);
  await request.wait?.();
  const alone = (one: BundleEntry): Promise<object> =>
    transaction(records, request, [one], send).then(
      ([response = {}]) => response,
      (error: Partial<FhirError>) => {
        const issue = [{ severity: 'error', code: 'exception', diagnostics: error.message }];
        const { status = 500 } = error;
        return {
          response: {
            status: `${status} ${STATUS_CODES[status]}`,
            outcome: { resourceType: 'OperationOutcome', issue },
          },
        };
      },
    );
  const entries: object[] =
    type === 'batch' ? [] : await transaction(records, request, entry, send);
  if (type === 'batch') for (const one of entry) entries.push(await alone(one));
  const link = [{ relation: 'self', url: request.base }];
  return {
    status: 200,
    body: { ...bundle(`${type}-response`), link, ...(entries.length > 0 && { entry: entries }) },
  };
}

interface Step {
  method: string;
  type: string;
  query: string;
  target?: string | undefined;
  body?: Resource;
}

async function transaction(
  records: FhirRecords,
  request: FhirRequest,
  entries: BundleEntry[],
  send: Send,
): Promise<object[]> {
  const together: Together = { arriving: new Set(), leaving: new Set(), names: new Map() };
  const steps = entries.map((entry, index) => plan(records, entry, index, together));
  for (const step of steps) {
    if (step.method === 'DELETE' && step.target)
      records.checkUnreferenced(step.type, step.target, together);
    if (!step.body) continue;
    step.body = records.resolve(step.body, together.names);
    records.checkReferences(step.body, together);
  }
  // Nothing can fail from here on. The order is HAPI's, the answers' is the request's.
  const answers: object[] = [];
  for (const turn of ['DELETE', 'POST', 'PUT', 'GET']) {
    for (const [index, step] of steps.entries())
      if (step.method === turn)
        answers[index] = await perform(records, request, step, together, send);
  }
  return answers;
}

/** What an entry means, looked up before anything is written. */
function plan(records: FhirRecords, entry: BundleEntry, index: number, together: Together): Step {
  const { method, url = '', ifMatch, ifNoneExist } = entry.request ?? {};
  if (!method)
    throw new FhirError(
      400,
      `HAPI-0529: missing or invalid HTTP Verb in Bundle.entry(${index}).request.method`,
    );
  const [path = '', query = ''] = url.split(/\?(.*)/s);
  const [type = '', id] = path.split('/');
  const step: Step = { method, type, query };
  if (method === 'GET') return { ...step, target: url };
  if (method === 'DELETE') {
    step.target = id ?? records.findOne(type, query, 'DELETE')?.id;
    if (step.target) together.leaving.add(`${type}/${step.target}`);
    return step;
  }
  const body = entry.resource;
  if (!body || body.resourceType !== type)
    throw new FhirError(
      400,
      `HAPI-2006: Unable to perform ${method}, URL provided is invalid: ${url}`,
    );
  if (method === 'POST') {
    const there = ifNoneExist
      ? records.findOne(type, ifNoneExist.replace(/^.*\?/, ''), 'CREATE')
      : undefined;
    step.target = there?.id ?? records.newId();
    if (!there) step.body = body;
  } else {
    if (!id && together.names.has(url))
      throw new FhirError(
        400,
        `HAPI-2008: Request contains multiple entries with conditional URL: "${url}"`,
      );
    const found = id ? undefined : records.findOne(type, query, 'UPDATE');
    // Here the id of the body counts: it becomes the server's, or must be what was found.
    if (found && body.id && !body.id.startsWith('urn:') && body.id !== found.id) {
      throw new FhirError(
        400,
        `HAPI-2279: Failed to UPDATE resource with match URL "${url}" because the matching resource does not match the provided ID`,
      );
    }
    step.target = id ?? found?.id ?? body.id ?? records.newId();
    if (id) records.checkFence(type, id, ifMatch);
    else if (!found) records.checkSatisfies(body, query);
    step.body = body;
    if (!id) together.names.set(url, `${type}/${step.target}`);
  }
  together.arriving.add(`${type}/${step.target}`);
  if (entry.fullUrl) together.names.set(entry.fullUrl, `${type}/${step.target}`);
  return step;
}

async function perform(
  records: FhirRecords,
  request: FhirRequest,
  step: Step,
  together: Together,
  send: Send,
): Promise<object> {
  const { method, type, target = '', query, body } = step;
  if (method === 'GET')
    return {
      resource: (await send({ ...request, method, body: '' }, `/${target}`)).body,
      response: { status: '200 OK' },
    };
  if (method === 'DELETE') {
    const done = deleteNow(records, type, step.target, query, together);
    return { response: { status: '204 No Content', outcome: done } };
  }
  const whole = request.headers['x-meta-snapshot-mode'];
  const { status, changed } = body
    ? records.write(target, body, whole)
    : { status: 200, changed: false };
  const { versionId, lastUpdated } = records.latest(type, target)?.resource.meta ?? {};
  const location = `${type}/${target}/_history/${versionId}`;
  const what =
    status === 201 ? 'SUCCESSFUL_CREATE' : `SUCCESSFUL_UPDATE${changed ? '' : '_NO_CHANGE'}`;
  const response = {
    status: status === 201 ? '201 Created' : '200 OK',
    location,
    etag: versionId,
    lastModified: lastUpdated,
  };
  return {
    response: {
      ...response,
      outcome: outcome(what, `Successfully processed resource "${location}".`),
    },
  };
}
