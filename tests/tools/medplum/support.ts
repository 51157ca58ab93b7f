// What the tests of the local Medplum server share: a running one, and requests to it.
import { LOCAL } from '../../tools/src/medplum/local-project.ts';
import { startMedplumServer } from '../../tools/src/medplum/server.ts';
import type { MedplumServer, MedplumServerOptions } from '../../tools/src/medplum/server.ts';

export const PROJECT = LOCAL.projectId;
export const UNKNOWN_ID = '00000000-0000-4000-8000-00000000dead';

export interface Answer {
  status: number;
  headers: Headers;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- any answer of the server
  body: any;
}

export type Call = (
  method: string,
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
) => Promise<Answer>;

export interface TestServer {
  server: MedplumServer;
  /** As the client with admin rights. */
  call: Call;
  /** As the client without. */
  other: Call;
  /** Without credentials, unless the headers carry them. */
  anonymous: Call;
  /** Creates a bot with membership and deployed code, returns its id. */
  bot(code: string, fields?: Record<string, unknown>): Promise<string>;
  /** Runs a bot with `$execute`. */
  execute(id: string, input?: unknown): Promise<Answer>;
  /** The AuditEvents of a bot, newest first. */
  audits(
    id: string,
  ): Promise<
    { outcome: string; outcomeDesc?: string; entity: { what: { reference: string } }[] }[]
  >;
}

export async function startTestServer(options: MedplumServerOptions = {}): Promise<TestServer> {
  const server = await startMedplumServer(options);
  const as =
    (authorization?: string): Call =>
    async (method, path, body, headers = {}) => {
      const raw =
        body === undefined ||
        typeof body === 'string' ||
        body instanceof Uint8Array ||
        body instanceof URLSearchParams;
      const json = method === 'PATCH' ? 'application/json-patch+json' : 'application/fhir+json';
      const response = await fetch(server.baseUrl + path, {
        method,
        headers: {
          ...(body instanceof URLSearchParams ? {} : { 'Content-Type': json }),
          ...(authorization ? { Authorization: authorization } : {}),
          ...headers,
        },
        body: (raw ? body : JSON.stringify(body)) as string,
      });
      const text = await response.text();
      let parsed: unknown = text;
      try {
        parsed = JSON.parse(text);
      } catch {
        // not JSON: compared as text
      }
      return { status: response.status, headers: response.headers, body: parsed };
    };
  const basic = (id: string, secret: string): string =>
    `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`;
  const call = as(basic(LOCAL.clientId, LOCAL.clientSecret));
  return {
    server,
    call,
    other: as(basic(LOCAL.noAdminId, LOCAL.noAdminSecret)),
    anonymous: as(),
    bot: async (code, fields = {}) => {
      const body = { name: 'test-bot', runtimeVersion: 'vmcontext', ...fields };
      const { id } = (await call('POST', `admin/projects/${PROJECT}/bot`, body)).body;
      await call('POST', `fhir/R4/Bot/${id}/$deploy`, { code, filename: 'test-bot.cjs' });
      return id;
    },
    execute: (id, input = {}) => call('POST', `fhir/R4/Bot/${id}/$execute`, input),
    audits: async (id) => {
      const { body } = await call(
        'GET',
        `fhir/R4/AuditEvent?entity=Bot/${id}&_sort=-_lastUpdated&_count=100`,
      );
      return (body.entry ?? []).map(({ resource }: { resource: unknown }) => resource);
    },
  };
}

/**
 * Asks until the answer satisfies, for 30 seconds at most; then returns the last answer for the
 * test to fail on.
 */
export async function eventually<T>(
  ask: () => Promise<T>,
  good: (answer: T) => boolean,
): Promise<T> {
  const end = Date.now() + 30_000;
  for (;;) {
    const answer = await ask();
    if (good(answer) || Date.now() > end) {
      return answer;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The code of a bot that logs its event as JSON. */
export const ECHO = `exports.handler = async (medplum, event) => {
  console.log(JSON.stringify({ input: event.input, headers: event.headers, secrets: event.secrets }));
  return true;
};`;
