import { expect, test } from 'vitest';
import { handler } from '@/notify/notify-team';
import { sampleChannel } from './sample-data';

test('describes the channel', async () => {
  expect(await handler({} as any, { input: { channel: sampleChannel } } as any)).toEqual({ channel: 'lab' });
});
