import { jest } from '@jest/globals';
import { handler } from './nightly-report';

test('counts open tasks', async () => {
  const searchResources = jest.fn(async () => [{ resourceType: 'Task' }]);
  expect(await handler({ searchResources } as any, {} as any)).toEqual({ severity: 0, open: 1 });
  expect(searchResources).toHaveBeenCalledTimes(1);
});
