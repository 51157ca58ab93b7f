// One deployment from start to end: desired (medplum.config.json + dist/) x actual (server) -> plan
// -> apply -> verify.
import { readEnvironment } from '../config/environment.ts';
import type { Environment } from '../config/environment.ts';
import { green, printable, red } from '../terminal/output.ts';
import { UserError } from '../terminal/user-error.ts';
import { readActual } from './actual.ts';
import { applyChange } from './apply.ts';
import { isWrite } from './change.ts';
import type { Change, Plan } from './change.ts';
import { confirm } from './confirm.ts';
import {
  describeChange,
  describeProblem,
  describeReason,
  describeReasons,
  planLines,
} from './describe-plan.ts';
import { loadDesired } from './desired.ts';
import type { Desired } from './desired.ts';
import { gitCommit } from './git.ts';
import { plan } from './plan.ts';
import { connect } from './server.ts';
import type { Server } from './server.ts';

export interface DeployOptions {
  /** The repository's folder; the current one if left out. */
  root?: string;
  /** The folder with the sources, if dist/ was built from another one than `root`. */
  sourceRoot?: string;
  /**
   * Whose `.env.<environment>` is read, and part of every bot's identifier; `local` if left out.
   */
  environment?: string;
  /** Where to, and as whom, instead of what `.env.<environment>` says. */
  target?: Environment;
  /** Only bots whose name matches, `*` for any characters. */
  only?: string;
  /** Names of bots that are left as they are on the server. */
  without?: readonly string[];
  /** Remove from the server what the configuration no longer has. */
  prune?: boolean;
  /** Deploy the code also if it is unchanged. */
  force?: boolean;
  /** Deploy the other bots if one lacks a secret or a usable bundle; that one is in `failed`. */
  skipFailed?: boolean;
  /** Plan what a project admin would deploy, also with credentials that may only read. */
  forAdmin?: boolean;
  /** Do not ask before writing. */
  yes?: boolean;
  /** Bots deployed at the same time; 8 if left out. */
  concurrency?: number;
  /** Gets each line of the plan and of the progress. */
  log?: (line: string) => void;
}

export interface DeployResult {
  /** What was planned, with the reasons as values. */
  changes: Change[];
  /** Names of the bots that were written. */
  changed: string[];
  /** Names of the bots that needed no change. */
  unchanged: string[];
  /** What failed, one entry for each bot; the others were deployed. */
  failed: { name: string; message: string }[];
}

/** Bots deployed at the same time. */
const DEFAULT_CONCURRENCY = 8;

/** Reads both sides and makes the plan; writes nothing. Options and errors as for `deploy`. */
export async function prepare(
  options: DeployOptions,
): Promise<{ server: Server; desired: Desired; plan: Plan }> {
  const environment = options.target ?? readEnvironment(options.environment);
  const { force = false, prune = false, skipFailed = false, forAdmin = false } = options;
  const { only, without, sourceRoot } = options;
  const root = options.root ?? process.cwd();
  const desired = loadDesired(root, environment.name, {
    only,
    without,
    skipFailed,
    sourceRoot,
  });
  const server = await connect(environment);
  const planned = plan(desired, await readActual(server, desired), {
    force,
    prune,
    skipFailed,
    forAdmin,
  });
  return { server, desired, plan: planned };
}

/**
 * Brings the server to what medplum.config.json and dist/ say.
 *
 * @param options - see DeployOptions
 * @returns what was done; `failed` is empty if all went well
 * @throws UserError if nothing could be started: credentials, project, a missing bundle or secret,
 *   no confirmation
 */
