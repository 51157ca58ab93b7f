// Bots are added at the end of their list, and no other character of the file changes.
import { describe, expect, it } from 'vitest';
import { appendBots } from '../../tools/src/config/append-bots.ts';

const BOT = { name: 'b' };

describe('appendBots', () => {
  it.each([
    ['an empty list', '{"bots":[]}', '{"bots":[\n{"name":"b"}\n]}'],
    ['a list', '{"bots": [ {} ]}', '{"bots": [ {} ,\n{"name":"b"}\n]}'],
    ['a list in a bot', '{"bots":[{"cron":["a"]}]}', '{"bots":[{"cron":["a"]},\n{"name":"b"}\n]}'],
    ['brackets in a text', '{"bots":["]}"]}', '{"bots":["]}",\n{"name":"b"}\n]}'],
    ['an escaped key', String.raw`{"b\u006fts":[]}`, '{"b\\u006fts":[\n{"name":"b"}\n]}'],
    [
      'other lists around it',
      '{"a":[1],"c":{"bots":[2]},"bots":[],"d":[3]}',
      '{"a":[1],"c":{"bots":[2]},"bots":[\n{"name":"b"}\n],"d":[3]}',
    ],
  ])('adds to %s', (_, text, expected) => {
    expect(appendBots(text, [BOT])).toBe(expected);
  });

  it('changes nothing where there is nothing to add', () => {
    expect(appendBots('{ "bots": [] }', [])).toBe('{ "bots": [] }');
  });

  it.each(['{}', '{"other":[]}', '{"a":{"bots":[]}}'])('refuses %s, which has no bots', (text) => {
    expect(() => appendBots(text, [BOT])).toThrow('has no list "bots"');
  });
});
