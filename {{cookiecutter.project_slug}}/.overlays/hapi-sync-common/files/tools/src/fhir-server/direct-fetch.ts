// A `fetch` for tests that asks the FHIR server in the same process, without a connection.
import type { FhirService, HttpResponse } from './service.ts';

/** The real one, also where a test puts this one in its place. */
const realFetch = globalThis.fetch;

/**
 * @param origin - of the server; requests to other addresses go to the real `fetch`
 * @returns what can take the place of the global `fetch`; a cut connection is a TypeError there,
 *   as it is of the real one, and a request without an answer waits for its signal
 */
export function createDirectFetch(service: FhirService, origin: string): typeof fetch {
  return async (input, init) => {
    const request = new Request(input, init);
    const url = new URL(request.url);
    if (url.origin !== origin) {
      return realFetch(request);
    }
    const { method, headers, signal } = request;
    const answered = service.answer({
      method,
      url: url.pathname + url.search,
      headers: { accept: '*/*', ...Object.fromEntries(headers) },
      body: await request.text(),
    });
    const outcome = await Promise.race([answered, whenAborted(signal)]);
    if (outcome === 'hang') {
      return whenAborted(signal);
    }
    if (outcome === 'cut') {
      const cause = Object.assign(new Error('other side closed'), { code: 'UND_ERR_SOCKET' });
      throw new TypeError('fetch failed', { cause });
    }
    return toResponse(outcome);
  };
}

/** @returns a promise that is rejected when the signal is aborted, or has been */
function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    if (signal.aborted) {
      abort();
    } else {
      signal.addEventListener('abort', abort, { once: true });
    }
  });
}

function toResponse({ status, headers, text }: HttpResponse): Response {
  const responseHeaders = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    responseHeaders.set(name, String(value));
  }
  return new Response(text || null, { status, headers: responseHeaders });
}
