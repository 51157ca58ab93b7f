// Calls of vi.mock that vitest refuses where they are.
import { expect, test } from 'vitest';
import { withMocksAtTop } from '../../tools/src/adopt/mocks.ts';

test('calls inside describe and its functions move below the imports, with all their lines', () => {
  const text = `import { describe, test, vi } from 'vitest';
import { send } from './mail.ts';

describe('mail', () => {
  const to = 'a';

  vi.mock('./mail.ts', async () => {
    const actual = await vi.importActual('./mail.ts');
    return { ...actual, send: vi.fn() };
  });

  describe('inside', () => {
    beforeEach(() => {
      vi.mock('./log.ts');
    });
    test('x', () => send(to));
  });
});
`;
  expect(withMocksAtTop('mail.test.ts', text)).toBe(`import { describe, test, vi } from 'vitest';
import { send } from './mail.ts';

vi.mock('./mail.ts', async () => {
  const actual = await vi.importActual('./mail.ts');
  return { ...actual, send: vi.fn() };
});
vi.mock('./log.ts');

describe('mail', () => {
  const to = 'a';

  describe('inside', () => {
    beforeEach(() => {
    });
    test('x', () => send(to));
  });
});
`);
});

test.each([
  ['at the top already', `import { vi } from 'vitest';\nvi.mock('./mail.ts');\n`],
  ['vi.doMock', `test('x', () => {\n  vi.doMock('./mail.ts');\n});\n`],
  ['a mock of something else', `test('x', () => {\n  api.vi.mock('./mail.ts');\n});\n`],
  ['a file that cannot be parsed', `test('x', () => {\n  vi.mock('./mail.ts');\n`],
])('%s: the text stays', (_, text) => {
  expect(withMocksAtTop('mail.test.ts', text)).toBe(text);
});
