// `npm run plan`: what a deployment would do, and why. Exit code 0: nothing, 2: changes, 1: an
// error.
import { Command } from 'commander';
import { UserError } from '../terminal/user-error.ts';

interface PlanOptions {
  env?: string;
  only?: string;
  prune?: boolean;
  force?: boolean;
  skipFailed?: boolean;
  json?: boolean;
}

export const command = new Command('plan')
  .description('Show what a deployment would do, and why; writes nothing')
  .option('--env <name>', 'the environment whose .env.<name> is read (default: local)')
  .option(
    '--only <pattern>',
    'only bots, and files of resources/, whose name matches; * stands for any characters',
  )
  .option('--prune', 'remove from the server what medplum.config.json no longer has')
  .option('--force', 'deploy the code again, also if it is unchanged')
  .option('--skip-failed', 'plan the other bots if one lacks a secret or a usable bundle')
  .option('--json', 'print the plan as JSON, with each reason as an object')
  .addHelpText(
    'after',
    '\nExample: npm run plan -- --env staging\nExit codes: 0 nothing to do, 2 changes, 1 an error.',
  )
  .action(showPlan);

async function showPlan({ env, json, ...options }: PlanOptions): Promise<void> {
  const { prepare } = await import('../deploy/deploy.ts');
  const { isWrite } = await import('../deploy/change.ts');
  const { describeProblem, planLines, planToJson } = await import('../deploy/describe-plan.ts');
  const { plan, server } = await prepare({
    ...options,
    forAdmin: true,
    ...(env !== undefined && { environment: env }),
  });
  if (json) {
    console.log(JSON.stringify(planToJson(plan, server), null, 2));
  } else {
    planLines(plan, server).forEach((line) => console.log(line));
  }
  const blocked = plan.changes
    .filter(({ action }) => action === 'blocked')
    .map(({ name }) => `${name} cannot be deployed.`);
  const errors = [...plan.problems.map(describeProblem), ...blocked];
  if (errors.length > 0) {
    throw new UserError(errors.join('\n'));
  }
  process.exitCode = plan.changes.some(isWrite) ? 2 : 0;
}
