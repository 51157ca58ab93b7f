jest.useFakeTimers({ shouldAdvanceTime: true });
import { handler } from './slow-upload';

test('encodes', async () => {
  expect(await handler({} as any, { input: 'x' } as any)).toEqual({ base64: 'eA==' });
});
