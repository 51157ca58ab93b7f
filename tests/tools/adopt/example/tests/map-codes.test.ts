import { expect, test } from 'vitest';
import { handler } from '../src/lab/map-codes';

test('maps a code', async () => {
  expect(await handler({} as any, { input: { code: 'GLU' } } as any)).toEqual({ loinc: '2345-7' });
});
