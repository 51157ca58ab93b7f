// What needs no login: the server's health, tokens, signed addresses, the capability statement.
import type { Binary } from '@medplum/fhirtypes';
import type { Context, Hono } from 'hono';
import { checkClient } from '../access.ts';
import { send } from '../http.ts';
import type { ServerState } from '../server-state.ts';
import { TOKEN_SECONDS, basicCredentials, issueToken, sameSecret, signature } from '../tokens.ts';

export function addPublicRoutes(app: Hono, state: ServerState): void {
  app.get('/healthcheck', (c) =>
    c.json({
      ok: true,
      version: `${state.version.name}-local`,
      platform: process.platform,
      runtime: process.version,
    }),
  );
  app.get('/fhir/R4/metadata', (c) =>
    c.json({
      resourceType: 'CapabilityStatement',
      status: 'active',
      kind: 'instance',
      fhirVersion: '4.0.1',
      software: { name: 'Medplum', version: state.version.name },
    }),
  );
  app.get('/fhir/R4/$versions', (c) => c.json({ versions: ['4.0'], default: '4.0' }));
  app.get('/storage/:id/:version', (c) => readStorage(c, state));
  app.post('/oauth2/token', (c) => issueClientToken(c, state));
}

function readStorage(c: Context, { store }: ServerState): Response {
  const { id, version } = c.req.param() as { id: string; version: string };
  const { Expires = '', Signature = '' } = c.req.query();
  const proof = signature(`${id}/${version}/${Expires}`);
  const content = store.content(id);
  if (!content || !sameSecret(proof, Signature) || Number(Expires) < Date.now()) {
    return c.text('Unauthorized', 401);
  }
  return send(c, content, 200, (store.latest('Binary', id)!.resource as Binary).contentType);
}

async function issueClientToken(c: Context, { store, baseUrl }: ServerState): Promise<Response> {
  if (!c.req.header('content-type')?.startsWith('application/x-www-form-urlencoded')) {
    return c.text('Unsupported content type', 400);
  }
  const form = new URLSearchParams(await c.req.text());
  const [basicId, basicSecret] = basicCredentials(c.req.header('authorization'));
  const id = basicId ?? form.get('client_id') ?? '';
  const secret = basicSecret ?? form.get('client_secret') ?? '';
  const refuse = (text: string): Response =>
    c.json({ error: 'invalid_request', error_description: text }, 400);
  if (!form.get('grant_type')) {
    return refuse('Missing grant_type');
  }
  if (form.get('grant_type') !== 'client_credentials') {
    return refuse('Unsupported grant_type');
  }
  if (!id) {
    return refuse('Missing client_id');
  }
  if (!secret) {
    return refuse('Missing client_secret');
  }
  if (store.latest('ClientApplication', id)?.deleted !== false) {
    return refuse('Invalid client');
  }
  const membership = checkClient(store, id, secret);
  if (!membership) {
    return refuse('Invalid secret');
  }
  const token = issueToken(membership, baseUrl);
  return c.json({
    token_type: 'Bearer',
    expires_in: TOKEN_SECONDS,
    scope: 'openid',
    id_token: token,
    access_token: token,
    project: membership.project,
    profile: membership.profile,
    smart_style_url: `${baseUrl}fhir/R4/.well-known/smart-styles.json`,
    need_patient_banner: false,
  });
}
