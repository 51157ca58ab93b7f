import { handler } from './payment-webhook';

const realFetch = globalThis.fetch;
beforeEach(() => {
  globalThis.fetch = vi.fn(async () => new Response('{"paid":false}')) as any;
});
afterEach(() => {
  globalThis.fetch = realFetch;
});

test('asks the payment provider', async () => {
  const secrets = { PAYMENT_URL: { name: 'PAYMENT_URL', valueString: 'https://example.com' } };
  expect(await handler({} as any, { input: {}, secrets } as any)).toEqual({ paid: false });
  expect(fetch).toHaveBeenCalled();
});
