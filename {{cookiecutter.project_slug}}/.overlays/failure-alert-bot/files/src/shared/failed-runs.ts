// The runs of bots that failed, as counts: nothing about a patient, because neither logs nor inputs
// are looked at.
import type { MedplumClient } from '@medplum/core';
import type { AuditEvent } from '@medplum/fhirtypes';

/** Medplum writes one AuditEvent of this type for each run. */
const EXECUTE = 'https://medplum.com/CodeSystem/audit-event|execute';
const FAILED = '4,8,12';
/** The most that Medplum returns at once. */
const MOST = 1000;

/** The failed runs of one bot. */
export interface FailedRuns {
  /** The name of the bot. */
  bot: string;
  count: number;
  /** When the last of them ended (ISO time). */
  last: string;
}

/** What one report is about. */
export interface FailureReport {
  /** Most failures first. */
  bots: FailedRuns[];
  /** How many runs failed. */
  total: number;
  /** The id of the AuditEvent of the first of them; undefined if there is none. */
  first: string | undefined;
  /** The end of the time that was looked at (ISO time); the next report begins there. */
  until: string;
}

/**
 * Finds the runs that failed in a time. It reads which bot ran and when, not what it ran for or
 * logged.
 *
 * @param medplum - must be allowed to read AuditEvents
 * @param since - the beginning of the time (ISO time), not included
 * @param until - its end, included; earlier in the report if there are more than 1,000 failed runs
 * @returns the failed runs by bot
 */
export async function findFailedRuns(
  medplum: MedplumClient,
  since: string,
  until: string,
): Promise<FailureReport> {
  const parameters = new URLSearchParams([
    ['type', EXECUTE],
    ['outcome', FAILED],
    ['_lastUpdated', `gt${since}`],
    ['_lastUpdated', `le${until}`],
    ['_elements', 'meta,source,recorded'],
    ['_sort', '_lastUpdated'],
    ['_count', String(MOST)],
  ]);
  const runs = await medplum.searchResources('AuditEvent', parameters, { cache: 'reload' });
  const last = runs.at(-1)?.meta?.lastUpdated;
  return {
    bots: groupByBot(runs),
    total: runs.length,
    first: runs[0]?.id,
    until: runs.length < MOST || last === undefined ? until : last,
  };
}

function groupByBot(runs: readonly AuditEvent[]): FailedRuns[] {
  const byBot = new Map<string, FailedRuns>();
  for (const { source, recorded } of runs) {
    const bot = source.observer.display ?? source.observer.reference ?? 'unknown bot';
    const before = byBot.get(bot);
    const last = before && before.last > recorded ? before.last : recorded;
    byBot.set(bot, { bot, count: (before?.count ?? 0) + 1, last });
  }
  return [...byBot.values()].toSorted((a, b) => b.count - a.count || a.bot.localeCompare(b.bot));
}

/**
 * Describes a report in one line for each bot.
 *
 * @param report - with at least one failed run
 * @returns for example `3 runs of bots failed` and `hapi-sync-bot: 3, last at 2026-11-30T08:12:00Z`
 */
export function describeReport({ bots, total }: FailureReport): string {
  const runs = total === 1 ? '1 run of a bot failed' : `${total} runs of bots failed`;
  const lines = bots.map(({ bot, count, last }) => `${bot}: ${count}, last at ${last}`);
  return [runs, ...lines].join('\n');
}
