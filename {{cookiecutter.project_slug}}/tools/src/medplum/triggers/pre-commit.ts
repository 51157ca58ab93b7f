// Pre-commit bots: asked before a resource is written or deleted. They may refuse, or return
// another body.
import type { WithId } from '@medplum/core';
import * as core from '@medplum/core';
import type { Project, Resource } from '@medplum/fhirtypes';
import { SYSTEM } from '../access.ts';
import { runAsOf } from '../bot-execution.ts';
import { LOCAL } from '../local-project.ts';
import type { Change, ServerState } from '../server-state.ts';
import { activeSubscriptions, botOf, matchesSubscription } from './subscriptions.ts';
import type { TriggerContext } from './subscriptions.ts';

/**
 * @returns the function to call before a write: it returns what the bot returned
 * @throws OperationOutcomeError where the bot throws
 */
export function createPreCommit({
  state,
  execute,
}: TriggerContext): (change: Change) => Promise<unknown> {
  return async (change) => {
    if (!isEnabled(state) || change.actor === SYSTEM) {
      return undefined;
    }
    // The real server says "update" here on creates too.
    const interaction = change.interaction === 'delete' ? 'delete' : 'update';
    const meta = { ...change.resource.meta, author: change.actor.author } as Resource['meta'];
    const resource = { ...change.resource, meta } as WithId<Resource>;
    const asked = { ...change, resource, previous: undefined };
    for (const subscription of activeSubscriptions(state, true)) {
      const bot = botOf(state, subscription);
      const runAs = bot && runAsOf(state, bot);
      if (!runAs || !(await matchesSubscription(subscription, asked, interaction))) {
        continue;
      }
      const deleted = `${resource.resourceType}/${resource.id}`;
      const result = await execute({
        bot,
        cause: 'pre-commit',
        runAs,
        input: resource,
        contentType: core.ContentType.FHIR_JSON,
        subscription,
        headers: interaction === 'delete' ? { 'X-Medplum-Deleted-Resource': deleted } : {},
      });
      if (!result.success) {
        const outcome = core.normalizeOperationOutcome(result.value ?? result.log);
        throw new core.OperationOutcomeError(outcome);
      }
      return result.value; // only the first one that matches is asked
    }
    return undefined;
  };
}

function isEnabled({ store }: ServerState): boolean {
  const { setting } = store.latest('Project', LOCAL.projectId)!.resource as Project;
  const enabled = setting?.find(({ name }) => name === 'preCommitSubscriptionsEnabled');
  return enabled?.valueBoolean === true;
}
