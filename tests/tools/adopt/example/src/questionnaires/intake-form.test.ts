import { expect, test, vi } from 'vitest';
import { handler } from './intake-form';
import response from './intake-form.json';

test('creates a patient', async () => {
  const createResource = vi.fn(async (resource: any) => ({ ...resource, id: '1' }));
  expect(await handler({ createResource } as any, { input: response } as any)).toEqual({
    created: '1',
  });
  expect(createResource).toHaveBeenCalledWith(expect.objectContaining({ birthDate: '1980-02-29' }));
});
