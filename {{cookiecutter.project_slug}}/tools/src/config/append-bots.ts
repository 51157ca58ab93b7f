// Adds bots to medplum.config.json and leaves the rest of the file as it is written, so that git
// and updates of the template see a change of the new lines only.

/** Strings, and the characters that open, close or follow something. */
const TOKENS = /"(?:[^"\\]|\\.)*"|[[\]{}:]/g;

/**
 * @param text - of medplum.config.json: valid JSON with a list `bots`
 * @param entries - to add at the end of the list
 * @returns the new text; prettier formats the new entries, and keeps the lines of the others
 * @throws TypeError if the text has no list `bots`
 */
export function appendBots(text: string, entries: readonly object[]): string {
  if (entries.length === 0) {
    return text;
  }
  const end = endOfBots(text);
  const isFirst = text.slice(0, end).trimEnd().endsWith('[');
  const added = entries.map((entry) => JSON.stringify(entry)).join(',\n');
  return `${text.slice(0, end)}${isFirst ? '' : ','}\n${added}\n${text.slice(end)}`;
}

/**
 * @returns the position of the bracket that closes the list
 * @throws TypeError if there is no list, which the schema of the configuration does not allow
 */
function endOfBots(text: string): number {
  let depth = 0;
  let lastString = '';
  let key = '';
  for (const { 0: token, index } of text.matchAll(TOKENS)) {
    if (token === '[' || token === '{') {
      depth += 1;
    } else if (token === ']' || token === '}') {
      if (depth === 2 && key === 'bots') {
        return index;
      }
      depth -= 1;
    } else if (depth === 1 && token === ':') {
      key = lastString;
    } else if (depth === 1) {
      lastString = JSON.parse(token) as string;
    }
  }
  throw new TypeError('The text is not a configuration: it has no list "bots"');
}
