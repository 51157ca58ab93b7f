import { expect, test } from 'vitest';
import { handler } from './hello-patient';

test('says hello', async () => {
  const event = { input: { resourceType: 'Patient', id: '1' } } as any;
  expect(await handler({} as any, event)).toBe(true);
});
