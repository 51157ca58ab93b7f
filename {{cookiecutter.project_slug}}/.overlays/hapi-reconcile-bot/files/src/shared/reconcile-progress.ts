// How far the reconcile bot has come, kept in Medplum: in a Basic resource, so that nothing is lost between runs.
import type { MedplumClient } from '@medplum/core';
import type { Basic } from '@medplum/fhirtypes';
import { onMedplum } from './fhir-source.ts';

/** The value is the bot's name: two bots must not share it. */
const IDENTIFIER = { system: 'urn:medplum-bots:reconcile-progress', value: 'hapi-reconcile-bot' };
const QUERY = `identifier=${IDENTIFIER.system}|${IDENTIFIER.value}`;
const EXTENSION = 'urn:medplum-bots:reconcile-progress';

/** It is saved after the run's time, too. */
const ANY_TIME = { deadline: Infinity };

export interface Progress {
  /** The configured types it is about, in their order: with others, everything is looked at anew. */
  types?: string[];
  /** When the last complete run began (ISO time): everything before it was seen. */
  watermark?: string;
  /** The run that is under way; undefined after a complete one. */
  run?: {
    mode: 'changes' | 'full';
    /** When it began (ISO time). */
    started: string;
    /** Only what changed since then is looked at (ISO time); undefined: everything. */
    since?: string | undefined;
    /** Which of the run's searches is next, and the query of its next page. */
    step: number;
    page?: string | undefined;
  };
  /** `Type/id` of what could not be repaired yet: tried again by each run. */
  failed: string[];
}

/**
 * Reads the progress.
 *
 * @param medplum - Must be allowed to read Basic.
 * @param types - The configured types.
 * @returns The progress, and the Basic resource that holds it; undefined before the first run.
 */
export async function loadProgress(
  medplum: MedplumClient,
  types: string[],
): Promise<{ basic: Basic | undefined; progress: Progress }> {
  const { entry } = await onMedplum(ANY_TIME, 'GET Basic from Medplum', (signal) =>
    medplum.search('Basic', QUERY, { cache: 'reload', signal }),
  );
  const basic = entry?.[0]?.resource;
  const text = basic?.extension?.find(({ url }) => url === EXTENSION)?.valueString;
  const progress = text ? (JSON.parse(text) as Progress) : { failed: [] };
  return { basic, progress: String(progress.types) === String(types) ? progress : { types, failed: [] } };
}

/**
 * Saves the progress.
 *
 * @param medplum - Must be allowed to create and update Basic.
 * @param basic - The resource to keep it in, from loadProgress or the last saveProgress.
 * @param progress - What to keep; no more than ids and times.
 * @returns The resource that holds it now.
 * @throws Error when another run has saved its own meanwhile: two at once would forget what the other found.
 */
export async function saveProgress(
  medplum: MedplumClient,
  basic: Basic | undefined,
  progress: Progress,
): Promise<Basic> {
  const extension = [{ url: EXTENSION, valueString: JSON.stringify(progress) }];
  const base: Basic = { resourceType: 'Basic', identifier: [IDENTIFIER], code: { text: 'Progress of a bot' } };
  try {
    return await onMedplum(ANY_TIME, 'PUT Basic on Medplum', async (signal) => {
      const { id, meta } = basic ?? (await medplum.createResourceIfNoneExist<Basic>(base, QUERY, { signal }));
      const headers = { 'if-match': `W/"${meta?.versionId}"` };
      return medplum.updateResource<Basic>({ ...base, id, extension }, { headers, signal });
    });
  } catch (error) {
    const isStale = (error as { code?: string }).code === 'precondition-failed';
    throw isStale ? new Error('Another run of this bot is under way; this one ends, and the other goes on') : error;
  }
}
