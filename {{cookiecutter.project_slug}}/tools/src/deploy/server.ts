// Requests to Medplum, exactly one for each call. MedplumClient would answer from a cache, gather
// reads into batches and repeat by rules of its own; a deployment has to know what was sent, and
// what of it arrived.
import type { ClientApplication, OperationOutcome, Resource } from '@medplum/fhirtypes';
import { refuseUnencrypted } from '../config/address.ts';
import type { Environment } from '../config/environment.ts';
import { oneLine } from '../terminal/output.ts';
import { UserError } from '../terminal/user-error.ts';
import { exchange, meaningOf } from './http.ts';
import type { Answer } from './http.ts';
import { LIMITS } from './limits.ts';
import type { Limits } from './limits.ts';
import { parseJson, TooManyValuesError } from './parse-json.ts';
import { isOutcome, isTokenResponse, wrongMember } from './shapes.ts';
import type { Stored } from './stored.ts';

export interface Server {
  environment: Environment;
  limits: Limits;
  /**
   * Sends one request below `fhir/R4/`.
   *
   * @returns the parsed body; null if there is none
   * @throws RequestError for an answer that is not 2xx, and for 202: what was asked for is not done
   *   yet
   */
  send<T = Resource>(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<T>;
  /**
   * Runs a bot, once: a run has effects, so it is not repeated if its answer is lost. The answer
   * can be of any kind.
   *
   * @throws RequestError for an answer that is not 2xx
   */
  execute(path: string, body: unknown, headers: Record<string, string>): Promise<void>;
  /**
   * Creates a ClientApplication with a membership, as only a project admin can. It is sent once.
   */
  createClient(client: object): Promise<Partial<ClientApplication>>;
}

/** An answer that is not a success. The message names the request and the server's reason. */
export class RequestError extends UserError {
  override name = 'RequestError';
  readonly status: number;
  /** What the server said, or what its status means; never empty. */
  readonly reason: string;

