// Queries of the form `identifier=system|value`: the one search that says exactly which resource is
// meant.

/** What programs write when a value is missing. */
const NOT_A_VALUE = new Set(['', 'undefined', 'null', 'NaN', '[object Object]']);

/**
 * Builds the query that finds one identifier.
 *
 * @param system - The identifier's system, e.g. `https://medplum.com/patient-id`.
 * @param value - Its value; any text.
 * @returns URL query syntax without `?`: escaped for FHIR (R4, 3.1.1.4.1), then encoded for the
 *   URL.
 * @throws Error when system or value is missing: half a query finds, and deletes, other resources.
 * @example identifierQuery('urn:mrn', 'a|b') // 'identifier=urn%3Amrn%7Ca%5C%7Cb'
 */
export function identifierQuery(system: string, value: string): string {
  return `identifier=${encodeURIComponent(identifierToken(system, value))}`;
}

/**
 * @returns `system|value` with `\`, `,`, `|` and `$` escaped: a bare comma would mean OR.
 * @throws Error when system or value is missing.
 */
function identifierToken(system: string, value: string): string {
  for (const part of [system, value]) {
    if (typeof part !== 'string' || NOT_A_VALUE.has(part.trim())) {
      throw new Error('Refused: an identifier query needs a system and a value');
    }
  }
  return [system, value].map((part) => part.replace(/[\\,|$]/g, String.raw`\$&`)).join('|');
}

/**
 * Parses a query, and refuses all that is not exactly one complete identifier.
 *
 * HAPI 8.8 answered 200 to each of these as a DELETE, and deleted an unrelated resource: no
 * `identifier=`, an empty one, `identifier=system|`, `identifier:not=x`, `_format=json`,
 * `_count=1`, a comma in the value.
 *
 * @param query - URL query syntax, with or without `?`.
 * @returns System and value, decoded and without escapes.
 * @throws Error that says what is wrong, without the value.
 * @example parseIdentifierQuery('identifier=urn%3Amrn%7C42') // { system: 'urn:mrn', value: '42' }
 */
export function parseIdentifierQuery(query: string): { system: string; value: string } {
  const [parameter = '', ...others] = query.replace(/^\?/, '').split('&');
  const token = /^identifier=([^=]*)$/.exec(parameter)?.[1];
  if (token === undefined || others.length > 0) {
    throw new Error(
      'Refused: the conditional query must be exactly one identifier=system|value ' +
        '(see identifierQuery)',
    );
  }
  if (token.includes('+')) {
    throw new Error(
      'Refused: a + in a query is a space to some servers; write %20 or %2B (see identifierQuery)',
    );
  }
  // Each character is either escaped or has no special meaning.
  const parts = /^((?:\\[\\,|$]|[^\\,|$])*)\|((?:\\[\\,|$]|[^\\,|$])*)$/.exec(decode(token));
  if (!parts) {
    throw new Error(
      'Refused: the identifier needs one | and its \\ , | $ escaped with a backslash ' +
        '(see identifierQuery)',
    );
  }
  const [system = '', value = ''] = parts.slice(1).map((part) => part.replace(/\\(.)/g, '$1'));
  identifierToken(system, value); // throws if one of them is missing
  return { system, value };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error(
      'Refused: the conditional query is not valid URL encoding (see identifierQuery)',
    );
  }
}
