// The reconciler's pace: it leaves enough of Medplum's quota for other clients of the same
// membership.
import { clock } from '../retry.ts';
import type { Source } from './source.ts';

/**
 * What one page costs at most, in points: a search costs 20, a page some 25 of them, for 400
 * resources.
 */
const POINTS_FOR_A_PAGE = 600;

/**
 * Waits until Medplum's quota allows another page, if the last answer said that it does not.
 *
 * @param source - Medplum, and the deadline.
 * @returns False if there is no time to wait so long.
 */
export async function waitForQuota({ medplum, deadline }: Source): Promise<boolean> {
  const limits = rateLimits(medplum);
  const spent = limits.filter(({ remainingUnits }) => remainingUnits < POINTS_FOR_A_PAGE);
  const seconds = Math.max(0, ...spent.map(({ secondsUntilReset }) => secondsUntilReset));
  if (seconds === 0) {
    return true;
  }
  if (clock.now() + seconds * 1000 >= deadline) {
    return false;
  }
  await clock.sleep(seconds * 1000);
  return true;
}

/**
 * What the last answer's RateLimit header said about FHIR interactions; older servers send none.
 */
function rateLimits(
  medplum: Source['medplum'],
): { remainingUnits: number; secondsUntilReset: number }[] {
  try {
    return medplum.rateLimitStatus().filter(({ name }) => name === 'fhirInteractions');
  } catch {
    return []; // an older client, or a header of another form
  }
}
