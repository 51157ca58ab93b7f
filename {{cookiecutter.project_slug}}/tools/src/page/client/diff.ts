// The lines that differ between two JSON values, members in one order.

export interface DiffLine {
  kind: 'same' | 'added' | 'removed';
  text: string;
}

/** Longer texts are compared line by line from both ends only; the middle counts as replaced. */
const MOST_CELLS = 4_000_000;

/**
 * Compares two values as JSON text.
 *
 * @param before - undefined: there was nothing
 * @param after - undefined: there is nothing any more
 */
export function diffJson(before: unknown, after: unknown): DiffLine[] {
  return diffLines(linesOf(before), linesOf(after));
}

function diffLines(before: string[], after: string[]): DiffLine[] {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) {
    start += 1;
  }
  let end = 0;
  while (
    end < before.length - start &&
    end < after.length - start &&
    before.at(-1 - end) === after.at(-1 - end)
  ) {
    end += 1;
  }
  const removed = before.slice(start, before.length - end);
  const added = after.slice(start, after.length - end);
  return [
    ...before.slice(0, start).map((text): DiffLine => ({ kind: 'same', text })),
    ...diffMiddle(removed, added),
    ...before.slice(before.length - end).map((text): DiffLine => ({ kind: 'same', text })),
  ];
}

/** Finds the longest common subsequence of lines; everything else was removed or added. */
function diffMiddle(before: string[], after: string[]): DiffLine[] {
  if (before.length * after.length > MOST_CELLS) {
    return [
      ...before.map((text): DiffLine => ({ kind: 'removed', text })),
      ...after.map((text): DiffLine => ({ kind: 'added', text })),
    ];
  }
  const lengths = commonLengths(before, after);
  const lines: DiffLine[] = [];
  let row = 0;
  let column = 0;
  while (row < before.length || column < after.length) {
    if (row < before.length && before[row] === after[column]) {
      lines.push({ kind: 'same', text: before[row]! });
      row += 1;
      column += 1;
    } else if (
      column >= after.length ||
      (row < before.length && lengths[row + 1]![column]! >= lengths[row]![column + 1]!)
    ) {
      lines.push({ kind: 'removed', text: before[row]! });
      row += 1;
    } else {
      lines.push({ kind: 'added', text: after[column]! });
      column += 1;
    }
  }
  return lines;
}

/**
 * `lengths[i][j]` is how many lines `before` from i and `after` from j have in common, in order.
 */
function commonLengths(before: string[], after: string[]): Uint16Array[] {
  const lengths = Array.from(
    { length: before.length + 1 },
    () => new Uint16Array(after.length + 1),
  );
  for (let row = before.length - 1; row >= 0; row -= 1) {
    for (let column = after.length - 1; column >= 0; column -= 1) {
      lengths[row]![column] =
        before[row] === after[column]
          ? lengths[row + 1]![column + 1]! + 1
          : Math.max(lengths[row + 1]![column]!, lengths[row]![column + 1]!);
    }
  }
  return lengths;
}

function linesOf(value: unknown): string[] {
  return value === undefined ? [] : JSON.stringify(inOneOrder(value), null, 2).split('\n');
}

/**
 * resourceType and id first, then the members by name, so that the same content is the same text.
 */
function inOneOrder(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(inOneOrder);
  }
  if (typeof value !== 'object' || value === null) {
    return value;
  }
  const rank = (name: string): number => {
    const index = ['resourceType', 'id'].indexOf(name);
    return index < 0 ? 2 : index;
  };
  const entries = Object.entries(value).toSorted(
    ([a], [b]) => rank(a) - rank(b) || a.localeCompare(b),
  );
  return Object.fromEntries(entries.map(([name, member]) => [name, inOneOrder(member)]));
}
