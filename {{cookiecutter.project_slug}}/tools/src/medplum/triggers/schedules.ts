// Bots with a schedule run by the clock.
import type { WithId } from '@medplum/core';
import * as core from '@medplum/core';
import type { Bot, Project } from '@medplum/fhirtypes';
import { Cron } from 'croner';
import { randomUUID } from 'node:crypto';
import { runAsOf } from '../bot-execution.ts';
import { LOCAL } from '../local-project.ts';
import type { Change } from '../server-state.ts';
import { scheduleOf } from './bot-schedule.ts';
import type { TriggerContext } from './subscriptions.ts';

export interface ScheduleTriggers {
  /** Begins with the bots that there are. */
  start(): void;
  committed(change: Change): void;
  /** Runs a bot as its schedule would. */
  runCron(bot: WithId<Bot>): Promise<void>;
  stop(): void;
}

/** @param runSchedules - whether bots run when it is time, not only when `runCron` is called */
export function createScheduleTriggers(
  context: TriggerContext,
  runSchedules: boolean,
): ScheduleTriggers {
  const { state, execute, warn, present } = context;
  const schedules = new Map<string, { pattern: string; cron: Cron }>();

  const runCron = async (bot: WithId<Bot>): Promise<void> => {
    const runAs = runAsOf(state, bot);
    if (!runAs) {
      warn(`Bot ${bot.name} did not run: it has no ProjectMembership`);
      return;
    }
    await execute({
      bot,
      cause: 'cron',
      runAs,
      input: present(bot),
      contentType: core.ContentType.FHIR_JSON,
      traceId: randomUUID(),
    });
  };

  const schedule = (bot: WithId<Bot>, deleted: boolean): void => {
    const pattern = deleted ? undefined : scheduleOf(bot);
    if (schedules.get(bot.id)?.pattern === pattern) {
      return;
    }
    schedules.get(bot.id)?.cron.stop();
    schedules.delete(bot.id);
    const project = state.store.latest('Project', LOCAL.projectId)!.resource as Project;
    if (!runSchedules || !pattern || !project.features?.includes('cron')) {
      return;
    }
    const run = (): Promise<void> =>
      runCron(state.store.latest('Bot', bot.id)!.resource as WithId<Bot>);
    schedules.set(bot.id, { pattern, cron: new Cron(pattern, { unref: true, catch: true }, run) });
  };

  return {
    start: () => {
      for (const bot of state.store.living<Bot>('Bot')) {
        schedule(bot, false);
      }
    },
    committed: ({ resource, interaction }) => {
      if (resource.resourceType === 'Bot') {
        schedule(resource, interaction === 'delete');
      }
    },
    runCron,
    stop: () => schedules.forEach(({ cron }) => cron.stop()),
  };
}
