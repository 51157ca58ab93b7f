import { expect, test } from 'vitest';
import { handler } from '.';

test('writes a segment', async () => {
  const input = { resourceType: 'Observation', status: 'final', code: { text: 'Pulse' } };
  expect(await handler({} as any, { input } as any)).toEqual({ message: 'OBX|1|NM|Pulse' });
});
