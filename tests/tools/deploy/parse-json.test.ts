// JSON from a server, with as many values as fit into the memory.
import { describe, expect, it } from 'vitest';
import { parseJson, TooManyValuesError } from '../../tools/src/deploy/parse-json.ts';

const LIMIT = 10_000;
/** Longer than what is parsed without a look. */
const LONG = 'x'.repeat(2_000_000);

describe('JSON with more values than allowed', () => {
  it.each([
    ['lists', `["${LONG}"${',[]'.repeat(LIMIT)}]`],
    ['objects', `["${LONG}"${',{}'.repeat(LIMIT)}]`],
    ['numbers', `["${LONG}"${',1'.repeat(LIMIT)}]`],
    ['lists in lists', `${'['.repeat(LIMIT + 1)}"${LONG}"${']'.repeat(LIMIT + 1)}`],
    ['after a text with quotes', JSON.stringify(['\\"', LONG, ...Array(LIMIT).keys()])],
  ])('is not parsed: %s', (_, text) => {
    expect(() => parseJson(text, LIMIT)).toThrow(TooManyValuesError);
  });
});

it('reads texts with many commas and brackets, and what is just small enough', () => {
  const values = [`"${',[{\\'.repeat(LIMIT)}`, LONG, ...Array(LIMIT - 3).keys()];
  expect(parseJson(JSON.stringify(values), LIMIT)).toEqual(values);
});