  constructor(status: number, request: string, reason: string) {
    super(`${request} was answered with ${status}: ${reason}`);
    this.status = status;
    this.reason = reason;
  }
}

/**
 * Signs in and makes sure that the credentials belong to the project that was asked for: Medplum
 * creates bots in the credentials' own project, whatever id stands in an address.
 *
 * @param environment - where, and as whom
 * @throws UserError for an address that does not answer, credentials that are refused, another
 *   project
 */
export async function connect(environment: Environment, limits: Limits = LIMITS): Promise<Server> {
  const { baseUrl } = environment;
  const place = `${baseUrl} (.env.${environment.name})`;
  refuseUnencrypted(baseUrl, `.env.${environment.name}`);
  let token = await signIn(environment, limits);
  const request = async (
    method: string,
    path: string,
    body: unknown,
    headers: Record<string, string>,
    { isRepeatable = true, root = 'fhir/R4/' } = {},
  ): Promise<Answer> => {
    const attempt = (): Promise<Answer> => {
      const all = { Authorization: `Bearer ${token}`, ...headers };
      return exchange(method, `${baseUrl}${root}${path}`, body, all, limits, isRepeatable);
    };
    let answer = await attempt();
    if (answer.status === 401) {
      token = await signIn(environment, limits);
      answer = await attempt();
    }
    const { status, text } = answer;
    // Without the query, which can be long.
    const name = `${method} ${path.split('?')[0] || 'batch'}`;
    if (status === 202) {
      throw new RequestError(status, name, 'the server has only accepted it, not done it');
    }
    if (status < 200 || status >= 300) {
      throw new RequestError(status, name, reasonOf(status, text));
    }
    return answer;
  };
  const send: Server['send'] = async (method, path, body, headers = {}) => {
    const { text } = await request(method, path, body, headers);
    return parse(text, place);
  };
  const execute: Server['execute'] = async (path, body, headers) => {
    await request('POST', path, body, headers, { isRepeatable: false });
  };
  const createClient: Server['createClient'] = async (client) => {
    const path = `projects/${environment.projectId}/client`;
    const options = { isRepeatable: false, root: 'admin/' };
    const headers = { 'Content-Type': 'application/json' };
    const { text } = await request('POST', path, client, headers, options);
    return parse(text, place) ?? {};
  };
  return { environment, limits, send, execute, createClient };
}

async function signIn(environment: Environment, limits: Limits): Promise<string> {
  const { baseUrl, clientId, clientSecret, projectId, name } = environment;
  const file = `.env.${name}`;
  const client = { client_id: clientId, client_secret: clientSecret };
  const form = new URLSearchParams({ grant_type: 'client_credentials', ...client });
  const { status, text } = await exchange('POST', `${baseUrl}oauth2/token`, form, {}, limits);
  if (status === 400 || status === 401) {
    const refusal = parse<{ error_description?: unknown } | null>(text, baseUrl);
    const description = refusal?.error_description;
    const reason = typeof description === 'string' ? oneLine(description) : 'no reason given';
    throw new UserError(
      `${baseUrl} refused MEDPLUM_CLIENT_ID and MEDPLUM_CLIENT_SECRET (${reason}). Check ${file}.`,
    );
  }
  if (status < 200 || status >= 300) {
    const meaning = meaningOf(status);
    throw new UserError(
      `${baseUrl}oauth2/token answered with ${status} (${meaning}). Check ${file}.`,
    );
  }
  const granted = parse<{ access_token: string; project: { reference?: string } }>(
    text,
    `${baseUrl} (${file})`,
  );
  const project = isTokenResponse(granted) ? granted.project.reference?.split('/')[1] : undefined;
  if (!project || !granted.access_token) {
    throw new UserError(`${baseUrl} (${file}) does not answer as Medplum does.`);
  }
  if (project !== projectId) {
    throw new UserError(
      `These credentials belong to project ${project}, ` +
        `but MEDPLUM_PROJECT_ID (${file}) is ${projectId}.` +
        ' Nothing was written.',
    );
  }
  return granted.access_token;
}

function parse<T>(text: string, place: string): T {
  try {
    return parseJson(text || 'null', LIMITS.values) as T;
  } catch (error) {
    if (error instanceof TooManyValuesError) {
      throw new UserError(`${place} sent an answer of more than ${LIMITS.values} values.`);
    }
    throw new UserError(`${place} does not answer as Medplum does: it did not send JSON.`);
  }
}

/** What an OperationOutcome says, or what the status means. */
function reasonOf(status: number, text: string): string {
  const meaning = meaningOf(status);
  let outcome: Partial<OperationOutcome>;
  try {
    outcome = parseJson(text, LIMITS.values) as Partial<OperationOutcome>;
  } catch {
    return meaning;
  }
  const issues = isOutcome(outcome) ? (outcome.issue ?? []) : [];
  const texts = issues.map(
    ({ details, diagnostics, code }) => details?.text ?? diagnostics ?? code,
  );
  return oneLine(texts.filter(Boolean).join('; ')) || meaning;
}

/**
 * @param value - what a request was answered with
 * @param resourceType - what it should be
 * @param request - for the message, such as `PATCH Bot`
 * @throws UserError if it is anything else, has no id, or has members of another form
 */
export function expectResource<T extends Resource>(
  value: unknown,
  resourceType: T['resourceType'],
  request: string,
): Stored<T> {
  const resource = value as Partial<Stored<T>> | null;
  if (resource?.resourceType !== resourceType || typeof resource.id !== 'string') {
    throw new UserError(`${request} was answered without a ${resourceType} and its id`);
  }
  const member = wrongMember(resource as Record<string, unknown>);
  if (member !== undefined) {
    throw new UserError(
      `${request} was answered with ${resourceType}/${resource.id}, ` +
        `whose "${member}" is not as FHIR defines it`,
    );
  }
  return resource as Stored<T>;
}
