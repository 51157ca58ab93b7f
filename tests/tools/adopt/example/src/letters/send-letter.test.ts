import { expect, test } from 'vitest';
import { handler } from './send-letter';

test('fills in the name', async () => {
  const { html } = await handler({} as any, { input: { name: 'Ada' } } as any);
  expect(html).toContain('Dear Ada');
});
