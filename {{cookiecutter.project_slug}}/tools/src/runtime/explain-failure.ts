// Why a run failed, for the author of the bot: the request that was refused, the line of the
// source, and what to change.
import { runtimeHas } from './bot-layer.ts';
import type { RecordedRequest } from './recorded-requests.ts';
import type { SandboxError } from './sandbox-types.ts';
import { mapStack, sourceLines } from './source-maps.ts';
import type { SourcePlace } from './source-maps.ts';
import type { AccessPolicyConfig, AccessPolicyRule, RuntimeVersion } from '../config/config.ts';
import { packageNameIn } from './package-name.ts';
import { CONSOLE_HINT, CONSOLE_METHODS, VMCONTEXT_LACKS } from './vmcontext-globals.ts';

/** What is known of a run that failed. */
export interface FailedRun {
  error: SandboxError;
  /** In the order in which they were sent. */
  sent: readonly RecordedRequest[];
  bot: BotSettings;
  /** The text of the source map of the code that ran, where it is known. */
  map: string | undefined;
}

/** The settings of a bot that an explanation names. */
export interface BotSettings {
  name: string;
  /** `local` if left out. */
  environment?: string | undefined;
  runtime: RuntimeVersion;
  /** Seconds. */
  timeout: number;
  /** In medplum.config.json; undefined if the bot may do everything. */
  accessPolicy?: AccessPolicyConfig | undefined;
}

export interface FailureExplanation {
  /**
   * What happened, in a line: `POST Task: forbidden`. It holds nothing about a patient that the
   * error does not.
   */
  summary: string;
  place: SourcePlace | undefined;
  /** The line of the source at that place, without the blanks around it. */
  sourceLine: string | undefined;
  /** What to change. */
  hint: string | undefined;
}

/**
 * Explains a failure.
 *
 * @param run - see FailedRun
 * @returns a line for people, the place, and a hint where one is known
 */
export function explainFailure(run: FailedRun): FailureExplanation {
  const { error, sent, bot } = run;
  const request = error.timedOut ? waitingRequest(sent) : refusedRequest(error, sent);
  const place = (request && placeIn(request.stack, run.map)) ?? placeIn(`${error.stack}`, run.map);
  return {
    summary: summaryOf(error, request, bot),
    place,
    sourceLine: place && run.map ? sourceLineAt(place, run.map) : undefined,
    hint: hintFor(error, request, bot),
  };
}

function sourceLineAt({ file, line }: SourcePlace, map: string): string | undefined {
  return sourceLines(map, file)?.[line - 1]?.trim();
}

/** @returns the request whose answer became the error */
function refusedRequest(
  error: SandboxError,
  sent: readonly RecordedRequest[],
): RecordedRequest | undefined {
  if (error.name === 'FetchError' || error.message === 'fetch failed') {
    return sent.findLast(({ status, toMedplum }) => status === undefined && !toMedplum);
  }
  if (error.name !== 'OperationOutcomeError') {
    return undefined;
  }
  return sent.findLast(({ status = 0, toMedplum }) => toMedplum && status >= 400);
}

/** @returns the request that had no answer when the time was up */
function waitingRequest(sent: readonly RecordedRequest[]): RecordedRequest | undefined {
  return sent.findLast(({ status, failure }) => status === undefined && failure === undefined);
}

function summaryOf(
  error: SandboxError,
  request: RecordedRequest | undefined,
  bot: BotSettings,
): string {
  if (error.timedOut === 'waiting') {
    const what = request ? `an answer to ${describeRequest(request)}` : 'something';
    return `timed out after ${bot.timeout} s while it waited for ${what}`;
  }
  if (error.timedOut === 'blocked') {
    return (
      `ended after ${bot.timeout} s: its code did not stop to wait for anything, ` +
      'as in an endless loop'
    );
  }
  if (!request) {
    return firstLine(`${error.name}: ${error.message}`);
  }
  if (request.status === undefined) {
    const reason = request.failure ? ` (${request.failure})` : '';
    return `${describeRequest(request)}: no answer${reason}`;
  }
  return `${describeRequest(request)}: ${reasonOf(request.status, error)}`;
}

/** `POST Task`; without ids and queries. Requests elsewhere: `GET http://host:8080` */
function describeRequest({ method, url, toMedplum }: RecordedRequest): string {
  const address = URL.parse(url);
  if (!address) {
    return method;
  }
  return `${method} ${toMedplum ? (resourceTypeOf(address) ?? address.pathname) : address.origin}`;
}

function resourceTypeOf({ pathname }: URL): string | undefined {
  return /\/fhir\/R4\/([A-Z][A-Za-z]+)/.exec(pathname)?.[1];
}

function reasonOf(status: number, error: SandboxError): string {
  const reasons: Record<number, string> = { 403: 'forbidden', 404: 'not found', 410: 'deleted' };
  return reasons[status] ?? `${status} ${firstLine(error.message)}`;
}

/** @returns what to change if the bot took too long while it waited for an answer */
export function timeoutHint({ name, timeout }: BotSettings): string {
  return (
    `raise "timeout" of ${name} in medplum.config.json (now ${timeout}), ` + 'or do less in one run'
  );
}

