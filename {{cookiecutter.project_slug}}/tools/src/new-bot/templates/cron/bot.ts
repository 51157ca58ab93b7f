// my-bot: every morning, makes Tasks urgent that have waited for more than a day.
import type { BotEvent, MedplumClient } from '@medplum/core';
import type { Bot } from '@medplum/fhirtypes';

const DAY = 24 * 60 * 60 * 1000;

/**
 * @param medplum - client for the project, with the rights of this bot
 * @param _event - `input` is the Bot itself, as for every scheduled run
 * @returns how many Tasks became urgent
 */
export async function handler(
  medplum: MedplumClient,
  _event: BotEvent<Bot>,
): Promise<{ urgent: number }> {
  const yesterday = new Date(Date.now() - DAY).toISOString();
  const waiting = await medplum.searchResources(
    'Task',
    { status: 'requested', 'authored-on': `lt${yesterday}`, _count: '1000' },
    { cache: 'reload' },
  );
  const late = waiting.filter(({ priority }) => priority !== 'urgent');
  for (const task of late) {
    await medplum.updateResource({ ...task, priority: 'urgent' });
  }
  return { urgent: late.length };
}
