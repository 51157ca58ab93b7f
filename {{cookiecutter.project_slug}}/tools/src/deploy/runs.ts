// The runs of bots: Medplum keeps an AuditEvent of each.
import type { AuditEvent } from '@medplum/fhirtypes';
import { UserError } from '../terminal/user-error.ts';
import { search } from './search.ts';
import type { Server } from './server.ts';

/** Bots in one query: longer addresses are refused with 431. */
const BOTS_PER_QUERY = 50;

/** Queries at the same time. */
const CONCURRENT_QUERIES = 4;

const TYPE = 'https://medplum.com/CodeSystem/audit-event|execute';

/** Of the query, for runs that did not succeed. */
export const FAILED = 'outcome=4,8,12';

/**
 * @param ids - of bots
 * @param query - more of the search, such as `outcome=4,8`
 * @param limit - how many runs are returned at most
 * @returns the newest runs, newest first
 */
export async function readRuns(
  server: Server,
  ids: readonly string[],
  query: string,
  limit = 1000,
): Promise<AuditEvent[]> {
  const count = query.includes('_count=') ? '' : `&_count=${Math.min(Math.max(limit, 20), 1000)}`;
  const chunks = Array.from({ length: Math.ceil(ids.length / BOTS_PER_QUERY) }, (_, index) =>
    ids.slice(index * BOTS_PER_QUERY, (index + 1) * BOTS_PER_QUERY),
  );
  const queue = chunks.values();
  const runs: AuditEvent[] = [];
  const worker = async (): Promise<void> => {
    for (const chunk of queue) {
      const entity = chunk.map((id) => `Bot/${id}`).join(',');
      const path = `AuditEvent?type=${TYPE}&entity=${entity}&_sort=-_lastUpdated&${query}${count}`;
      const found = (await search(server, path, limit)) as AuditEvent[];
      runs.push(...found);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENT_QUERIES }, worker));
  return runs.toSorted((a, b) => timeOf(b).localeCompare(timeOf(a))).slice(0, limit);
}

/** When the run ended. */
export function timeOf({ recorded, meta }: AuditEvent): string {
  return recorded ?? meta?.lastUpdated ?? '';
}

/** Whether a run was of this bot. */
export function isOf({ entity }: AuditEvent, id: string): boolean {
  return entity?.some(({ what }) => what?.reference === `Bot/${id}`) === true;
}

export function hasFailed({ outcome }: AuditEvent): boolean {
  return outcome !== '0';
}

/** What the bot ran for, such as `Patient/<id>`: the first entity that is not the bot. */
export function inputOf({ entity = [] }: AuditEvent, botId: string): string | undefined {
  const references = entity.flatMap(({ what }) => what?.reference ?? []);
  return references.find(
    (reference) => reference !== `Bot/${botId}` && !reference.startsWith('Subscription/'),
  );
}

const UNITS: Record<string, number> = { s: 1, m: 60, h: 60 * 60, d: 24 * 60 * 60 };

/**
 * @param text - `90s`, `10m`, `2h`, `3d` ago, or a date such as `2026-11-30` or
 *   `2026-11-30T08:00:00Z`
 * @param flag - for the message
 * @returns a time as FHIR has it
 * @throws UserError if it is neither
 */
export function parseTime(text: string, flag: string, now: number = Date.now()): string {
  const [, amount, unit = ''] = /^(\d+)([smhd])$/.exec(text) ?? [];
  if (amount !== undefined) {
    return new Date(now - Number(amount) * (UNITS[unit] ?? 0) * 1000).toISOString();
  }
  const time = /^\d{4}-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time)) {
    throw new UserError(
      `${flag} ${text}: give a time such as 10m, 2h, 3d, or 2026-11-30T08:00:00Z.`,
    );
  }
  return new Date(time).toISOString();
}
