// How far the reconcile bot has come, kept in Medplum: in a Basic resource, so that nothing is lost between runs.
import type { MedplumClient } from '@medplum/core';
import type { Basic } from '@medplum/fhirtypes';

/** The value is the bot's name: two bots must not share it. */
const IDENTIFIER = { system: 'urn:medplum-bots:reconcile-progress', value: 'hapi-reconcile-bot' };
const QUERY = `identifier=${IDENTIFIER.system}|${IDENTIFIER.value}`;
const EXTENSION = 'urn:medplum-bots:reconcile-progress';

export interface Progress {
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
 * @returns The progress, and the Basic resource that holds it; undefined before the first run.
 */
export async function loadProgress(medplum: MedplumClient): Promise<{ basic: Basic | undefined; progress: Progress }> {
  const { entry } = await medplum.search('Basic', QUERY, { cache: 'reload' });
  const basic = entry?.[0]?.resource;
  const text = basic?.extension?.find(({ url }) => url === EXTENSION)?.valueString;
  return { basic, progress: text ? (JSON.parse(text) as Progress) : { failed: [] } };
}

/**
 * Saves the progress.
 *
 * @param medplum - Must be allowed to create and update Basic.
 * @param basic - The resource to keep it in, from loadProgress or the last saveProgress.
 * @param progress - What to keep; no more than ids and times.
 * @returns The resource that holds it now.
 */
export async function saveProgress(
  medplum: MedplumClient,
  basic: Basic | undefined,
  progress: Progress,
): Promise<Basic> {
  const extension = [{ url: EXTENSION, valueString: JSON.stringify(progress) }];
  const base: Basic = { resourceType: 'Basic', identifier: [IDENTIFIER], code: { text: 'Progress of a bot' } };
  const { id } = basic ?? (await medplum.createResourceIfNoneExist<Basic>(base, QUERY));
  return medplum.updateResource<Basic>({ ...base, id, extension });
}
