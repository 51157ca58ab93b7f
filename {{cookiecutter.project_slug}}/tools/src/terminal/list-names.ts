// Lists names in a message, and only counts the last ones of a long list.

/**
 * @param names - to list
 * @param limit - how many are written out
 * @returns `a, b, c`, or `a, b and 33 more` with a limit of 2
 */
export function listNames(names: readonly string[], limit: number): string {
  const listed = names.slice(0, limit).join(', ');
  return names.length > limit ? `${listed} and ${names.length - limit} more` : listed;
}
