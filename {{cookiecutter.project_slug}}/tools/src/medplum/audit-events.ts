// The AuditEvent that each run of a bot leaves.
import * as core from '@medplum/core';
import type { WithId } from '@medplum/core';
import type { AuditEvent, Bot, OperationOutcome, Reference, Resource } from '@medplum/fhirtypes';
import { randomUUID } from 'node:crypto';
import { actorOf } from './access.ts';
import type { ExecuteRequest, ExecuteResult } from './execute-bot.ts';
import type { LocalRepository } from './repository.ts';

/** AuditEvents keep this much of a log's end, in characters. */
const LOG_LENGTH = 10 * 1024;

/**
 * @throws OperationOutcomeError where the log has control characters, which FHIR's strings must not
 *   have: then the run answers 400, and a run by subscription is repeated
 */
export async function createBotAuditEvent(
  system: LocalRepository,
  request: ExecuteRequest,
  { success, log }: ExecuteResult,
  startedAt: Date,
): Promise<void> {
  const { bot, runAs, requester, input, subscription, traceId } = request;
  if (!isWanted(bot, success, log)) {
    return;
  }
  const now = new Date().toISOString();
  const concerned = [bot, input, subscription].filter(
    (resource) => core.isResource(resource) && resource.id,
  ) as WithId<Resource>[];
  const who = requester ? { who: requester as Reference<Bot> } : {};
  const audit: AuditEvent = {
    resourceType: 'AuditEvent',
    extension: [tracing(traceId ?? randomUUID())],
    period: { start: startedAt.toISOString(), end: now },
    recorded: now,
    type: { system: 'https://medplum.com/CodeSystem/audit-event', code: 'execute' },
    agent: [
      { ...who, requestor: true },
      { who: actorOf(system.state.store, runAs).author as Reference<Bot>, requestor: false },
    ],
    source: { observer: core.createReference(bot) },
    entity: concerned.map((resource) => ({
      what: core.createReference(resource),
      role: auditRole(resource),
    })),
    outcome: success ? '0' : '4',
  };
  if (log) {
    audit.outcomeDesc = log.slice(-LOG_LENGTH);
  }
  await system.createResource(audit);
}

function isWanted(bot: Bot, success: boolean, log: string): boolean {
  if (bot.auditEventDestination && !bot.auditEventDestination.includes('resource')) {
    return false;
  }
  switch (bot.auditEventTrigger) {
    case 'never':
      return false;
    case 'on-error':
      return !success;
    case 'on-output':
      return log !== '';
    default:
      return true;
  }
}

function auditRole({ resourceType }: Resource): { code: string; display: string } {
  switch (resourceType) {
    case 'Patient':
      return { code: '1', display: 'Patient' };
    case 'Subscription':
      return { code: '9', display: 'Subscriber' };
    default:
      return { code: '4', display: 'Domain' };
  }
}

/** What real servers put on each outcome and AuditEvent, to find a request in their logs. */
export function tracing(traceId: string): NonNullable<OperationOutcome['extension']>[number] {
  return {
    url: 'https://medplum.com/fhir/StructureDefinition/tracing',
    extension: [
      { url: 'requestId', valueId: randomUUID() },
      { url: 'traceId', valueId: traceId },
    ],
  };
}
