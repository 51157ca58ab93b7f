// my-bot, given HL7 v2 messages by a local Medplum.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { localMedplum } from 'medplum-bot-tools/testing';
import type { LocalMedplum } from 'medplum-bot-tools/testing';

const HL7 = { contentType: 'x-application/hl7-v2+er7' };
const HEADER = 'MSH|^~\\&|ADT|CLINIC|MEDPLUM|MEDPLUM|20260101080000||ADT^A04|1|P|2.5';
let medplum: LocalMedplum;
beforeAll(async () => {
  medplum = await localMedplum({ bots: ['my-bot'] });
});
afterAll(() => medplum.stop());

test('the patient of a message is kept once, with the newest name', async () => {
  for (const family of ['Miller', 'Smith']) {
    const message = `${HEADER}\rPID|1||MRN-1^^^CLINIC||${family}^Test`;
    const run = await medplum.execute('my-bot', message, HL7);
    expect(run).toMatchObject({ success: true });
    expect(String(run.result)).toContain('MSA|AA|1');
  }
  const patients = await medplum.client.searchResources('Patient');
  expect(patients.map(({ name }) => name?.[0]?.family)).toEqual(['Smith']);
});

test('a message without an MRN is refused', async () => {
  const run = await medplum.execute('my-bot', `${HEADER}\rPID|1||||Miller^Test`, HL7);
  expect(String(run.result)).toContain('MSA|AE|1');
});
