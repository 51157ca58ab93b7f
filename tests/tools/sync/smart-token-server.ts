// An authorization server for SMART Backend Services (SMART App Launch 2.2, "Client Authentication:
// Asymmetric"), with a FHIR server behind it. It accepts a client only if its assertion meets every
// rule of that page.
import { createPublicKey, randomUUID, verify } from 'node:crypto';
import type { JsonWebKey } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A public key with which a client is registered. */
export type RegisteredKey = JsonWebKey & { kid: string };

export interface SmartServer {
  tokenUrl: string;
  /** The address of the FHIR server; every request needs a token. */
  fhirUrl: string;
  /** The scopes that were granted, for each token. */
  granted: string[];
  /** Why assertions were refused: the rule that was broken. */
  refused: string[];
  stop: () => Promise<void>;
}

interface Claims {
  iss?: string;
  sub?: string;
  aud?: string;
  exp?: number;
  jti?: string;
}

/**
 * Starts the servers on loopback.
 *
 * @param clients - The registered keys, by client id.
 * @param fhirServer - The address of the FHIR server that requests with a token are passed on to.
 */
export async function startSmartServer(
  clients: Record<string, RegisteredKey[]>,
  fhirServer: string,
): Promise<SmartServer> {
  const tokens = new Set<string>();
  const usedAssertions = new Set<string>();
  const granted: string[] = [];
  const refused: string[] = [];

  /** Returns the rule that the request breaks, if there is one. */
  function brokenRule(form: URLSearchParams): string | undefined {
    const type = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
    if (form.get('grant_type') !== 'client_credentials') {
      return 'grant_type';
    }
    if (form.get('client_assertion_type') !== type) {
      return 'client_assertion_type';
    }
    const parts = (form.get('client_assertion') ?? '').split('.');
    const [header = '', payload = '', signature = ''] = parts;
    const { alg, kid, typ } = decoded<{ alg?: string; kid?: string; typ?: string }>(header);
    const claims = decoded<Claims>(payload);
    const key = clients[claims.iss ?? '']?.find((registered) => registered.kid === kid);
    if (parts.length !== 3 || typ !== 'JWT' || (alg !== 'RS384' && alg !== 'ES384')) {
      return 'header';
    }
    if (!key || key.kty !== (alg === 'RS384' ? 'RSA' : 'EC')) {
      return 'key';
    }
    const publicKey = createPublicKey({ key, format: 'jwk' });
    const options = { key: publicKey, dsaEncoding: 'ieee-p1363' as const }; // as RFC 7518, 3.4 says
    const signed = Buffer.from(`${header}.${payload}`);
    if (!verify('sha384', signed, options, Buffer.from(signature, 'base64url'))) {
      return 'signature';
    }
    const secondsLeft = (claims.exp ?? 0) - Date.now() / 1000;
    if (claims.sub !== claims.iss || claims.aud !== tokenUrl) {
      return 'claims';
    }
    if (secondsLeft <= 0 || secondsLeft > 300) {
      return 'exp';
    }
    if (!claims.jti || usedAssertions.has(claims.jti)) {
      return 'jti';
    }
    usedAssertions.add(claims.jti);
    return /^system\/\S+( system\/\S+)*$/.test(form.get('scope') ?? '') ? undefined : 'scope';
  }

  const server = createServer((request, response) => {
    void read(request).then(async (body) => {
      const answer = (status: number, content: object, type = 'application/json'): void => {
        response.writeHead(status, { 'content-type': type }).end(JSON.stringify(content));
      };
      if (request.url === '/token') {
        const form = new URLSearchParams(body);
        const rule = brokenRule(form);
        if (rule) {
          refused.push(rule);
          answer(400, { error: rule === 'scope' ? 'invalid_scope' : 'invalid_client' });
          return;
        }
        const token = randomUUID();
        tokens.add(`Bearer ${token}`);
        granted.push(form.get('scope') ?? '');
        const scope = form.get('scope');
        answer(200, { access_token: token, token_type: 'bearer', expires_in: 300, scope });
        return;
      }
      if (!tokens.has(request.headers.authorization ?? '')) {
        const issue = [{ severity: 'error', code: 'login' }];
        answer(401, { resourceType: 'OperationOutcome', issue }, 'application/fhir+json');
        return;
      }
      const { host: _host, ...headers } = request.headers;
      const passedOn = await fetch(`${fhirServer}${request.url?.replace(/^\/fhir/, '')}`, {
        method: request.method ?? 'GET',
        headers: headers as Record<string, string>,
        ...(body ? { body } : {}),
      });
      const { 'content-encoding': _encoding, ...answered } = Object.fromEntries(passedOn.headers);
      response.writeHead(passedOn.status, answered).end(await passedOn.text());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const tokenUrl = `${base}/token`;
  const stop = (): Promise<void> => new Promise((resolve) => server.close(() => resolve()));
  return { tokenUrl, fhirUrl: `${base}/fhir`, granted, refused, stop };
}

function decoded<T>(part: string): Partial<T> {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString()) as T;
  } catch {
    return {};
  }
}

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) {
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString();
}
