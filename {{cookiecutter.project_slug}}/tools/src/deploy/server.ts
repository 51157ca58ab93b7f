// Requests to Medplum, exactly one for each call. MedplumClient would answer from a cache, gather reads into batches and
// repeat by rules of its own; a deployment has to know what was sent, and what of it arrived.
import type { Bundle, BundleEntry, OperationOutcome, Resource } from '@medplum/fhirtypes';
import type * as http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { UserError } from '../terminal/user-error.ts';
import type { Environment } from '../config/environment.ts';

/** A PATCH's new values by member of the resource; undefined removes one. Of `meta`, only `tag` is looked at. */
export type Fields = Record<string, unknown>;

export interface Server {
  environment: Environment;
  /**
   * Sends one request below `fhir/R4/`. Every request of the deployment may arrive twice without harm (conditional
   * creates, patches that test the version, `$deploy` of what is stored), so each is repeated on 429, 502, 503, 504 and a
   * lost connection.
   *
   * @throws RequestError for any other answer that is not 2xx
   */
  send<T = Resource>(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<T>;
}

/** An answer that is not 2xx. The message names the request and the server's reason. */
export class RequestError extends UserError {
  override name = 'RequestError';
  status: number;
  constructor(status: number, request: string, reason: string) {
    super(`${request} was answered with ${status}${reason && `: ${reason}`}`);
    this.status = status;
  }
}

/**
 * Signs in and makes sure that the credentials belong to the project that was asked for: Medplum creates bots in the
 * credentials' own project, whatever id stands in an address.
 *
 * @param environment - where, and as whom
 * @throws UserError for an address that does not answer, refused credentials, another project
 */
export async function connect(environment: Environment): Promise<Server> {
  const { baseUrl, name } = environment;
  let token = await signIn(environment);
  const send: Server['send'] = async (method, path, body, headers) => {
    const attempt = () =>
      exchange(method, `${baseUrl}fhir/R4/${path}`, body, {
        Authorization: `Bearer ${token}`,
        ...headers,
      });
    let response = await attempt();
    if (response.status === 401) {
      token = await signIn(environment);
      response = await attempt();
    }
    const { status, text } = response;
    if (status >= 300) {
      // Without the query: it says nothing new, and can be long.
      throw new RequestError(status, `${method} ${path.split('?')[0] || 'batch'}`, reasonOf(text));
    }
    return parse(text, `${baseUrl} (.env.${name})`);
  };
  return { environment, send };
}

async function signIn({
  baseUrl,
  clientId,
  clientSecret,
  projectId,
  name,
}: Environment): Promise<string> {
  const file = `.env.${name}`;
  const client = { client_id: clientId, client_secret: clientSecret };
  const form = new URLSearchParams({ grant_type: 'client_credentials', ...client });
  const { status, text } = await exchange('POST', `${baseUrl}oauth2/token`, form, {});
  if (status === 400 || status === 401) {
    const reason =
      (parse(text, baseUrl) as { error_description?: string }).error_description ??
      'no reason given';
    throw new UserError(
      `${baseUrl} refused MEDPLUM_CLIENT_ID and MEDPLUM_CLIENT_SECRET (${reason}). Check ${file}.`,
    );
  }
  if (status >= 300)
    throw new UserError(`${baseUrl}oauth2/token answered with ${status}. Check ${file}.`);
  const granted = parse<{ access_token?: string; project?: { reference?: string } }>(
    text,
    `${baseUrl} (${file})`,
  );
  const project = granted.project?.reference?.split('/')[1];
  if (!granted.access_token || !project)
    throw new UserError(`${baseUrl} (${file}) does not answer as Medplum does.`);
  if (project !== projectId) {
    throw new UserError(
      `These credentials belong to project ${project}, but MEDPLUM_PROJECT_ID (${file}) asks for ${projectId}.` +
        ' Nothing was written.',
    );
  }
  return granted.access_token;
}

const TRIES = 7;
/** Too many requests, a write that lost against a parallel one, a gateway without its server. */
const PASSING = [409, 429, 502, 503, 504];

/** All requests wait where one is told to: with each that comes meanwhile Medplum begins the time anew (5.1.26). */
let pause: Promise<unknown> = Promise.resolve();

interface Answer {
  status: number;
  headers: http.IncomingHttpHeaders;
  text: string;
}

async function exchange(
  method: string,
  url: string,
  body: unknown,
  headers: http.OutgoingHttpHeaders,
): Promise<Answer> {
  const form = body instanceof URLSearchParams;
  const type = form
    ? 'x-www-form-urlencoded'
    : method === 'PATCH'
      ? 'json-patch+json'
      : 'fhir+json';
  const all = { 'Content-Type': `application/${type}`, ...headers };
  const payload = typeof body === 'string' || form ? String(body) : JSON.stringify(body);
  for (let tries = 1; ; tries++) {
    for (let waited: unknown; waited !== pause; await waited) waited = pause;
    const answer = await sendOnce(url, { method, headers: all }, payload).catch(
      (error: Error) => error,
    );
    if (answer instanceof Error) {
      const { code, message } = answer as NodeJS.ErrnoException;
      // Nobody listens at this address: hardly a hiccup.
      if (tries === (/ECONNREFUSED|ENOTFOUND/.test(code ?? '') ? 3 : TRIES))
        throw unreachable(url, code ?? message);
    } else if (!PASSING.includes(answer.status) || tries === TRIES) {
      return answer;
    }
    const seconds = answer instanceof Error ? undefined : askedToWait(answer.headers);
    if (seconds === undefined) await sleep(0.1 * 2 ** tries * (0.5 + Math.random()) * 1000);
    else pause = Promise.all([pause, sleep(seconds * 1000)]);
  }
}

/** By node:http: `fetch` takes twice the time and leaves garbage behind. An import of node:http would load it as well. */
function sendOnce(url: string, options: http.RequestOptions, payload?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { request } = process.getBuiltinModule(
      url.startsWith('https:') ? 'node:https' : 'node:http',
    );
    // Two minutes: `$deploy` waits for AWS.
    const sent = request(url, { ...options, timeout: 120_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
      );
      response.on('error', reject);
    });
    sent
      .on('timeout', () => sent.destroy(new Error('no answer for two minutes')))
      .on('error', reject);
    sent.end(payload);
  });
}

