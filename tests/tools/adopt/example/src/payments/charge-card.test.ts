import { expect, test, vi } from 'vitest';
import { handler } from './charge-card';

vi.mock('./provider', () => ({ charge: async (amount: number) => ({ charged: amount }) }));

test('charges', async () => {
  expect(await handler({} as any, { input: { amount: 5 } } as any)).toEqual({ charged: 5 });
});
