// JSON from a server: a few megabytes can hold so many values that they fill the memory.

/** Texts up to this length are parsed without a look at them first. */
const SMALL = 1024 * 1024;

/** The text holds more values than are allowed. */
export class TooManyValuesError extends Error {}

/**
 * @param maxValues - how many members of objects and arrays there may be
 * @throws TooManyValuesError; SyntaxError if it is not JSON
 */
export function parseJson(text: string, maxValues: number): unknown {
  if (text.length > SMALL && countValues(text, maxValues) > maxValues) {
    throw new TooManyValuesError();
  }
  return JSON.parse(text);
}

/**
 * Counts what begins a value outside of texts: `[`, `{` and `,`.
 *
 * @param limit - where it stops to count
 */
function countValues(text: string, limit: number): number {
  let count = 0;
  let isText = false;
  for (let index = 0; index < text.length && count <= limit; index++) {
    const character = text[index];
    if (isText && character === '\\') {
      index++; // what follows belongs to it
    } else if (character === '"') {
      isText = !isText;
    } else if (!isText && (character === '[' || character === '{' || character === ',')) {
      count++;
    }
  }
  return count;
}