/** Seconds, from Retry-After or from Medplum's own `RateLimit: "requests";r=0;t=12` (r: left, t: until it is renewed). */
function askedToWait(headers: http.IncomingHttpHeaders): number | undefined {
  const after = headers['retry-after'];
  const renewed = /r=0;t=(\d+)/.exec(String(headers['ratelimit'] ?? ''))?.[1];
  const wait = Number.isNaN(Number(after ?? 0))
    ? (Date.parse(after!) - Date.now()) / 1000
    : Number(after ?? renewed);
  return Number.isNaN(wait) ? undefined : Math.min(Math.max(wait, 0), 65);
}

function unreachable(url: string, code: string): UserError {
  const { origin } = new URL(url);
  const hint = isLocal(url)
    ? 'Start the local server: npm run local'
    : 'Check the address and the network.';
  return new UserError(`${origin} cannot be reached (${code}). ${hint}`);
}

/** Whether an address is on this machine: nothing there has to be asked before it is written. */
export function isLocal(url: string): boolean {
  return ['localhost', '127.0.0.1', '[::1]'].includes(new URL(url).hostname);
}

function parse<T>(text: string, place: string): T {
  try {
    return JSON.parse(text || 'null') as T;
  } catch {
    throw new UserError(
      `${place} does not answer as Medplum does: it sent something that is not JSON.`,
    );
  }
}

function reasonOf(text: string): string {
  try {
    return (JSON.parse(text) as OperationOutcome).issue
      .map((issue) => issue.details?.text ?? issue.code)
      .join('; ');
  } catch {
    return '';
  }
}

/**
 * Runs several searches as one request, and one more for each further page.
 *
 * @param searches - such as `Bot?_count=1000`
 * @returns for each search what it found; undefined where these credentials may not search that type
 */
export async function searchAll(
  server: Server,
  searches: string[],
): Promise<(Resource[] | undefined)[]> {
  const entry = searches.map((url): BundleEntry => ({ request: { method: 'GET', url } }));
  const batch = await server.send<Bundle>('POST', '', {
    resourceType: 'Bundle',
    type: 'batch',
    entry,
  });
  return Promise.all(
    searches.map(async (search, index) => {
      const { response, resource } = batch.entry?.[index] ?? {};
      if (response?.status === '403') return undefined;
      // What passes in a batch (too many requests) is not repeated by `send`: asked alone, it is.
      const first = response?.status?.startsWith('200')
        ? resource
        : await server.send('GET', search);
      // By id: one that is changed between two pages can stand in both.
      const found = new Map<string | undefined, Resource>();
      for (let page = first as Bundle | undefined; page;) {
        for (const { resource: one } of page.entry ?? []) if (one) found.set(one.id, one);
        const next = page.link?.find(({ relation }) => relation === 'next')?.url;
        page = next ? await server.send<Bundle>('GET', next.split('/fhir/R4/')[1]!) : undefined;
      }
      return [...found.values()];
    }),
  );
}
