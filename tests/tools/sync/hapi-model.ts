// HAPI at its worst, without a network or a clock: what the sync relies on, and what it must
// survive. Held to facts: writes by id are fenced, a DELETE never is, references must hold, and
// what is referred to cannot be deleted.
export interface Body {
  resourceType: string;
  id?: string;
  meta?: { versionId?: string; lastUpdated?: string; tag?: { system?: string; code?: string }[] };
  identifier?: { system?: string; value?: string }[];
  [element: string]: unknown;
}

/** One version of a resource; without a body, it is a tombstone. */
interface Version {
  version: number;
  body: Body | undefined;
}

export interface Answer {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}

interface Entry {
  resource?: Body;
  request: { method: string; url: string; ifMatch?: string };
}

class Refused extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`HTTP ${status}`);
    this.status = status;
  }
}

/** The literal references in a resource, as `Type/id`. */
export function literalReferences(value: unknown): string[] {
  if (Array.isArray(value)) {
    return value.flatMap(literalReferences);
  }
  if (typeof value !== 'object' || value === null) {
    return [];
  }
  return Object.entries(value).flatMap(([name, member]) =>
    name === 'reference' && typeof member === 'string' ? [member] : literalReferences(member),
  );
}

/** A HAPI server with no resources. */
export class HapiModel {
  #records = new Map<string, Version[]>();

  /** Everything that lives: `Type/id` and body. */
  living(): Map<string, Body> {
    const found = new Map<string, Body>();
    for (const [path, versions] of this.#records) {
      const body = versions.at(-1)?.body;
      if (body) {
        found.set(path, body);
      }
    }
    return found;
  }

  /** Puts something there that the sync did not write. */
  addStranger(body: Body & { id: string }): void {
    this.#records.set(`${body.resourceType}/${body.id}`, [{ version: 1, body }]);
  }

  /** Answers one request; `path` is below the server's address. */
  handle(method: string, path: string, headers: Record<string, string>, text: string): Answer {
    try {
      return this.#route(method, path, headers, text);
    } catch (error) {
      if (error instanceof Refused) {
        return { status: error.status, body: outcome('error') };
      }
      throw error;
    }
  }

