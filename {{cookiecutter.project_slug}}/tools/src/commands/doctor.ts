// `npm run doctor`: looks at everything and changes nothing; each finding comes with what mends it.
import { Command } from 'commander';
import { RESOURCE_TYPES } from '../config/resource-types.ts';
import { green, red, yellow } from '../terminal/output.ts';
import { UserError } from '../terminal/user-error.ts';
import { loadConfig } from '../config/config.ts';
import { readActual } from '../deploy/actual.ts';
import { describeChange, describeProblem, describeWarning } from '../deploy/describe-plan.ts';
import { ownBots } from '../deploy/identity.ts';
import { MAX_ACTIVE_SUBSCRIPTIONS } from '../deploy/checks.ts';
import type { Actual } from '../deploy/actual.ts';
import { loadDesired } from '../deploy/desired.ts';
import type { Desired } from '../deploy/desired.ts';
import { plan } from '../deploy/plan.ts';
import { connect } from '../deploy/server.ts';
import type { Server } from '../deploy/server.ts';
import { commandFor, readEnvironment } from '../config/environment.ts';
import { isOf, readRuns } from '../deploy/logs.ts';

let wrongs = 0;
const ok = (text: string): void => console.log(`${green('✓')} ${text}`);
const warn = (text: string): void => console.log(`${yellow('!')} ${text}`);
const wrong = (text: string): void => {
  wrongs++;
  console.log(`${red('x')} ${text}`);
};

export const command = new Command('doctor')
  .description('Look at this machine, the repository and the server; changes nothing')
  .option('--env <name>', 'the environment whose .env.<name> is read (default: local)')
  .addHelpText('after', '\nExample: npm run doctor -- --env production')
  .action(examine);

async function examine(values: { env?: string }): Promise<void> {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const node = `Node ${process.versions.node}`;
  if (major > 24 || (major === 24 && minor >= 2)) ok(node);
  else wrong(`${node}: 24.2 or newer is needed, see .nvmrc`);
  const { identifierSystem: system } = loadConfig();
  const environment = readEnvironment(values.env);
  let desired: Desired | undefined;
  try {
    desired = loadDesired(process.cwd(), environment.name);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    error.message.split('\n').forEach(wrong);
  }
  const server = await connect(environment);
  ok(
    `${environment.baseUrl} accepts the credentials, and their project is ${environment.projectId}`,
  );
  const actual = await readActual(server);
  lookAtProject(environment.name, system, actual);
  if (desired) lookAtPlan(desired, actual);
  await lookAtRuns(server, environment.name, ownBots(actual.bots, system, environment.name));
  process.exitCode = wrongs > 0 ? 1 : 0;
}

function lookAtProject(environment: string, system: string, actual: Actual): void {
  const { project, bots, memberships = [], subscriptions } = actual;
  // Nothing here deletes what may be someone else's; the official command line does, one by one.
  const remove = (type: string, id = '<id>'): string =>
    `npx @medplum/cli delete ${type}/${id} (with the variables of .env.${environment})`;
  if (project) {
    ok(`features of the project: ${project.features?.join(', ') || 'none'}`);
    ok(`secrets of the project: ${project.secret?.map(({ name }) => name).join(', ') || 'none'}`);
  }
  const ids = new Set(bots.map(({ id }) => `Bot/${id}`));
  for (const { id, profile } of memberships) {
    if (!ids.has(profile.reference!))
      warn(
        `ProjectMembership/${id} is of ${profile.reference}, which is gone: ${remove('ProjectMembership', id)}`,
      );
  }
  const foreign = bots.filter(
    ({ identifier = [] }) => !identifier.some((one) => one.system === system),
  );
  const names = foreign.slice(0, 10).map(({ name, id }) => `${name} (${id})`);
  if (foreign.length > 10) names.push(`${foreign.length - 10} more`);
  const adopt = commandFor(environment, 'import', '<id>');
  if (names.length > 0) ok(`bots from elsewhere: ${names.join(', ')}; to adopt one: ${adopt}`);
  const active = subscriptions.filter(({ status }) => status === 'active');
  const text = `${active.length} of ${MAX_ACTIVE_SUBSCRIPTIONS} active subscriptions`;
  if (active.length > MAX_ACTIVE_SUBSCRIPTIONS)
    wrong(`${text}: the newest never fire. Remove some: ${remove('Subscription')}`);
  else ok(text);
  for (const { id, criteria = '', channel } of active) {
    const endpoint = channel?.endpoint ?? '';
    if (endpoint.startsWith('Bot/') && !ids.has(endpoint))
      warn(`Subscription/${id} starts ${endpoint}, which is gone: ${remove('Subscription', id)}`);
    const type = criteria.split('?')[0]!;
    if (!RESOURCE_TYPES.includes(type))
      wrong(
        `Subscription/${id} never fires, as "${type}" is no resource type: ${remove('Subscription', id)}`,
      );
  }
}

function lookAtPlan(desired: Desired, actual: Actual): void {
  const { changes, problems, warnings } = plan(desired, actual, { force: false, prune: false });
  problems.map(describeProblem).forEach(wrong);
  warnings.map(describeWarning).forEach(warn);
  const setup = commandFor(desired.environment, 'setup:bots');
  for (const change of changes) {
    const { name, action, reasons } = change;
    const why = describeChange(change, desired.environment);
    // Without these, a bot looks deployed and never runs.
    const dead = reasons.some(({ type }) =>
      ['membership-missing', 'code-unfinished'].includes(type),
    );
    if (action === 'unchanged') ok(`${name} is as it should be${why && `, but: ${why}`}`);
    else if (action === 'new') warn(`${name} is not deployed yet: ${setup}`);
    else if (action === 'change') (dead ? wrong : warn)(`${name}: ${why}: ${setup}`);
    else (action === 'blocked' ? wrong : warn)(`${name}: ${why}`);
  }
}

/** Failures of the last day. */
async function lookAtRuns(
  server: Server,
  environment: string,
  own: ReturnType<typeof ownBots>,
): Promise<void> {
  if (own.length === 0) return;
  const since = new Date(Date.now() - 24 * 60 * 60 * 1000).toISOString();
  const ids = own.map(({ bot }) => bot.id);
  const failed = await readRuns(server, ids, `outcome=4,8&_lastUpdated=gt${since}&_count=1000`);
  if (failed.length === 0) ok('no run failed in the last 24 hours');
  for (const { name, bot } of own) {
    const its = failed.filter((run) => isOf(run, bot.id));
    const cure = commandFor(environment, 'logs', name, '--failed');
    if (its[0])
      wrong(`${name} failed ${its.length} times in 24 hours, last at ${its[0].recorded}: ${cure}`);
  }
}
