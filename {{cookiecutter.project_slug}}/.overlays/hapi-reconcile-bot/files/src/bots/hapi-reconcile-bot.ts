// Repairs what the sync bot missed: after an outage, a failure, a deletion that landed late. Runs by cron.
import type { BotEvent, MedplumClient } from '@medplum/core';
import { connectExternalServer } from '../shared/external-server.ts';
import { describeError } from '../shared/http-helpers.ts';
import { runReconcile } from '../shared/reconcile-run.ts';
import type { RunResult } from '../shared/reconcile-run.ts';
import { clock } from '../shared/retry.ts';
import { syncConfig } from '../shared/sync-config.ts';

/** Well inside the bot's timeout in medplum.config.json; what is left then is done by the next run. */
export const TIME_BUDGET_MS = 240_000;

/** What somebody may ask for by hand; `ms` ends the run earlier. */
interface RunInput {
  mode?: 'changes' | 'full';
  dryRun?: boolean;
  ms?: number;
}

/**
 * Brings everything up to date that changed since the last complete run, or everything at all.
 *
 * @param medplum - Acts as this bot; it must be allowed to read the synced types, without criteria, and to write Basic.
 * @param event - By cron: the Bot itself. By hand, `{ mode: 'full' }` compares everything, `{ dryRun: true }` only
 *   counts (`npm run resync -- --full --dry-run`).
 * @returns What was found, in counts, and whether the run came to its end.
 * @throws When one of the servers is out of order, or when something could not be repaired; logged before.
 */
export async function handler(medplum: MedplumClient, event: BotEvent): Promise<RunResult> {
  const { mode, dryRun = false, ms = TIME_BUDGET_MS } = (event.input ?? {}) as RunInput;
  const deadline = clock.now() + Math.min(ms, TIME_BUDGET_MS);
  try {
    const server = connectExternalServer(event.secrets, deadline);
    const context = { medplum, server, config: syncConfig(event.secrets), deadline };
    const result = await runReconcile(context, mode === 'full' ? 'full' : 'changes', dryRun);
    const numbers = Object.entries(result.counts).map(([name, count]) => `${name}=${count}`);
    console.log(`reconcile ${result.mode} ${result.complete ? 'complete' : 'to be continued'} ${numbers.join(' ')}`);
    if (result.counts.failed > 0) {
      throw new Error(`${result.counts.failed} resources could not be synced: see the log. They are tried again`);
    }
    return result;
  } catch (error) {
    console.log(`reconcile failed: ${describeError(error)}`);
    throw error;
  }
}