  #route(method: string, path: string, headers: Record<string, string>, text: string): Answer {
    const [address = '', query = ''] = path.split('?');
    if (method === 'GET' && address === 'metadata') {
      return { status: 200, body: { resourceType: 'CapabilityStatement' } };
    }
    if (method === 'POST' && address === '') {
      return this.#bundle(JSON.parse(text) as { type: string; entry: Entry[] });
    }
    if (method === 'POST' && address.endsWith('/_search')) {
      return this.#search(address.split('/')[0] ?? '', new URLSearchParams(text), headers);
    }
    if (method === 'GET' && !address.includes('/')) {
      return this.#search(address, new URLSearchParams(query), headers);
    }
    if (query || !/^[A-Z][A-Za-z]+\/[A-Za-z0-9.-]+$/.test(address)) {
      throw new Error(`The sync must never send ${method} ${path}`);
    }
    switch (method) {
      case 'GET':
        return this.#read(address);
      case 'PUT':
        return this.#put(address, JSON.parse(text) as Body, headers['if-match'], new Set());
      case 'DELETE':
        return this.#delete(address, new Set([address]));
      default:
        throw new Error(`The sync must never send ${method} ${path}`);
    }
  }

  #read(path: string): Answer {
    const current = this.#current(path);
    if (!current) {
      throw new Refused(404);
    }
    if (!current.body) {
      const location = `http://localhost/fhir/${path}/_history/${current.version}`;
      return { status: 410, body: outcome('error'), headers: { location } };
    }
    return {
      status: 200,
      body: withVersion(current.body, current.version),
      headers: etag(current.version),
    };
  }

  #put(path: string, body: Body, ifMatch: string | undefined, together: Set<string>): Answer {
    const before = this.#current(path);
    if (ifMatch === undefined) {
      throw new Error(`PUT ${path} without a fence`);
    }
    if (ifMatch !== `W/"${before?.version ?? 0}"`) {
      throw new Refused(409);
    }
    for (const reference of literalReferences(body)) {
      if (!this.#current(reference)?.body && !together.has(reference) && reference !== path) {
        throw new Refused(400);
      }
    }
    if (before?.body && JSON.stringify(before.body) === JSON.stringify(body)) {
      return { status: 200, headers: etag(before.version) };
    }
    const version = (before?.version ?? 0) + 1;
    this.#records.set(path, [...(this.#records.get(path) ?? []), { version, body }]);
    return { status: before?.body ? 200 : 201, headers: etag(version) };
  }

  #delete(path: string, together: Set<string>): Answer {
    const isReferredTo = [...this.living()].some(
      ([other, body]) => !together.has(other) && literalReferences(body).includes(path),
    );
    if (isReferredTo) {
      throw new Refused(409);
    }
    const current = this.#current(path);
    if (current?.body) {
      const tombstone = { version: current.version + 1, body: undefined };
      this.#records.set(path, [...(this.#records.get(path) ?? []), tombstone]);
    }
    return { status: 200, body: outcome('information') };
  }

  #bundle({ type, entry }: { type: string; entry: Entry[] }): Answer {
    const before = new Map(this.#records);
    const together = new Set(type === 'transaction' ? entry.map(({ request }) => request.url) : []);
    const carryOut = ({ resource, request }: Entry): Answer =>
      request.method === 'DELETE'
        ? this.#delete(request.url, together)
        : this.#put(request.url, resource as Body, request.ifMatch, together);
    try {
      const answers = entry.map((request) => {
        if (type === 'transaction') {
          return carryOut(request);
        }
        try {
          return carryOut(request);
        } catch (error) {
          return { status: (error as Refused).status };
        }
      });
      if (type === 'transaction') {
        this.#assertReferencesHold(together);
      }
      const responses = answers.map((answer: Answer, index) => {
        const version = /"(.+)"/.exec(answer.headers?.['etag'] ?? '')?.[1];
        const location = version && `${entry[index]?.request.url}/_history/${version}`;
        return {
          response: { status: String(answer.status), ...(version && { etag: version, location }) },
        };
      });
      return {
        status: 200,
        body: { resourceType: 'Bundle', type: `${type}-response`, entry: responses },
      };
    } catch (error) {
      this.#records = before; // all or nothing
      throw error;
    }
  }

  /** What a transaction wrote may not refer to what it deleted. */
  #assertReferencesHold(written: Set<string>): void {
    for (const path of written) {
      const references = literalReferences(this.#current(path)?.body);
      if (references.some((reference) => !this.#current(reference)?.body)) {
        throw new Refused(409);
      }
    }
  }

  #search(type: string, query: URLSearchParams, headers: Record<string, string>): Answer {
    if (headers['cache-control'] !== 'no-cache') {
      throw new Error('A search from the cache says what was there a minute ago');
    }
    const ids = query.get('_id')?.split(',');
    const [tagSystem, tagCode] = query.get('_tag')?.split('|') ?? [];
    const [system] = query.get('identifier')?.split('|') ?? [];
    const withReferrers = query.get('_revinclude') === '*';
    const found = [...this.living()].filter(
      ([path, body]) =>
        path.startsWith(`${type}/`) &&
        (!ids || ids.includes(body.id ?? '')) &&
        (!tagSystem ||
          body.meta?.tag?.some((tag) => tag.system === tagSystem && tag.code === tagCode)) &&
        (!system || body.identifier?.some((identifier) => identifier.system === system)),
    );
    const matches = new Set(found.map(([path]) => path));
    const included = [...this.living()].filter(
      ([path, body]) =>
        withReferrers &&
        !matches.has(path) &&
        literalReferences(body).some((reference) => matches.has(reference)),
    );
    const entry = [...found, ...included].map(([path, body]) => ({
      resource: withVersion(body, this.#current(path)?.version ?? 0),
      search: { mode: matches.has(path) ? 'match' : 'include' },
    }));
    return { status: 200, body: { resourceType: 'Bundle', type: 'searchset', entry } };
  }

  #current(path: string): Version | undefined {
    return this.#records.get(path)?.at(-1);
  }
}

function withVersion(body: Body, version: number): Body {
  return { ...body, meta: { ...body.meta, versionId: String(version) } };
}

function etag(version: number): Record<string, string> {
  return { etag: `W/"${version}"` };
}

function outcome(severity: string): object {
  return { resourceType: 'OperationOutcome', issue: [{ severity, code: 'processing' }] };
}
