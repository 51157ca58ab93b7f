// The routes about resources of the local Medplum. Reading and writing one goes through the
// server's own FHIR API, with the rights of the project's administrator, so that validation and
// subscriptions are what a client would meet.
import type { WithId } from '@medplum/core';
import { convertToTransactionBundle, operationOutcomeToString } from '@medplum/core';
import type { Bundle, OperationOutcome, Resource } from '@medplum/fhirtypes';
import { Hono } from 'hono';
import type { Context } from 'hono';
import { RESOURCE_TYPES } from '../config/resource-types.ts';
import type { MedplumServer } from '../medplum/server.ts';
import type { ResourceList, ResourceRow, ResourceVersion, TypeCount } from './api-types.ts';
import type { FhirClient } from './fhir-client.ts';
import { PageError } from './page-error.ts';
import { listSamples, readSample } from './sample-files.ts';
import { living, titleOf } from './store-view.ts';

const ROWS_A_PAGE = 50;

export function resourcesApi(server: MedplumServer, fhir: FhirClient): Hono {
  const api = new Hono();
  const { store } = server.repository.state;

  const listByText = (type: string, text: string, offset: number): ResourceList => {
    const wanted = text.trim().toLowerCase();
    const resources = living<Resource>(store, type as Resource['resourceType'])
      .filter((resource) => !wanted || JSON.stringify(resource).toLowerCase().includes(wanted))
      .toSorted(newestFirst);
    const rows = resources.slice(offset, offset + ROWS_A_PAGE).map(toRow);
    return { rows, total: resources.length };
  };

  const listBySearch = async (
    type: string,
    query: string,
    offset: number,
  ): Promise<ResourceList> => {
    const paging = `_count=${ROWS_A_PAGE}&_offset=${offset}&_total=accurate`;
    const bundle = await fhir.send<Bundle>('GET', `${type}?${query}&${paging}`);
    const resources = (bundle.entry ?? []).flatMap(({ resource }) => resource ?? []);
    return { rows: resources.map(toRow), total: bundle.total ?? resources.length };
  };

  api.get('/', (c) => {
    const types: TypeCount[] = RESOURCE_TYPES.map((type) => {
      return { type, count: living<Resource>(store, type as Resource['resourceType']).length };
    });
    return c.json({ types: types.filter(({ count }) => count > 0), allTypes: RESOURCE_TYPES });
  });
  api.get('/samples', (c) => c.json({ samples: listSamples() }));
  api.get('/samples/content', (c) => c.json(readSample(c.req.query('path') ?? '')));
  api.post('/', async (c) => {
    const body = await readJson(c);
    return c.json(await create(fhir, body));
  });
  api.get('/:type', async (c) => {
    const { search = '', offset = '0' } = c.req.query();
    const type = knownType(c.req.param('type'));
    const from = Number.parseInt(offset, 10) || 0;
    return c.json(
      search.includes('=')
        ? await listBySearch(type, search, from)
        : listByText(type, search, from),
    );
  });
  api.get('/:type/:id', async (c) => {
    return c.json(await fhir.send('GET', pathOf(c)));
  });
  api.get('/:type/:id/history', async (c) => {
    const bundle = await fhir.send<Bundle>('GET', `${pathOf(c)}/_history`);
    return c.json({ versions: (bundle.entry ?? []).map(toVersion) });
  });
  api.put('/:type/:id', async (c) => {
    return c.json(await fhir.send('PUT', pathOf(c), await readJson(c)));
  });
  api.delete('/:type/:id', async (c) => {
    await fhir.send('DELETE', pathOf(c));
    return c.json({});
  });
  return api;
}

/** Creates a resource or the resources of a bundle; returns references to them. */
async function create(fhir: FhirClient, body: unknown): Promise<{ created: string[] }> {
  const { resourceType, type } = (body ?? {}) as Bundle;
  if (!resourceType) {
    throw new PageError(400, 'This is not a FHIR resource: it has no "resourceType".');
  }
  if (resourceType !== 'Bundle') {
    const { resourceType: created, id } = await fhir.send<WithId<Resource>>(
      'POST',
      resourceType,
      body,
    );
    return { created: [`${created}/${id}`] };
  }
  const isRequest = type === 'batch' || type === 'transaction';
  const bundle = isRequest ? body : convertToTransactionBundle(body as Bundle);
  const response = await fhir.send<Bundle>('POST', '', bundle);
  const failed = (response.entry ?? []).find(({ response: answer }) => {
    return Number.parseInt(answer?.status ?? '', 10) >= 400;
  });
  const created = (response.entry ?? []).flatMap(({ resource, response: answer }) => {
    const reference = resource?.id && `${resource.resourceType}/${resource.id}`;
    return reference ?? answer?.location ?? [];
  });
  if (failed) {
    const index = response.entry!.indexOf(failed);
    const { outcome, status } = failed.response!;
    const reason = outcome
      ? operationOutcomeToString(outcome as OperationOutcome)
      : `status ${status}`;
    throw new PageError(400, `Entry ${index + 1} of the bundle was refused: ${reason}`);
  }
  return { created };
}

function toRow(resource: Resource): ResourceRow {
  const { status } = resource as { status?: unknown };
  return {
    type: resource.resourceType,
    id: resource.id ?? '',
    title: titleOf(resource),
    status: typeof status === 'string' ? status : undefined,
    lastUpdated: resource.meta?.lastUpdated,
  };
}

function toVersion({ resource, response }: NonNullable<Bundle['entry']>[number]): ResourceVersion {
  return {
    versionId: resource?.meta?.versionId,
    lastUpdated: resource?.meta?.lastUpdated ?? response?.lastModified,
    deleted: resource === undefined,
    author: resource?.meta?.author?.display ?? resource?.meta?.author?.reference,
    resource,
  };
}

function newestFirst(a: Resource, b: Resource): number {
  return (b.meta?.lastUpdated ?? '').localeCompare(a.meta?.lastUpdated ?? '');
}

function knownType(type: string): string {
  if (!RESOURCE_TYPES.includes(type)) {
    throw new PageError(404, `"${type}" is not a FHIR resource type.`);
  }
  return type;
}

/** Only plain references: a path must not reach an operation such as `$execute`. */
function pathOf(c: Context): string {
  const { type = '', id = '' } = c.req.param() as { type?: string; id?: string };
  if (!/^[A-Za-z0-9.-]{1,64}$/.test(id)) {
    throw new PageError(400, `"${id}" is not a resource id.`);
  }
  return `${knownType(type)}/${id}`;
}

/** @throws PageError where the body is not JSON */
export async function readJson(c: Context): Promise<unknown> {
  try {
    return (await c.req.json()) as unknown;
  } catch (error) {
    throw new PageError(400, `This is not valid JSON: ${(error as Error).message}`);
  }
}
