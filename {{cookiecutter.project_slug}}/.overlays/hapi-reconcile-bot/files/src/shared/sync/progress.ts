// How far the reconciler has come, kept on Medplum in a Basic resource, so that nothing is lost
// between two runs.
import { createHash } from 'node:crypto';
import type { MedplumClient } from '@medplum/core';
import type { Basic } from '@medplum/fhirtypes';
import { SyncError } from './errors.ts';
import { requestMedplum } from './source.ts';

const SYSTEM = 'urn:medplum-bots:reconcile-progress';
const EXTENSION = SYSTEM;

/** It is saved also after the run's time. */
const ANY_TIME = { deadline: Infinity };

/** A run that is under way. */
export interface RunState {
  mode: 'changes' | 'full';
  /** When it began (ISO time). */
  started: string;
  /** Only what changed since then is looked at (ISO time); everything, if it is missing. */
  since?: string | undefined;
  /** Which of the run's lists is next, and the query of its next page. */
  step: number;
  page?: string | undefined;
}

/** What could not be synced. */
export interface Failure {
  /** The code of the error, e.g. `refused`. */
  code: string;
  /** When it failed first (ISO time). */
  since: string;
}

/** What a run leaves for the next one, and for `medplum-bots sync status`. */
export interface Progress {
  /** The configured types; with others, everything is looked at again. */
  types: string[];
  /** When the last complete run began (ISO time): everything before it was seen. */
  watermark?: string;
  /** The run that is under way; missing after a complete one. */
  run?: RunState | undefined;
  /** `Type/id` of what could not be synced yet: each run tries it again. */
  failed: Record<string, Failure>;
  /** When the last full run began (ISO time), complete or not. */
  fullRunBegan?: string | undefined;
  /** The last complete run of each mode: when it ended (ISO time), and what it found. */
  lastRuns?: Partial<Record<RunState['mode'], { ended: string; counts: Record<string, number> }>>;
}

/** Where the progress is kept. */
export interface ProgressStore {
  medplum: MedplumClient;
  /** The identifier's value; see progressKey. */
  key: string;
  /** The resource that holds it; undefined before the first save. */
  basic: Basic | undefined;
}

/**
 * The key of the progress: one for each deployed bot (so for each repository and environment) and
 * each target.
 *
 * @param bot - `event.bot.reference`, e.g. `Bot/<id>`.
 * @param target - The address of the target.
 * @param authority - `SyncConfig.authority`.
 * @returns E.g. `<bot id>-1f0c5a7e9b3d2c40`; the address itself is not in it.
 */
export function progressKey(bot: string | undefined, target: string, authority: string): string {
  const hash = createHash('sha256').update(`${target} ${authority}`).digest('hex').slice(0, 16);
  return `${bot?.split('/')[1] ?? 'bot'}-${hash}`;
}

/**
 * Reads the progress.
 *
 * @param medplum - Must be allowed to read Basic.
 * @param key - See progressKey.
 * @param types - The configured types.
 * @returns Where it is kept, and the progress; a new one before the first run, and after the types
 *   changed.
 * @throws SyncError.
 */
export async function loadProgress(
  medplum: MedplumClient,
  key: string,
  types: string[],
): Promise<{ store: ProgressStore; progress: Progress }> {
  const { entry } = await requestMedplum(ANY_TIME, 'GET Basic from Medplum', (options) =>
    medplum.search('Basic', queryFor(key), { ...options, cache: 'reload' }),
  );
  const basic = entry?.[0]?.resource;
  const text = basic?.extension?.find(({ url }) => url === EXTENSION)?.valueString;
  const stored = text ? (JSON.parse(text) as Progress) : undefined;
  const isSameTypes = stored?.types.join() === types.join();
  return {
    store: { medplum, key, basic },
    progress: stored && isSameTypes ? stored : { types, failed: {} },
  };
}

/**
 * Saves the progress.
 *
 * @param store - Where to; must be allowed to create and update Basic. It keeps the resource's new
 *   version.
 * @param progress - What to keep; ids, times and codes only.
 * @throws SyncError; `conflict` if another run has saved its own since: two at once would forget
 *   what the other found.
 */
export async function saveProgress(store: ProgressStore, progress: Progress): Promise<void> {
  const { medplum, key } = store;
  const base: Basic = {
    resourceType: 'Basic',
    identifier: [{ system: SYSTEM, value: key }],
    code: { text: 'Progress of a bot' },
  };
  const extension = [{ url: EXTENSION, valueString: JSON.stringify(progress) }];
  try {
    store.basic = await requestMedplum(ANY_TIME, 'PUT Basic on Medplum', async (options) => {
      const { id, meta } =
        store.basic ??
        (await medplum.createResourceIfNoneExist<Basic>(base, queryFor(key), options));
      const headers = { 'if-match': `W/"${meta?.versionId}"` };
      return medplum.updateResource<Basic>({ ...base, id, extension }, { ...options, headers });
    });
  } catch (error) {
    if (error instanceof SyncError && error.code === 'conflict') {
      throw new SyncError(
        'conflict',
        'Another run of this bot is under way; this one ends, and the other one goes on',
      );
    }
    throw error;
  }
}

function queryFor(key: string): string {
  return `identifier=${SYSTEM}|${key}`;
}
