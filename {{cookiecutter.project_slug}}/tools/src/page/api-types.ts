// What the page and its server tell each other. Types only: the browser's code and the server's
// code both import them.

export type RunStatus = 'running' | 'succeeded' | 'failed';

/** One line in the list of runs. */
export interface RunSummary {
  id: string;
  bot: string;
  status: RunStatus;
  /** What started it: `create`, `update`, `delete`, `cron`, `execute`, … */
  trigger: string;
  /** The resource in the event, such as `Patient/123`. */
  resource: string | undefined;
  /** ISO 8601. */
  startedAt: string;
  /** From start to end; 0 while it runs. */
  milliseconds: number;
  /** Requests sent so far, to Medplum and elsewhere. */
  requests: number;
  /**
   * Requests that were refused, or not answered. What is not there (404, 410) is often expected,
   * and does not count.
   */
  failedRequests: number;
  /** The first line of the error; undefined if there is none. */
  error: string | undefined;
}

export interface RunList {
  runs: RunSummary[];
  /** How many runs match the filter. */
  total: number;
  /** The bots that have runs, for the filter. */
  bots: string[];
}

/** One request that a bot sent. */
export interface RequestView {
  /** `Medplum`, or the host it went to. */
  target: string;
  method: string;
  /** The path and the query. */
  path: string;
  /** The method of the client that the bot called, such as `createResource`. */
  clientMethod: string | undefined;
  /** Where the bot called it, such as `src/bots/my-bot.ts:12:9`. */
  place: string | undefined;
  /** Undefined while the request is under way, and where no answer came. */
  status: number | undefined;
  /** Why no answer came. */
  failure: string | undefined;
  /** Refused or not answered; see RunSummary.failedRequests. */
  failed: boolean;
  /** Milliseconds after the start of the run. */
  offset: number;
  milliseconds: number;
}

/** A place in the team's own code. */
export interface SourceExcerpt {
  file: string;
  line: number;
  column: number;
  /** The lines around it. */
  lines: { number: number; text: string }[];
}

/** JSON text, cut where it is too long to show. */
export interface JsonText {
  text: string;
  /** Length of the whole text, in characters. */
  length: number;
}

export interface RunError {
  message: string;
  /** What happened, in a line, such as `POST Task: forbidden`. */
  summary: string | undefined;
  /** What to change, such as `accessPolicy of my-bot: add Task`. */
  hint: string | undefined;
  /** With places in the sources where the source map of what ran is known. */
  stack: string;
  excerpt: SourceExcerpt | undefined;
}

export interface RunDetails extends RunSummary {
  botId: string;
  runtime: string | undefined;
  /** The name of the code file that ran; it holds a hash of the code. */
  code: string | undefined;
  contentType: string;
  timeline: RequestView[];
  /** Requests that are not in the timeline because there were too many. */
  requestsNotKept: number;
  event: JsonText;
  /** Undefined while it runs. */
  result: JsonText | undefined;
  failure: RunError | undefined;
  /** Length of the log, in characters. */
  logLength: number;
}

/** A part of a log: the characters from `start` to `end` of `length`. */
export interface LogPart {
  text: string;
  start: number;
  end: number;
  length: number;
}

/** What a bot can be sent; the members of a file in tests/events. */
export interface BotEventText {
  input: unknown;
  contentType?: string;
  headers?: Record<string, unknown>;
  requester?: unknown;
  traceId?: string;
}

export interface SubscriptionView {
  id: string;
  criteria: string;
  interactions: string[];
  active: boolean;
}

export interface ScheduleView {
  /** Of a Cron resource; undefined for the schedule of the bot itself. */
  name: string | undefined;
  /** Five numeric fields. */
  pattern: string;
  /** ISO 8601; undefined where this server does not run it. */
  nextRun: string | undefined;
  /** Why this server does not run it. */
  problem: string | undefined;
}

export interface BotView {
  name: string;
  /** Undefined if it is not deployed. */
  id: string | undefined;
  description: string | undefined;
  /** The file in src/bots; undefined if the bot is not in medplum.config.json. */
  source: string | undefined;
  runtime: string | undefined;
  timeoutSeconds: number | undefined;
  schedules: ScheduleView[];
  subscriptions: SubscriptionView[];
  secrets: { name: string; optional: boolean; present: boolean }[];
  /** What it may access; undefined: everything. */
  policy: { resourceType: string; readonly: boolean; criteria: string | undefined }[] | undefined;
  /** False: subscriptions and cron never run it. */
  hasMembership: boolean;
  code: string | undefined;
  /** Of the last deployment, ISO 8601. */
  deployedAt: string | undefined;
  shared: { path: string; bytes: number }[];
  bytes: number | undefined;
  runs: { total: number; failed: number; running: number };
  lastRun: RunSummary | undefined;
}

export interface BotList {
  bots: BotView[];
  /** Why medplum.config.json could not be read. */
  problem: string | undefined;
}

export interface TypeCount {
  type: string;
  count: number;
}

export interface ResourceRow {
  type: string;
  id: string;
  /** A name, title or code: what people call it. */
  title: string;
  status: string | undefined;
  /** ISO 8601. */
  lastUpdated: string | undefined;
}

export interface ResourceList {
  rows: ResourceRow[];
  total: number;
}

export interface ResourceVersion {
  versionId: string | undefined;
  /** ISO 8601. */
  lastUpdated: string | undefined;
  deleted: boolean;
  author: string | undefined;
  /** Undefined for a deletion. */
  resource: unknown;
}

/** A file of the repository that holds a resource, a bundle or an event. */
export interface SampleFile {
  path: string;
  kind: 'resource' | 'bundle' | 'event';
  /** The resource type; of an event, the type of its input. */
  type: string | undefined;
}

export type ComparisonState = 'same' | 'different' | 'only-medplum' | 'only-external';

export interface ComparisonRow {
  state: ComparisonState;
  title: string;
  medplumId: string | undefined;
  externalId: string | undefined;
}

export interface Comparison {
  rows: ComparisonRow[];
  total: number;
  counts: Record<ComparisonState, number>;
}

/** Both sides of one row; undefined where a side does not have it. */
export interface ComparisonPair {
  medplum: unknown;
  external: unknown;
}

export interface FaultView {
  kind: string;
  /** How many requests it still affects; undefined: all. */
  times: number | undefined;
}

export interface FaultList {
  faults: FaultView[];
  kinds: string[];
}

export interface EmailView {
  /** ISO 8601. */
  sentAt: string;
  /** Addresses, separated by commas. */
  to: string;
  subject: string;
  text: string;
}

/**
 * A request that the local server refused with 501 because it cannot do what a real Medplum can.
 */
export interface RefusedRequest {
  /** ISO 8601. */
  at: string;
  method: string;
  path: string;
  message: string;
}

export interface ServerLog {
  /** Whether the project has the feature that bots need to send e-mails. */
  canSendEmail: boolean;
  /** Newest first, as the refused requests are. */
  emails: EmailView[];
  refused: RefusedRequest[];
}

/** What the page learns when it connects. */
export interface Hello {
  /** Differs after each start of the server. */
  server: string;
  medplum: string;
  /** The address of the external FHIR server; undefined if there is none. */
  external: string | undefined;
}

/** What the server pushes: the name of each event and its data. */
export interface LiveEvents {
  hello: Hello;
  run: RunSummary;
  /** Resources of this type were written. */
  resources: { types: string[] };
  bots: Record<string, never>;
  faults: Record<string, never>;
  'server-log': Record<string, never>;
}
