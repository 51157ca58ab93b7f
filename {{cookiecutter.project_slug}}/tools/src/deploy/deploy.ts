// One deployment from start to end: desired (medplum.config.json + dist/) x actual (server) -> plan -> apply -> verify.
import { createInterface } from 'node:readline/promises';
import { bold, dim, green, red, yellow } from '../terminal/output.ts';
import { UserError } from '../terminal/user-error.ts';
import { readEnvironment } from '../config/environment.ts';
import { readActual } from './actual.ts';
import { applyChange } from './apply.ts';
import { gitCommit, loadDesired } from './desired.ts';
import type { Desired } from './desired.ts';
import { isWrite, plan } from './plan.ts';
import type { Change, Plan } from './plan.ts';
import { connect, isLocal } from './server.ts';
import type { Server } from './server.ts';

export interface DeployOptions {
  /** The repository's folder; the current one if left out. */
  root?: string;
  /** Whose `.env.<environment>` is read, and part of every bot's identifier; `local` if left out. */
  environment?: string;
  /** Only bots whose name matches, `*` for any characters. */
  only?: string;
  /** Remove from the server what the configuration no longer has. */
  prune?: boolean;
  /** Deploy the code also where it is unchanged. */
  force?: boolean;
  /** Do not ask before writing. */
  yes?: boolean;
  /** Bots deployed at the same time; 8 if left out. */
  concurrency?: number;
  /** Gets each line of the plan and of the progress. */
  log?: (line: string) => void;
}

export interface DeployResult {
  /** Names of the bots that were written. */
  changed: string[];
  /** Names of the bots on which nothing was to be done. */
  unchanged: string[];
  /** What did not work, one entry a bot; the others were deployed nevertheless. */
  failed: { name: string; message: string }[];
}

/** Reads both sides and makes the plan; writes nothing. Options and errors as for `deploy`. */
export async function prepare(
  options: DeployOptions,
): Promise<{ server: Server; desired: Desired; plan: Plan }> {
  const environment = readEnvironment(options.environment);
  const desired = loadDesired(options.root ?? process.cwd(), environment.name, options.only);
  const server = await connect(environment);
  const { force = false, prune = false } = options;
  return { server, desired, plan: plan(desired, await readActual(server), { force, prune }) };
}

/**
 * Brings the server to what medplum.config.json and dist/ say.
 *
 * @param options - see DeployOptions
 * @returns what was done; `failed` is empty where all went well
 * @throws UserError where nothing could be begun: credentials, project, a missing bundle or secret, an unconfirmed write
 */
export async function deploy(options: DeployOptions): Promise<DeployResult> {
  const log = options.log ?? console.log;
  const { server, desired, plan: planned } = await prepare(options);
  for (const line of planLines(planned, server)) log(line);
  if (planned.problems.length > 0) throw new UserError(planned.problems.join('\n'));
  const writes = planned.changes.filter(isWrite);
  const failed = planned.changes.filter(({ action }) => action === 'blocked');
  const failures = new Map(failed.map(({ name, reasons }) => [name, reasons.join(', ')]));
  if (writes.length > 0) {
    await confirm(
      options,
      server,
      `write ${writes.length === 1 ? 'this' : `these ${writes.length}`}`,
    );
    await applyAll(writes, options, server, desired, failures);
    const after = plan(desired, await readActual(server), {
      force: false,
      prune: options.prune ?? false,
    });
    for (const { name, reasons } of after.changes.filter(isWrite)) {
      if (!failures.has(name))
        failures.set(
          name,
          `is not as it should be after the deployment (${reasons.join(', ')}): run it again`,
        );
    }
  }
  return {
    changed: writes.map(({ name }) => name).filter((name) => !failures.has(name)),
    unchanged: planned.changes.filter((change) => !isWrite(change)).map(({ name }) => name),
    failed: [...failures].map(([name, message]) => ({ name, message })),
  };
}

/** Several bots at once, each by one writer; a failure stops nothing else. */
async function applyAll(
  writes: Change[],
  options: DeployOptions,
  server: Server,
  { system }: Desired,
  failures: Map<string, string>,
): Promise<void> {
  const commit = gitCommit(options.root ?? process.cwd());
  const carryOut = async (change: Change): Promise<void> => {
    try {
      await applyChange(server, system, change, commit);
    } catch (error) {
      failures.set(change.name, (error as Error).message);
      throw error;
    }
  };
  const concurrent = options.concurrency ?? 8;
  const log = options.log ?? console.log;
  const queue = writes.values();
  const worker = async (): Promise<void> => {
    for (const change of queue) {
      await carryOut(change).then(
        () => log(`${green('✓')} ${change.name}`),
        (error: Error) => log(`${red('x')} ${change.name}: ${error.message}`),
      );
    }
  };
  await Promise.all(Array.from({ length: concurrent }, worker));
}

/**
 * Asks before something is written, unless the server is on this machine.
 *
 * @param what - `write …`, as the question says it
 * @throws UserError where the answer is no, or where nobody can be asked
 */
export async function confirm(
  { yes, log }: DeployOptions,
  { environment }: Server,
  what: string,
): Promise<void> {
  if (yes || isLocal(environment.baseUrl)) return;
  const where = `${environment.baseUrl} (${environment.name})`;
  if (log || !process.stdin.isTTY || !process.stdout.isTTY) {
    const why = 'nobody can be asked here. To agree beforehand, add: -- --yes';
    throw new UserError(`Nothing was written to ${where}: ${why}`);
  }
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  // Ctrl+C and Ctrl+D are a no.
  const answer = await terminal.question(`On ${bold(where)}: ${what}? [y/N] `).catch(() => '');
  terminal.close();
  if (!/^y(es)?$/i.test(answer.trim())) throw new UserError('Nothing was written.');
}

/** Its sign before a line, and its name in the sum. */
const SHOWN: Record<Change['action'], [sign: string, sum: string]> = {
  new: [green('+'), 'to create'],
  change: [yellow('~'), 'to change'],
  remove: [red('-'), 'to remove'],
  held: ['=', 'held'],
  blocked: [red('!'), 'blocked'],
  orphan: ['?', 'only on the server'],
  unchanged: [' ', 'unchanged'],
};

/**
 * The plan for people.
 *
 * @returns one line for each bot on which something is to be done or said, then warnings, then a sum
 */
export function planLines({ changes, warnings }: Plan, { environment }: Server): string[] {
  const width = Math.max(0, ...changes.map(({ name }) => name.length));
  const isShort = changes.length <= 20;
  const shown = changes.filter(
    ({ action, reasons }) => isShort || action !== 'unchanged' || reasons.length > 0,
  );
  const lines = shown.map(({ name, action, reasons }) => {
    const said = ['new', 'unchanged', 'held', 'blocked'].includes(action)
      ? [action, ...reasons]
      : reasons;
    return `${SHOWN[action][0]} ${name.padEnd(width)}  ${action === 'unchanged' ? dim(said.join(', ')) : said.join(', ')}`;
  });
  const sums = Object.entries(SHOWN).map(([of, [, what]]) => {
    return { what, count: changes.filter(({ action }) => action === of).length };
  });
  const said = sums.filter(({ count }) => count > 0).map(({ what, count }) => `${count} ${what}`);
  const notes = warnings.map((warning) => `${yellow('Warning:')} ${warning}`);
  return [
    `${bold(environment.name)}: ${environment.baseUrl}`,
    ...lines,
    ...notes,
    `${said.join(', ') || 'no bots'}.`,
  ];
}
