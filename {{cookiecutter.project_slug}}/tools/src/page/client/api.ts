// Requests to the server of the page.

/** The server refused; the message is meant for the user. */
export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
  }
}

/**
 * Sends a request below `/_local/`.
 *
 * @throws ApiError where the server refused or does not answer
 */
async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { method };
  if (body !== undefined) {
    init.headers = { 'Content-Type': 'application/json' };
    init.body = JSON.stringify(body);
  }
  let response: Response;
  try {
    response = await fetch(`/_local/${path}`, init);
  } catch {
    throw new ApiError(0, 'The local server does not answer. Is it still running?');
  }
  const answer: unknown = await response.json().catch(() => undefined);
  if (!response.ok) {
    const { message } = (answer ?? {}) as { message?: string };
    throw new ApiError(response.status, message ?? `The server answered ${response.status}.`);
  }
  return answer as T;
}

export const api = {
  get: async <T>(path: string): Promise<T> => request('GET', path),
  post: async <T>(path: string, body?: unknown): Promise<T> => request('POST', path, body),
  put: async <T>(path: string, body: unknown): Promise<T> => request('PUT', path, body),
  delete: async <T>(path: string): Promise<T> => request('DELETE', path),
};
