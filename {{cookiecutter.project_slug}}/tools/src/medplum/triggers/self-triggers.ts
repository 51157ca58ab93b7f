// Bots that start themselves by what they write: the chain of runs that led to an event, and where
// it is cut.
import type { WithId } from '@medplum/core';
import type { Bot } from '@medplum/fhirtypes';
import type { BotRuns } from '../bot-runs.ts';
import type { Change } from '../server-state.ts';

/**
 * How often each bot, by id, ran in a chain of runs of which each was started by a write of the one
 * before.
 */
export type EarlierRuns = ReadonlyMap<string, number>;

/**
 * In `npm run dev` and in tests, where a loop is a mistake. `npm run local` has no limit, as a real
 * server.
 */
export const SELF_TRIGGER_LIMIT = 20;

export class SelfTriggers {
  readonly #runs: BotRuns;
  /** Of how often in a row a bot may start itself; undefined: no limit, as on a real server. */
  readonly limit: number | undefined;

  constructor(runs: BotRuns, limit: number | undefined) {
    this.#runs = runs;
    this.limit = limit;
  }

  /** @returns the runs that led to a change; none where no bot made it */
  earlierRuns({ actor }: Change): EarlierRuns {
    const run = actor.runId === undefined ? undefined : this.#runs.get(actor.runId);
    if (!run) {
      return new Map();
    }
    const earlier = new Map(run.request.earlierRuns);
    return earlier.set(run.bot.id, (earlier.get(run.bot.id) ?? 0) + 1);
  }

  /** Whether the bot has started itself as often as it may. */
  isTooMany(bot: WithId<Bot>, earlier: EarlierRuns): boolean {
    return this.limit !== undefined && (earlier.get(bot.id) ?? 0) > this.limit;
  }
}
