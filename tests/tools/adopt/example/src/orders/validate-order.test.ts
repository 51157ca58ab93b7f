import { handler } from './validate-order';

it.each([
  [{ code: 'a' }, true],
  [{}, false],
])('%j', async (input, valid) => {
  expect(await handler({} as any, { input } as any)).toEqual({ valid });
});
