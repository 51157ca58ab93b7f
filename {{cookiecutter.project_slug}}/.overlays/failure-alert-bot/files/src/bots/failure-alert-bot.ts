// Reports the runs of bots that failed since its last report: one Task, or one message to a
// webhook. Runs on a schedule.
import type { BotEvent, MedplumClient, WithId } from '@medplum/core';
import type { Basic, Task } from '@medplum/fhirtypes';
import { describeReport, findFailedRuns } from '../shared/failed-runs.ts';
import type { FailureReport } from '../shared/failed-runs.ts';
import { HTTP_VERBS, makeExternalRequest } from '../shared/http-helpers.ts';
import { optionalSecret } from '../shared/secrets.ts';

/** What the bot stores carries this identifier. */
const SYSTEM = 'urn:medplum-bots:failure-alert';
const HOUR_MS = 60 * 60 * 1000;
/** Failures that are older are not reported any more. */
const MAX_AGE_HOURS = 24;
/**
 * A run that ends now may become visible a moment later: the last minute belongs to the next
 * report.
 */
const DELAY_MS = 60 * 1000;

/**
 * Reports what failed. If the report cannot be sent, this run fails, and the next one sends it.
 *
 * @param medplum - client for the project, with the rights of this bot
 * @param event - with the secrets `ALERT_WEBHOOK_URL` and `ALERT_WEBHOOK_TOKEN`, both optional
 * @returns how many failed runs were reported, and how; `to` is missing where nothing failed
 * @throws RequestFailure if the webhook does not accept the message
 */
export async function handler(
  medplum: MedplumClient,
  event: BotEvent,
): Promise<{ reported: number; to?: 'task' | 'webhook' }> {
  const state = await readState(medplum);
  const until = new Date(Date.now() - DELAY_MS).toISOString();
  const report = await findFailedRuns(medplum, beginning(state), until);
  if (report.total === 0) {
    return { reported: 0 };
  }
  const webhook = optionalSecret(event.secrets, 'ALERT_WEBHOOK_URL');
  if (webhook === undefined) {
    await createTask(medplum, report);
  } else {
    await callWebhook(webhook, optionalSecret(event.secrets, 'ALERT_WEBHOOK_TOKEN'), report);
  }
  await saveState(medplum, state, report.until);
  return { reported: report.total, to: webhook === undefined ? 'task' : 'webhook' };
}

/** Where the last report ended, but not longer ago than failures are reported. */
function beginning(state: Basic | undefined): string {
  const earliest = new Date(Date.now() - MAX_AGE_HOURS * HOUR_MS).toISOString();
  const last = state?.extension?.find(({ url }) => url === SYSTEM)?.valueInstant;
  return last !== undefined && last > earliest ? last : earliest;
}

/**
 * The Task is identified by the first failed run of the report: if the state cannot be saved after
 * it, the next run finds this Task and creates no second one.
 */
async function createTask(medplum: MedplumClient, report: FailureReport): Promise<void> {
  await medplum.createResourceIfNoneExist<Task>(
    {
      resourceType: 'Task',
      identifier: [{ system: SYSTEM, value: report.first }],
      status: 'requested',
      intent: 'order',
      priority: 'urgent',
      code: { text: 'Look at failed bots' },
      description: describeReport(report),
    },
    `identifier=${SYSTEM}|${report.first}`,
  );
}

/**
 * `text` is what Slack, Mattermost and Microsoft Teams show; the numbers are for other programs.
 */
async function callWebhook(
  url: string,
  token: string | undefined,
  report: FailureReport,
): Promise<void> {
  const headers: Record<string, string> = { 'content-type': 'application/json' };
  if (token !== undefined) {
    headers['authorization'] = `Bearer ${token}`;
  }
  const message = { text: describeReport(report), total: report.total, bots: report.bots };
  await makeExternalRequest(url, HTTP_VERBS.POST, message, headers);
}

async function readState(medplum: MedplumClient): Promise<WithId<Basic> | undefined> {
  return medplum.searchOne('Basic', `identifier=${SYSTEM}|last-report`, { cache: 'reload' });
}

async function saveState(
  medplum: MedplumClient,
  state: Basic | undefined,
  until: string,
): Promise<void> {
  const next: Basic = {
    ...state,
    resourceType: 'Basic',
    identifier: [{ system: SYSTEM, value: 'last-report' }],
    code: { text: 'The last report of failure-alert-bot' },
    extension: [{ url: SYSTEM, valueInstant: until }],
  };
  if (state?.id === undefined) {
    await medplum.createResource(next);
  } else {
    await medplum.updateResource(next);
  }
}
