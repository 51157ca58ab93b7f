// HAPI's manners at their worst, without a network or a clock: what the sync relies on, and what it must survive.
// Held to facts: writes by id are fenced, conditional creates are not, a DELETE never is, references must hold.
interface Body {
  resourceType: string;
  id?: string;
  meta?: Record<string, unknown>;
  identifier?: { system: string; value: string }[];
  link?: { other: { reference: string } }[];
  [element: string]: unknown;
}

interface Version {
  version: number;
  /** Undefined: a tombstone. */
  body: Body | undefined;
}

export interface Answer {
  status: number;
  version?: number;
  body?: unknown;
}

export interface HapiModel {
  handle: (
    method: string,
    path: string,
    headers: Record<string, string>,
    text: string,
  ) => Promise<Answer>;
  /** Everything that lives: `Type/id` and body. */
  living: () => Map<string, Body>;
}

class Refused extends Error {
  readonly status: number;
  constructor(status: number) {
    super(`HTTP ${status}`);
    this.status = status;
  }
}

/** @param gap - Time between looking and writing, in which others write. */
export function hapiModel(gap: () => Promise<void>): HapiModel {
  let records = new Map<string, Version[]>();
  let lastId = 999;
  const current = (key: string): Version | undefined => records.get(key)?.at(-1);
  const living = (): Map<string, Body> =>
    new Map(
      [...records].flatMap(([key, versions]) =>
        versions.at(-1)?.body ? [[key, versions.at(-1)?.body as Body]] : [],
      ),
    );

  function matching(type: string, tokens: string): [string, Body][] {
    const wanted = tokens.split(',').map((token) => token.split('|') as [string, string]);
    return [...living()].filter(
      ([key, { identifier = [] }]) =>
        key.startsWith(`${type}/`) &&
        identifier.some((one) =>
          wanted.some(
            ([system, value]) => one.system === system && (!value || one.value === value),
          ),
        ),
    );
  }

  function write(
    key: string,
    body: Body,
    ifMatch: string | undefined,
    together: Map<string, string>,
  ): Answer {
    const before = current(key);
    if (ifMatch !== undefined && ifMatch !== `W/"${before?.version ?? 0}"`) {
      throw new Refused(409);
    }
    const { meta: { versionId: _v, lastUpdated: _l, ...meta } = {}, ...rest } = body;
    const resolve = (reference: string): string => {
      const [type = '', query] = reference.split('?identifier=');
      const there = together.get(reference) ?? (query ? matching(type, query)[0]?.[0] : reference);
      if (!there || !(current(there)?.body || [...together.values()].includes(there))) {
        throw new Refused(query ? 404 : 400);
      }
      return there;
    };
    const link = rest.link?.map((one) => ({
      ...one,
      other: { reference: resolve(one.other.reference) },
    }));
    const stored: Body = {
      ...rest,
      id: key.split('/')[1],
      ...(Object.keys(meta).length > 0 && { meta }),
      ...(link && { link }),
    };
    if (before?.body && JSON.stringify(sorted(before.body)) === JSON.stringify(sorted(stored))) {
      return { status: 200, version: before.version };
    }
    const version = (before?.version ?? 0) + 1;
    records.set(key, [...(records.get(key) ?? []), { version, body: stored }]);
    return {
      status: before?.body ? 200 : 201,
      version,
      body: { ...stored, meta: { ...meta, versionId: String(version) } },
    };
  }

  function put(
    path: string,
    body: Body,
    ifMatch: string | undefined,
    together = new Map<string, string>(),
  ): Answer {
    const [type = '', tokens] = path.split('?identifier=');
    if (tokens === undefined) {
      return write(path, body, ifMatch, together);
    }
    const found = matching(type, tokens);
    if (found.length > 1) {
      throw new Refused(412);
    }
    return write(found[0]?.[0] ?? `${type}/${++lastId}`, body, undefined, together);
  }

  function transaction(
    entries: { fullUrl?: string; resource: Body; request: { url: string; ifMatch?: string } }[],
  ): Answer {
    const before = new Map(records);
    const together = new Map<string, string>();
    try {
      for (const { fullUrl, request } of entries) {
        const [type = '', tokens] = decodeURIComponent(request.url).split('?identifier=');
        const key =
          tokens === undefined
            ? request.url
            : (matching(type, tokens)[0]?.[0] ?? `${type}/${++lastId}`);
        together.set(fullUrl ?? request.url, key).set(request.url, key);
      }
      const answers = entries.map(({ resource, request }) =>
        write(together.get(request.url) as string, resource, request.ifMatch, together),
      );
      const entry = answers.map(({ status, version }) => ({
        response: { status: String(status), etag: String(version) },
      }));
      return { status: 200, body: { resourceType: 'Bundle', entry } };
    } catch (error) {
      records = before; // all or nothing
      throw error;
    }
  }

  async function answer(
    method: string,
    path: string,
    headers: Record<string, string>,
    text: string,
  ): Promise<Answer> {
    const decoded = decodeURIComponent(path);
    const found = (list: [string, Body][]): Answer => {
      if (headers['cache-control'] !== 'no-cache') {
        throw new Error('A search from the cache says what was there a minute ago');
      }
      const entry = list.map(([key, body]) => ({
        resource: { ...body, meta: { ...body.meta, versionId: String(current(key)?.version) } },
      }));
      return { status: 200, body: { resourceType: 'Bundle', entry } };
    };
    if (method === 'POST' && path.endsWith('/_search')) {
      return found(
        matching(path.split('/')[0] ?? '', new URLSearchParams(text).get('identifier') ?? ''),
      );
    }
    if (method === 'POST') {
      const { type, entry } = JSON.parse(text) as {
        type: string;
        entry: Parameters<typeof transaction>[0];
      };
      if (type === 'transaction') {
        return transaction(entry);
      }
      const each = entry.map(({ resource, request }) =>
        guarded(() => put(request.url, resource, request.ifMatch)),
      );
      return {
        status: 200,
        body: { entry: each.map(({ status }) => ({ response: { status: String(status) } })) },
      };
    }
    if (method === 'GET' && decoded.includes('?identifier=')) {
      const [type = '', tokens = ''] = decoded.split('?identifier=');
      return found(matching(type, tokens.split('&')[0] ?? ''));
    }
    if (method === 'GET' && path.endsWith('&_revinclude=*')) {
      const wanted = path.replace('?_id=', '/').replace('&_revinclude=*', '');
      const refers = ({ link = [] }: Body): boolean =>
        link.some((one) => one.other.reference === wanted);
      return found([...living()].filter(([other, body]) => other === wanted || refers(body)));
    }
    const key = path.split('/_history')[0] ?? '';
    const version = current(key);
    if (method === 'GET' && path.includes('/_history')) {
      const entry = version ? [{ response: { etag: `W/"${version.version}"` } }] : [];
      return { status: version ? 200 : 404, body: { resourceType: 'Bundle', entry } };
    }
    if (method === 'GET') {
      const body = version?.body && {
        ...version.body,
        meta: { ...version.body.meta, versionId: String(version.version) },
      };
      return {
        status: !version ? 404 : body ? 200 : 410,
        ...(body && { body, version: version.version }),
      };
    }
    if (method === 'DELETE') {
      if (key.includes('?')) {
        throw new Error('A conditional DELETE must never be sent');
      }
      if (
        [...living()].some(
          ([other, { link = [] }]) =>
            other !== key && link.some((one) => one.other.reference === key),
        )
      ) {
        throw new Refused(409);
      }
      if (version?.body) {
        records.set(key, [
          ...(records.get(key) ?? []),
          { version: version.version + 1, body: undefined },
        ]);
      }
      return { status: 200 };
    }
    const body = JSON.parse(text) as Body;
    if (
      decoded.includes('?') &&
      matching(decoded.split('?')[0] ?? '', decoded.split('=')[1] ?? '').length === 0
    ) {
      await gap(); // nothing there when it looked: it creates, whatever others have created meanwhile
      return write(`${body.resourceType}/${++lastId}`, body, undefined, new Map());
    }
    return put(decoded, body, headers['if-match']);
  }

  function guarded(work: () => Answer): Answer {
    try {
      return work();
    } catch (error) {
      if (error instanceof Refused) {
        return {
          status: error.status,
          body: { resourceType: 'OperationOutcome', issue: [{ code: 'processing' }] },
        };
      }
      throw error;
    }
  }

  return {
    living,
    handle: async (...request) => {
      try {
        return await answer(...request);
      } catch (error) {
        return guarded(() => {
          throw error;
        });
      }
    },
  };
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(sorted);
  }
  if (typeof value !== 'object' || value === null) {
    return value;
  }
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([k, v]) => [k, sorted(v)]),
  );
}
