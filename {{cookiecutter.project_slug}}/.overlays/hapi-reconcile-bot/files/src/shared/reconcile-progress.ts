// How far the reconcile bot has come, kept in Medplum: in a Basic resource, so that nothing is lost between runs.
import type { MedplumClient } from '@medplum/core';
import type { Basic } from '@medplum/fhirtypes';

/** Two runs of different bots must not share it; the value is the bot's name. */
const IDENTIFIER = { system: 'urn:medplum-bots:reconcile-progress', value: 'hapi-reconcile-bot' };
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
 * Reads the progress; creates it where there is none.
 *
 * @param medplum - Must be allowed to create and update Basic.
 * @returns The Basic resource, and the progress in it.
 */
export async function loadProgress(
  medplum: MedplumClient,
): Promise<{ basic: Basic & { id: string }; progress: Progress }> {
  const empty: Basic = { resourceType: 'Basic', identifier: [IDENTIFIER], code: { text: 'Progress of a bot' } };
  const query = `identifier=${IDENTIFIER.system}|${IDENTIFIER.value}`;
  const basic = await medplum.createResourceIfNoneExist<Basic>(empty, query);
  const text = basic.extension?.find(({ url }) => url === EXTENSION)?.valueString;
  return { basic, progress: text ? (JSON.parse(text) as Progress) : { failed: [] } };
}

/**
 * Saves the progress.
 *
 * @param medplum - The client.
 * @param basic - The resource to keep it in, from loadProgress.
 * @param progress - What to keep; no more than ids and times.
 */
export async function saveProgress(
  medplum: MedplumClient,
  basic: Basic & { id: string },
  progress: Progress,
): Promise<void> {
  await medplum.updateResource<Basic>({
    ...basic,
    extension: [{ url: EXTENSION, valueString: JSON.stringify(progress) }],
  });
}
