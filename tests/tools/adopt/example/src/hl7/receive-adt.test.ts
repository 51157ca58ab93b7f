import { Hl7Message } from '@medplum/core';
import { expect, test } from 'vitest';
import { handler } from './receive-adt';

test('acknowledges', async () => {
  const input = Hl7Message.parse('MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5');
  const ack = await handler({} as any, { input } as any);
  expect(ack.toString()).toContain('MSA|AA|1');
});
