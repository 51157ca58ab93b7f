// Binary resources: files by their own content type, or as FHIR JSON with the data in base64.
import * as core from '@medplum/core';
import type { WithId } from '@medplum/core';
import type { Binary } from '@medplum/fhirtypes';
import type { Context, Hono } from 'hono';
import { signedUrl } from '../attachments.ts';
import { resourceHeaders, send, sendResource } from '../http.ts';
import type { ServerState } from '../server-state.ts';
import { login } from './context.ts';
import type { RouteContext } from './context.ts';

export function addBinaryRoutes(app: Hono, { state }: RouteContext): void {
  app.post('/fhir/R4/Binary', (c) => writeBinary(c, state));
  app.put('/fhir/R4/Binary/:id', (c) => writeBinary(c, state));
  app.get('/fhir/R4/Binary/:id', async (c) => {
    const binary = await login(c, state).readResource<WithId<Binary>>('Binary', c.req.param('id'));
    if (c.req.header('accept')?.startsWith(core.ContentType.FHIR_JSON)) {
      return sendResource(c, state, core.allOk, binary);
    }
    resourceHeaders(c, state, core.allOk, binary);
    return send(c, state.store.content(binary.id) ?? Buffer.of(), 200, binary.contentType);
  });
}

async function writeBinary(c: Context, state: ServerState): Promise<Response> {
  const repo = login(c, state);
  const create = c.req.method === 'POST';
  const outcome = create ? core.created : core.allOk;
  const id = c.req.param('id');
  const contentType = c.req.header('content-type') ?? 'application/octet-stream';
  const bytes = Buffer.from(await c.req.arrayBuffer());
  const given = contentType === core.ContentType.FHIR_JSON ? binaryResource(bytes, id) : undefined;
  const fields = given ?? { resourceType: 'Binary' as const, contentType };
  const stored = create
    ? await repo.createResource<Binary>(fields)
    : await repo.updateResource<Binary>({ ...fields, id: id! });
  // The data stay in the resource's history, but the answer does not repeat them.
  const { data, ...binary } = stored;
  if (!given) {
    state.store.setContent(binary.id, bytes);
    const url = signedUrl(state, binary.id, binary.meta!.versionId!);
    return sendResource(c, state, outcome, { ...binary, url } as Binary);
  }
  if (data) {
    state.store.setContent(binary.id, Buffer.from(data, 'base64'));
  }
  return sendResource(c, state, outcome, binary as Binary);
}

/** @returns the Binary resource in a body, undefined where the body is itself the content */
function binaryResource(bytes: Buffer, id: string | undefined): Binary | undefined {
  try {
    const body: unknown = JSON.parse(bytes.toString());
    const isBinary = core.isResource<Binary>(body, 'Binary') && (!id || body.id === id);
    return isBinary ? body : undefined;
  } catch {
    return undefined;
  }
}
