// `npm run plan`: what a deployment would do, and why. Exit code 0: nothing, 2: changes, 1: an error.
import { UserError, main, readArgs } from '../cli.ts';

await main(async () => {
  const { values } = readArgs({
    options: {
      env: { type: 'string' },
      only: { type: 'string' },
      prune: { type: 'boolean' },
      force: { type: 'boolean' },
      json: { type: 'boolean' },
    },
  });
  const { planLines, prepare } = await import('./deploy.ts');
  const { isWrite } = await import('./plan.ts');
  const { env: environment, json, ...options } = values;
  const { plan, server } = await prepare({ ...options, ...(environment !== undefined && { environment }) });
  if (json) {
    const changes = plan.changes.map(({ name, action, reasons }) => ({ name, action, reasons }));
    const { name, baseUrl, projectId } = server.environment;
    console.log(JSON.stringify({ environment: name, baseUrl, projectId, ...plan, changes }, null, 2));
  } else {
    for (const line of planLines(plan, server)) console.log(line);
  }
  const blocked = plan.changes.flatMap(({ name, action }) =>
    action === 'blocked' ? `${name} cannot be deployed.` : [],
  );
  if (plan.problems.length + blocked.length > 0) throw new UserError([...plan.problems, ...blocked].join('\n'));
  return plan.changes.some(isWrite) ? 2 : 0;
});
