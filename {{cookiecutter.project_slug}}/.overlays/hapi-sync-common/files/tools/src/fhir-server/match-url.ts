// Conditional URLs such as `Patient?identifier=system|value`: what they find, and whether a
// resource satisfies them.
import type { WithId } from '@medplum/core';
import type { Resource } from '@medplum/fhirtypes';
import { FhirError } from './errors.ts';
import { isResourceType } from './definitions.ts';
import { isHas, readCriterion } from './search-criteria.ts';
import type { SearchCriterion } from './search-criteria.ts';
import { matchesCriterion } from './search-matching.ts';

/** @returns `Patient?identifier=…` for `identifier=…` or `?identifier=…` */
export function qualifyMatchUrl(type: string, matchUrl: string): string {
  const questionMark = matchUrl.indexOf('?');
  if (questionMark > 0) {
    return matchUrl;
  }
  return questionMark === 0 ? type + matchUrl : `${type}?${matchUrl}`;
}

/**
 * @param matchUrl - with its resource type
 * @returns what restricts it; nothing for `?_format=json` or `?identifier=`
 * @throws FhirError 400 HAPI-0488 for a parameter that the type does not have
 */
export function parseMatchUrl(matchUrl: string): { type: string; criteria: SearchCriterion[] } {
  const [path = '', query = ''] = matchUrl.split(/\?(.*)/s);
  const type = path.replace(/^.*\//, '');
  if (!isResourceType(type)) {
    throw new FhirError(
      400,
      `HAPI-1684: Unknown resource name "${type}" (this name is not known in FHIR version "R4")`,
    );
  }
  if (query.includes(' ')) {
    throw new FhirError(
      400,
      `HAPI-1744: Failed to parse match URL[${matchUrl}] - URL is invalid (must not contain ` +
        'spaces)',
    );
  }
  const criteria = [...new URLSearchParams(query)].flatMap(([name, text]) => {
    if (text.trim() === '' || name === '_filter') {
      return [];
    }
    return readCriterion(type, name, text, 'match') ?? [];
  });
  return { type, criteria };
}

/**
 * @returns whether the resource would be found by the URL, as far as HAPI can tell without its
 *   database: it looks at neither `_id`, `_lastUpdated`, chains nor `_has`
 */
export function satisfies(resource: Resource, matchUrl: string): boolean {
  const { criteria } = parseMatchUrl(matchUrl);
  return criteria.every((criterion) => {
    if (isHas(criterion) || criterion.chain || ['_id', '_lastUpdated'].includes(criterion.name)) {
      return true;
    }
    return matchesCriterion(resource as WithId<Resource>, criterion);
  });
}
