import { BotEvent, MedplumClient } from '@medplum/core';

enum Severity {
  Low,
  High,
}

export async function handler(medplum: MedplumClient, _event: BotEvent<any>): Promise<any> {
  const tasks = await medplum.searchResources('Task', { status: 'requested' });
  return { severity: tasks.length > 10 ? Severity.High : Severity.Low, open: tasks.length };
}
