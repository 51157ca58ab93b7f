// `npm run resync`: syncs resources by hand, compares everything, or shows what failed last.
import { Command } from 'commander';
import { setTimeout } from 'node:timers/promises';
import { green, red, table, yellow } from '../terminal/output.ts';
import { UserError } from '../terminal/user-error.ts';
import { loadConfig } from '../config/config.ts';
import { readActual } from '../deploy/actual.ts';
import { ownBots } from '../deploy/identity.ts';
import { RequestError, connect } from '../deploy/server.ts';
import type { Server } from '../deploy/server.ts';
import { readEnvironment } from '../config/environment.ts';
import { readRuns } from '../deploy/logs.ts';
import { stepByStep } from '../sync/step-by-step.ts';
import type { StepResult, Totals } from '../sync/step-by-step.ts';

const REFERENCE = /^[A-Z][A-Za-z]+\/[A-Za-z0-9.-]{1,64}$/;
/**
 * The time of one step of a full comparison, in milliseconds: a gateway often ends a request after
 * a minute.
 */
const STEP_MS = 40_000;

const USAGE = 'Write: npm run resync -- Patient/<id> …, or --failed, or --full [--dry-run]';

/** What the sync bots log of a failure: `SYNC Patient/<id> failed: HTTP 409 …`. */
const FAILURE = /^[A-Z]{3,6} ([A-Z][A-Za-z]+\/[A-Za-z0-9.-]+) failed: (.*)$/gm;

interface ResyncOptions {
  env?: string;
  failed?: boolean;
  full?: boolean;
  dryRun?: boolean;
}

export const command = new Command('resync')
  .description('Sync resources by hand, compare everything, or show what failed last')
  .argument('[references...]', 'such as Patient/<id>')
  .option('--failed', 'show the last failure of each resource')
  .option('--full', 'compare everything and repair what differs')
  .option('--dry-run', 'with --full: only count what differs')
  .option('--env <name>', 'the environment whose .env.<name> is read (default: local)')
  .addHelpText('after', '\nExample: npm run resync -- --full --env production')
  .action(resync);

async function resync(references: string[], options: ResyncOptions): Promise<void> {
  const isWrong = references.some((reference) => !REFERENCE.test(reference));
  const given = [references.length > 0, options.failed, options.full].filter(Boolean);
  if (isWrong || given.length !== 1) {
    throw new UserError(USAGE);
  }
  const environment = readEnvironment(options.env);
  const server = await connect(environment);
  const botId = await deployedBots(server, environment.name);
  if (options.failed) {
    await listFailed(server, [botId('hapi-sync-bot')]);
  } else if (options.full) {
    await compareAll(server, botId('hapi-reconcile-bot'), options.dryRun === true);
  } else {
    await syncEach(server, botId('hapi-sync-bot'), references);
  }
}

/** Looks up the deployed bots of this repository; the function returned gives the id of one. */
async function deployedBots(
  server: Server,
  environment: string,
): Promise<(name: string) => string> {
  const { bots } = await readActual(server);
  const own = ownBots(bots, loadConfig().identifierSystem, environment);
  return (name) => {
    const found = own.find((bot) => bot.name === name);
    if (!found) {
      throw new UserError(
        `${name} is not deployed to ${environment}. Deploy it: npm run setup:bots`,
      );
    }
    return found.bot.id;
  };
}

async function syncEach(server: Server, botId: string, references: string[]): Promise<void> {
  let failures = 0;
  for (const reference of references) {
    const [resourceType, id] = reference.split('/');
    try {
      const { action } = await execute<{ action: string }>(server, botId, { resourceType, id });
      console.log(`${green(action)}  ${reference}`);
    } catch (error) {
      if (!(error instanceof UserError)) {
        throw error;
      }
      failures++;
      console.log(`${red('failed')}  ${reference}  See why: npm run logs -- --failed`);
    }
  }
  process.exitCode = failures > 0 ? 1 : 0;
}

/**
 * Runs the reconcile bot until it has looked at everything, and shows what it found, also if
 * something failed.
 */
async function compareAll(server: Server, botId: string, dryRun: boolean): Promise<void> {
  const input = { mode: 'full', dryRun, ms: STEP_MS, report: true };
  const runStep = (): Promise<StepResult> => execute<StepResult>(server, botId, input);
  let totals: Totals = { isComplete: false, counts: {}, failures: {} };
  try {
    for await (totals of stepByStep(runStep, setTimeout)) {
      if (dryRun) {
        break; // it keeps no progress, so the next step would begin at the same place
      }
    }
    if (!totals.isComplete) {
      console.log(yellow('The time of one run was not enough: these are not all.'));
    }
  } finally {
    showTotals(totals);
  }
}

function showTotals({ counts, failures }: Totals): void {
  if (Object.keys(counts).length > 0) {
    console.log(table(['found', 'resources'], Object.entries(counts)));
  }
  if (Object.keys(failures).length > 0) {
    process.exitCode = 1;
    console.log(table(['failed because', 'resources'], Object.entries(failures)));
    console.log(
      'See which: npm run logs -- hapi-reconcile-bot --failed, and docs/syncing-messages.md ' +
        'for what the codes mean',
    );
  }
}

async function execute<T>(server: Server, id: string, input: unknown): Promise<T> {
  try {
    return await server.send<T>('POST', `Bot/${id}/$execute`, input);
  } catch (error) {
    if (error instanceof RequestError) {
      throw new UserError('The bot failed. See why: npm run logs -- --failed');
    }
    throw error;
  }
}

/** The last failure of each resource, newest first. */
async function listFailed(server: Server, ids: string[]): Promise<void> {
  const found = new Map<string, [string, string, string]>();
  for (const { recorded, outcomeDesc } of await readRuns(server, ids, '_count=200&outcome=4,8')) {
    for (const [, reference = '', reason = ''] of outcomeDesc?.matchAll(FAILURE) ?? []) {
      if (!found.has(reference)) {
        found.set(reference, [recorded, reference, reason]);
      }
    }
  }
  console.log(
    found.size > 0 ? table(['when', 'resource', 'why'], [...found.values()]) : 'Nothing failed.',
  );
}