export async function deploy(options: DeployOptions): Promise<DeployResult> {
  const log = options.log ?? console.log;
  const { server, desired, plan: planned } = await prepare(options);
  planLines(planned, server).forEach((line) => log(line));
  if (planned.problems.length > 0) {
    throw new UserError(planned.problems.map(describeProblem).join('\n'));
  }
  const writes = planned.changes.filter(isWrite);
  const failures = blockedBots(planned, desired.environment);
  if (writes.length > 0) {
    const what = writes.length === 1 ? 'this' : `these ${writes.length}`;
    const { yes = false } = options;
    await confirm({ yes, isSilent: options.log !== undefined }, server, `write ${what}`);
    const failed = await applyInOrder(writes, options, server, desired);
    failed.forEach((message, name) => failures.set(name, message));
    const left = await changesLeft(options, server, desired);
    left
      .filter(({ name }) => !failures.has(name))
      .forEach((change) => failures.set(change.name, notVerified(change, desired.environment)));
  }
  return {
    changes: planned.changes,
    changed: writes.map(({ name }) => name).filter((name) => !failures.has(name)),
    unchanged: planned.changes.filter((change) => !isWrite(change)).map(({ name }) => name),
    failed: [...failures].map(([name, message]) => ({ name, message })),
  };
}

/** @returns messages by name */
function blockedBots({ changes }: Plan, environment: string): Map<string, string> {
  const blocked = changes.filter(({ action }) => action === 'blocked');
  return new Map(blocked.map((change) => [change.name, describeReasons(change, environment)]));
}

/** Reads the server again, and plans again. @returns what is still to be written */
async function changesLeft(
  options: DeployOptions,
  server: Server,
  desired: Desired,
): Promise<Change[]> {
  const { prune = false, skipFailed = false } = options;
  const after = plan(desired, await readActual(server, desired), {
    force: false,
    prune,
    skipFailed,
    forAdmin: false,
  });
  return after.changes.filter(isWrite);
}

function notVerified(change: Change, environment: string): string {
  const reasons = describeChange(change, environment);
  return `is not as it should be after the deployment (${reasons}): run it again`;
}

/** Bots first, then the files of resources/, which may refer to bots that were just created. */
async function applyInOrder(
  writes: Change[],
  options: DeployOptions,
  server: Server,
  desired: Desired,
): Promise<Map<string, string>> {
  const files = new Set(desired.resources.map(({ file }) => file));
  const bots = writes.filter(({ name }) => !files.has(name));
  const resources = writes.filter(({ name }) => files.has(name));
  const failed = await applyAll(bots, options, server, desired);
  if (resources.length === 0) {
    return failed;
  }
  const hasToWait = resources.some(({ waitsFor = [] }) => waitsFor.length > 0);
  const current = hasToWait ? await changesLeft(options, server, desired) : resources;
  const left = current.filter(({ name }) => files.has(name));
  const ready = left.filter(({ waitsFor = [] }) => waitsFor.length === 0);
  // A bot that could not be created.
  for (const { name, waitsFor = [] } of left.filter((change) => !ready.includes(change))) {
    const reason = { type: 'resource-bot-missing', bots: waitsFor } as const;
    failed.set(name, describeReason(reason, desired.environment));
  }
  return new Map([...failed, ...(await applyAll(ready, options, server, desired))]);
}

/**
 * Several bots at once, each by one writer; a failure stops nothing else.
 *
 * @returns messages of what failed, by name
 */
async function applyAll(
  writes: Change[],
  options: DeployOptions,
  server: Server,
  { system }: Desired,
): Promise<Map<string, string>> {
  const log = options.log ?? console.log;
  const commit = gitCommit(options.root ?? process.cwd());
  const failures = new Map<string, string>();
  const queue = writes.values();
  const worker = async (): Promise<void> => {
    for (const change of queue) {
      try {
        await applyChange(server, system, change, commit);
        log(`${green('✓')} ${change.name}`);
      } catch (error) {
        const { message } = error as Error;
        failures.set(change.name, message);
        log(`${red('x')} ${change.name}: ${printable(message)}`);
      }
    }
  };
  const workers = Array.from({ length: options.concurrency ?? DEFAULT_CONCURRENCY }, worker);
  await Promise.all(workers);
  return failures;
}
