// "Did you mean …?" for mistyped names of commands, bots and settings.

/**
 * Suggests the known word that is nearest to a mistyped one.
 *
 * @param word - what was written
 * @param known - what would have been right
 * @returns ` Did you mean "…"?`, or an empty string where no known word is near
 */
export function suggest(word: string, known: readonly string[]): string {
  const distances = known.map((candidate) => ({
    candidate,
    distance: editDistance(word, candidate),
  }));
  const nearest = distances.toSorted((a, b) => a.distance - b.distance)[0];
  return nearest && nearest.distance <= word.length * 0.4
    ? ` Did you mean "${nearest.candidate}"?`
    : '';
}

/** Levenshtein distance without regard to case. */
function editDistance(from: string, to: string): number {
  const a = from.toLowerCase();
  const b = to.toLowerCase();
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, substitution);
    }
    row = next;
  }
  return row[b.length]!;
}
