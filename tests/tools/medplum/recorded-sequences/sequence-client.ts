// Sends recorded requests to a Medplum server and puts its answers into a form that is the same on
// every server: ids, versions, times and addresses become names, and what has no order is sorted.

/**
 * A request. In its texts, `${name}` stands for the id that an earlier step saved as `name`, and
 * `${name.version}` for its version.
 */
export interface Step {
  method: string;
  /** Below `/fhir/R4/`, or from the root if it begins with a slash. */
  path: string;
  /** A text is sent as it is, anything else as JSON. */
  body?: unknown;
  headers?: Record<string, string>;
  /** The name under which the id of the answer's resource is kept. */
  save?: string;
  /** Sent by the client without admin rights. */
  asOther?: boolean;
  /** Sent when the runs that earlier steps caused have ended. */
  afterRuns?: boolean;
}

/** What a server answered, comparable with the answer of another server. */
export interface ComparableAnswer {
  status: number;
  contentType: string;
  etag: string;
  body: unknown;
}

export interface Login {
  project: string;
  /** The Authorization header of a project admin. */
  admin: string;
  /** The Authorization header of a client without admin rights. */
  other: string;
  /** The id of that client. */
  otherId: string;
}

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
const RECENT_TIME = /20(?:2[6-9]|[3-9]\d)-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)/g;
const ADDRESS = /https?:\/\/(?:localhost|127\.0\.0\.1):\d+\//g;
const PRESIGNED = /https?:\/\/(?:localhost|127\.0\.0\.1):\d+\/storage\/[^"\\ ]*/g;
const PLACEHOLDER = /\$\{([\w.]+)\}/g;

type Json = Record<string, unknown>;

/** One sequence's view of a server: what it called the resources that the steps name. */
export class SequenceClient {
  private readonly baseUrl: string;
  private readonly login: Login;
  private readonly ids = new Map<string, string>();
  private readonly names = new Map<string, string>();

  /** @param baseUrl - with a slash at the end */
  constructor(baseUrl: string, login: Login) {
    this.baseUrl = baseUrl;
    this.login = login;
    this.ids.set('project', login.project).set('other', login.otherId);
    this.names.set(login.project, '#project').set(login.otherId, '#other');
  }

  async send(step: Step, index: number): Promise<ComparableAnswer> {
    const path = this.fill(step.path);
    const response = await fetch(
      this.baseUrl + (path.startsWith('/') ? path.slice(1) : `fhir/R4/${path}`),
      {
        method: step.method,
        headers: {
          'Content-Type': 'application/fhir+json',
          'Cache-Control': 'no-cache',
          Authorization: step.asOther ? this.login.other : this.login.admin,
          ...(JSON.parse(this.fill(JSON.stringify(step.headers ?? {}))) as Record<string, string>),
        },
        body: this.bodyOf(step),
      },
    );
    const text = await response.text();
    const body = parsed(text);
    const etag = response.headers.get('etag') ?? '';
    this.learn(step, index, body, etag);
    return {
      status: response.status,
      contentType: response.headers.get('content-type')?.split(';')[0] ?? '',
      etag: this.named(etag),
      body: comparableBody(parsed(this.named(text)), step.path),
    };
  }

  private bodyOf({ body }: Step): string | null {
    if (body === undefined) {
      return null;
    }
    return this.fill(typeof body === 'string' ? body : JSON.stringify(body));
  }

  private fill(text: string): string {
    return text.replaceAll(PLACEHOLDER, (placeholder, name: string) => {
      const id = this.ids.get(name);
      if (id === undefined) {
        throw new Error(`No step saved ${placeholder}`);
      }
      return id;
    });
  }

  private learn({ save }: Step, index: number, body: unknown, etag: string): void {
    const { resourceType, id, meta, entry } = Object(body) as Json;
    const version = (meta as Json | undefined)?.['versionId'] ?? etag.slice('W/"'.length, -1);
    const isResource = resourceType !== 'Bundle' && resourceType !== 'OperationOutcome';
    if (isResource && typeof id === 'string') {
      this.name(id, `#${save ?? index}`);
    }
    if (isResource && typeof version === 'string' && version !== '') {
      this.name(version, `version-${index}`);
    }
    if (save) {
      const first = (entry as { resource: Json }[] | undefined)?.[0]?.resource['id'];
      this.ids.set(save, String(resourceType === 'Bundle' ? first : id));
      this.ids.set(`${save}.version`, String(version));
    }
  }

  private name(value: string, name: string): void {
    if (!this.names.has(value)) {
      this.names.set(value, name);
    }
  }

  private named(text: string): string {
    let result = text.replaceAll(PRESIGNED, '<presigned>').replaceAll(ADDRESS, '<base>/');
    for (const [value, name] of this.names) {
      result = result.replaceAll(value, name);
    }
    return result.replaceAll(UUID, '<uuid>').replaceAll(RECENT_TIME, '<now>');
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** Outcomes are compared by severity and code. Without `_sort`, results have no order. */
function comparableBody(body: unknown, path: string): unknown {
  if (Array.isArray(body)) {
    return body.map((item) => comparableBody(item, path));
  }
  if (typeof body !== 'object' || body === null) {
    return body;
  }
  const { resourceType, issue, type, link, entry, total } = body as Json;
  if (resourceType === 'OperationOutcome' && Array.isArray(issue)) {
    return { outcome: issue.map(({ severity, code }: Json) => `${severity} ${code}`) };
  }
  if (resourceType === 'ProjectMembership') {
    return { resourceType }; // the rest is about the project that a sequence runs in
  }
  if (resourceType === 'Bundle' && type === 'searchset') {
    const relations = ((link ?? []) as Json[]).map(({ relation }) => String(relation));
    const results = ((entry ?? []) as Json[]).map((item) => comparableBody(item, path));
    const inOrder = path.includes('_sort') ? results : results.toSorted(byText);
    return { type, total, links: relations.toSorted(), entry: inOrder };
  }
  const members = Object.entries(body).map(([name, value]) => [name, comparableBody(value, path)]);
  return Object.fromEntries(members);
}

function byText(first: unknown, second: unknown): number {
  return JSON.stringify(first) < JSON.stringify(second) ? -1 : 1;
}
