// Repairs what the sync bot missed: after an outage, a failure, a deletion that arrived late. Runs
// on a schedule.
import type { BotEvent, MedplumClient } from '@medplum/core';
import { describeError } from '../shared/http-helpers.ts';
import { clock } from '../shared/retry.ts';
import { connectExternalServer } from '../shared/external-server.ts';
import { syncConfig } from '../shared/sync/index.ts';
import { reconcile } from '../shared/sync/reconcile.ts';
import type { RunResult } from '../shared/sync/reconcile.ts';

/** A minute less than the bot's timeout in medplum.config.json; the next run does what is left. */
export const TIME_BUDGET_MS = 240_000;

/**
 * What can be asked for by hand; `ms` ends the run earlier, `report` returns a result with failures
 * instead of throwing.
 */
interface RunInput {
  mode?: 'changes' | 'full';
  dryRun?: boolean;
  ms?: number;
  report?: boolean;
}

/**
 * Syncs everything that changed since the last complete run, or everything at all.
 *
 * @param medplum - Acts as this bot. It must be allowed to read the synced types, without criteria,
 *   and to write Basic.
 * @param event - On a schedule, the input is the Bot itself. By hand, `{ mode: 'full' }` compares
 *   everything, and `{ dryRun: true }` only counts (`npm run resync -- --full --dry-run`).
 * @returns What was found, in counts, and whether the run is complete.
 * @throws When a server is down, or when resources could not be synced; logged before. (Medplum
 *   marks the run as failed.)
 */
export async function handler(medplum: MedplumClient, event: BotEvent): Promise<RunResult> {
  const {
    mode,
    dryRun = false,
    ms = TIME_BUDGET_MS,
    report = false,
  } = (event.input ?? {}) as RunInput;
  const deadline = clock.now() + Math.min(ms, TIME_BUDGET_MS);
  try {
    const target = connectExternalServer(event.secrets, deadline);
    const context = { medplum, target, config: syncConfig(event.secrets), deadline };
    const bot = event.bot?.reference;
    const result = await reconcile(context, {
      bot,
      mode: mode === 'full' ? 'full' : 'changes',
      dryRun,
    });
    const numbers = Object.entries(result.counts).map(([name, count]) => `${name}=${count}`);
    console.log(
      `reconcile ${result.mode} ${result.complete ? 'complete' : 'to be continued'} ` +
        numbers.join(' '),
    );
    if (result.counts.failed > 0 && !report) {
      throw new Error(
        `${result.counts.failed} resources could not be synced: see the log. They are tried again`,
      );
    }
    return result;
  } catch (error) {
    console.log(`reconcile failed: ${describeError(error)}`);
    throw error;
  }
}