function hintFor(
  error: SandboxError,
  request: RecordedRequest | undefined,
  bot: BotSettings,
): string | undefined {
  if (error.timedOut === 'waiting') {
    return timeoutHint(bot);
  }
  if (error.timedOut === 'blocked') {
    return (
      `end the loop, or raise "timeout" of ${bot.name} ` +
      `in medplum.config.json (now ${bot.timeout})`
    );
  }
  if (request?.toMedplum && request.status === 403) {
    return policyHint(request, bot);
  }
  if (request?.toMedplum && request.status === 404 && hides(bot, request)) {
    return `it does not exist, or the accessPolicy of ${bot.name} hides it`;
  }
  if (request && !request.toMedplum) {
    return (
      `see that the server at ${URL.parse(request.url)?.origin ?? request.url} ` +
      'runs and can be reached'
    );
  }
  return runtimeHint(error, bot) ?? secretHint(error, bot) ?? missingValueHint(error);
}

/** `accessPolicy of flag-pressure: add Task` */
function policyHint(
  { url, method }: RecordedRequest,
  { name, accessPolicy }: BotSettings,
): string | undefined {
  const address = URL.parse(url);
  const type = address && resourceTypeOf(address);
  if (!type || !accessPolicy) {
    return undefined;
  }
  if (accessPolicy.kind === 'existing') {
    return `add ${type} to the AccessPolicy "${accessPolicy.name}" of the project`;
  }
  const rules = rulesFor(type, accessPolicy);
  if (rules.length === 0) {
    return `accessPolicy of ${name}: add ${type}`;
  }
  if (rules.every(({ readonly }) => readonly)) {
    return `accessPolicy of ${name}: ${type} is readonly, remove "readonly"`;
  }
  const interaction = interactionOf(method, address);
  if (rules.every((rule) => rule.interaction && !rule.interaction.includes(interaction))) {
    return `accessPolicy of ${name}: add "${interaction}" to "interaction" of ${type}`;
  }
  return `accessPolicy of ${name}: its rules for ${type} do not allow this resource`;
}

function rulesFor(type: string, policy: AccessPolicyConfig & { kind: 'own' }): AccessPolicyRule[] {
  return policy.resources.filter(({ resourceType }) => [type, '*'].includes(resourceType));
}

function interactionOf(
  method: string,
  { pathname }: URL,
): NonNullable<AccessPolicyRule['interaction']>[number] {
  switch (method) {
    case 'POST':
      return 'create';
    case 'PUT':
    case 'PATCH':
      return 'update';
    case 'DELETE':
      return 'delete';
    default:
      return /\/fhir\/R4\/\w+\/./.test(pathname) ? 'read' : 'search';
  }
}

/** Whether a policy hides some resources of the type. */
function hides({ accessPolicy }: BotSettings, { url }: RecordedRequest): boolean {
  const address = URL.parse(url);
  const type = address && resourceTypeOf(address);
  if (!type || accessPolicy?.kind !== 'own') {
    return accessPolicy !== undefined;
  }
  const rules = rulesFor(type, accessPolicy);
  return rules.some(({ criteria, compartment }) => (criteria ?? compartment) !== undefined);
}

/** What the runtime lacks. */
function runtimeHint({ message }: SandboxError, bot: BotSettings): string | undefined {
  const { runtime } = bot;
  const missingModule = /^Cannot find module '([^']+)'/.exec(message)?.[1];
  if (missingModule !== undefined) {
    return missingModuleHint(missingModule, bot);
  }
  if (runtime !== 'vmcontext') {
    return undefined;
  }
  const name = /^(\w+) is not defined/.exec(message)?.[1];
  const replacement = name === undefined ? undefined : VMCONTEXT_LACKS[name];
  if (replacement !== undefined) {
    return `vmcontext has no ${name}: ${replacement}`;
  }
  const method = /^console\.(\w+) is not a function/.exec(message)?.[1];
  return method !== undefined && CONSOLE_METHODS.includes(method) ? CONSOLE_HINT : undefined;
}

/** @param specifier - what the bot requires, such as `@aws-sdk/client-s3` */
function missingModuleHint(
  specifier: string,
  { runtime, environment = 'local' }: BotSettings,
): string {
  if (!runtimeHas(specifier, runtime)) {
    const hint = 'import it, so that it becomes part of the bundle';
    return `${runtime} has no package ${specifier}: ${hint}`;
  }
  const name = packageNameIn(specifier);
  return environment === 'local'
    ? `${name} is not in the bundle, as a server has it. ` +
        `To run the bot here, install it: npm install --save-dev ${name}`
    : `${name} is not in the bundle, as a server should have it: ` +
        'add it to the bot layer of this server';
}

function secretHint(
  { message }: SandboxError,
  { environment = 'local' }: BotSettings,
): string | undefined {
  return /reading 'value(String|Integer|Boolean)'/.test(message)
    ? 'event.secrets has no such secret: ' +
        'write its name into "secrets" of medplum.config.json, ' +
        `and its value into .env.${environment}.secrets`
    : undefined;
}

/** Most elements of FHIR may be missing, and `!` in TypeScript hides that. */
function missingValueHint({ name, message }: SandboxError): string | undefined {
  const isMissing = /^(Cannot read properties of undefined|undefined is not iterable)\b/;
  return name === 'TypeError' && isMissing.test(message)
    ? 'this event has no value there: check for undefined before you use it'
    : undefined;
}

/** @returns the first place in the repository's own sources that a stack names */
function placeIn(stack: string, map: string | undefined): SourcePlace | undefined {
  if (map === undefined) {
    return undefined;
  }
  const found = /\b(src\/[^\s():]+):(\d+):(\d+)/.exec(mapStack(stack, map));
  return found ? { file: found[1]!, line: Number(found[2]), column: Number(found[3]) } : undefined;
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}
