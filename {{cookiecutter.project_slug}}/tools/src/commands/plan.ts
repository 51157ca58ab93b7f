// `npm run plan`: what a deployment would do, and why. Exit code 0: nothing, 2: changes, 1: an error.
import { Command } from 'commander';
import { UserError } from '../terminal/user-error.ts';

interface PlanOptions {
  env?: string;
  only?: string;
  prune?: boolean;
  force?: boolean;
  json?: boolean;
}

export const command = new Command('plan')
  .description('Show what a deployment would do, and why; writes nothing')
  .option('--env <name>', 'the environment whose .env.<name> is read (default: local)')
  .option('--only <pattern>', 'only bots whose name matches; * stands for any characters')
  .option('--prune', 'remove from the server what medplum.config.json no longer has')
  .option('--force', 'deploy the code again where it is unchanged')
  .option('--json', 'print the plan as JSON')
  .addHelpText(
    'after',
    '\nExample: npm run plan -- --env staging\nExit codes: 0 nothing to do, 2 changes, 1 an error.',
  )
  .action(showPlan);

async function showPlan({ env: environment, json, ...options }: PlanOptions): Promise<void> {
  const { planLines, prepare } = await import('../deploy/deploy.ts');
  const { isWrite } = await import('../deploy/plan.ts');
  const { plan, server } = await prepare({
    ...options,
    ...(environment !== undefined && { environment }),
  });
  if (json) {
    const changes = plan.changes.map(({ name, action, reasons }) => ({ name, action, reasons }));
    const { name, baseUrl, projectId } = server.environment;
    console.log(
      JSON.stringify({ environment: name, baseUrl, projectId, ...plan, changes }, null, 2),
    );
  } else {
    for (const line of planLines(plan, server)) console.log(line);
  }
  const blocked = plan.changes.flatMap(({ name, action }) =>
    action === 'blocked' ? `${name} cannot be deployed.` : [],
  );
  if (plan.problems.length + blocked.length > 0)
    throw new UserError([...plan.problems, ...blocked].join('\n'));
  process.exitCode = plan.changes.some(isWrite) ? 2 : 0;
}
