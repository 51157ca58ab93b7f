// What the tests of the page share: a local Medplum with the page, and requests to its API.
import type { RunList } from '../../tools/src/page/api-types.ts';
import { addPage } from '../../tools/src/page/page.ts';
import type { MedplumServerOptions } from '../../tools/src/medplum/server.ts';
import { startTestServer } from '../medplum/support.ts';
import type { TestServer } from '../medplum/support.ts';

export interface PageAnswer<T> {
  status: number;
  body: T;
}

export interface PageServer extends TestServer {
  /** A request of the page, below `/_local/`. */
  page<T>(method: string, path: string, body?: unknown): Promise<PageAnswer<T>>;
  /** The runs of a bot, newest first. */
  runsOf(bot: string): Promise<RunList>;
}

export async function openPage(options: MedplumServerOptions = {}): Promise<PageServer> {
  const medplum = await startTestServer({
    ...options,
    extend: (app, server) => addPage(app, server, undefined),
  });
  const page: PageServer['page'] = async (method, path, body) => {
    const response = await fetch(`${medplum.server.baseUrl}_local/${path}`, {
      method,
      headers: { 'Content-Type': 'application/json' },
      body: body === undefined ? null : JSON.stringify(body),
    });
    return { status: response.status, body: (await response.json()) as never };
  };
  const runsOf = async (bot: string): Promise<RunList> => {
    return (await page<RunList>('GET', `runs?bot=${bot}`)).body;
  };
  return { ...medplum, page, runsOf };
}
