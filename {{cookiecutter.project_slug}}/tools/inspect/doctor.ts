// `npm run doctor`: looks at everything and changes nothing; each finding comes with what mends it.
import type { AuditEvent, Bundle } from '@medplum/fhirtypes';
import { RESOURCE_TYPES } from '../build/resource-types.ts';
import { green, main, readArgs, red, yellow } from '../cli.ts';
import { loadConfig } from '../config.ts';
import { readActual } from '../deploy/actual.ts';
import type { Actual } from '../deploy/actual.ts';
import { loadDesired } from '../deploy/desired.ts';
import type { Desired } from '../deploy/desired.ts';
import { MAX_ACTIVE_SUBSCRIPTIONS, plan } from '../deploy/plan.ts';
import { connect } from '../deploy/server.ts';
import type { Server } from '../deploy/server.ts';
import { readEnvironment } from '../env.ts';
import { EXECUTIONS } from './logs.ts';

interface Finding {
  level: 'ok' | 'warning' | 'wrong';
  text: string;
}
const ok = (text: string): Finding => ({ level: 'ok', text });
const warning = (text: string): Finding => ({ level: 'warning', text });
const wrong = (text: string): Finding => ({ level: 'wrong', text });

await main(async () => {
  const { values } = readArgs({ options: { env: { type: 'string' } } });
  const findings: Finding[] = [nodeVersion()];
  const { identifierSystem: system, bots } = loadConfig();
  findings.push(ok(`medplum.config.json: ${bots.length} bots`));
  const environment = readEnvironment(values.env);
  const desired = attempt(findings, () => loadDesired(process.cwd(), environment.name));
  const server = await connect(environment);
  findings.push(ok(`${environment.baseUrl} knows these credentials, and their project is ${environment.projectId}`));
  const actual = await readActual(server);
  findings.push(...projectFindings(actual), ...subscriptionFindings(actual), ...membershipFindings(actual));
  findings.push(...(desired ? planFindings(desired, actual) : []), ...(await failures(server, actual, system)));
  const signs = { ok: green('✓'), warning: yellow('!'), wrong: red('x') };
  for (const { level, text } of findings) console.log(`${signs[level]} ${text}`);
  return findings.some(({ level }) => level === 'wrong') ? 1 : 0;
});

function attempt<T>(findings: Finding[], work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    findings.push(...(error as Error).message.split('\n').map(wrong));
    return undefined;
  }
}

function nodeVersion(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const text = `Node ${process.versions.node}`;
  return major > 24 || (major === 24 && minor >= 2) ? ok(text) : wrong(`${text}: 24.2 or newer is needed. See .nvmrc`);
}

function projectFindings({ project, policies }: Actual): Finding[] {
  if (!project) {
    const limits = 'features, secrets and memberships cannot be seen, and no new bot can be made';
    return [warning(`These credentials are no project admin: ${limits}. In Medplum: Project Admin > Clients`)];
  }
  const missing = policies
    ? []
    : [warning('These credentials may not read access policies: those of bots are not checked')];
  return [ok(`Features of the project: ${project.features?.join(', ') || 'none'}`), ...missing];
}

function subscriptionFindings({ subscriptions, bots }: Actual): Finding[] {
  const active = subscriptions.filter(({ status }) => status === 'active');
  const text = `${active.length} of ${MAX_ACTIVE_SUBSCRIPTIONS} active subscriptions`;
  const findings = [
    active.length > MAX_ACTIVE_SUBSCRIPTIONS ? wrong(`${text}: the newest never fire. Remove some`) : ok(text),
  ];
  for (const { id, criteria, channel } of active) {
    const bot = /^Bot\/(.+)$/.exec(channel?.endpoint ?? '')?.[1];
    const cure = `Remove it: DELETE Subscription/${id}, or npm run setup:bots -- --prune where it was this repository's`;
    if (bot && !bots.some((one) => one.id === bot))
      findings.push(warning(`Subscription/${id} starts Bot/${bot}, which is not there. ${cure}`));
    const type = criteria?.split('?')[0] ?? '';
    if (!RESOURCE_TYPES.includes(type))
      findings.push(wrong(`Subscription/${id} never fires: "${type}" is no resource type. ${cure}`));
  }
  return findings;
}

function membershipFindings({ memberships = [], bots }: Actual): Finding[] {
  const ids = new Set(bots.map(({ id }) => `Bot/${id}`));
  const left = memberships.filter(({ profile }) => !ids.has(profile.reference ?? ''));
  return left.map(({ id, profile }) =>
    warning(`ProjectMembership/${id} is of ${profile.reference}, which is gone. DELETE it in Medplum`),
  );
}

function planFindings(desired: Desired, actual: Actual): Finding[] {
  const { changes, problems, warnings } = plan(desired, actual);
  return [
    ...problems.map(wrong),
    ...warnings.filter((text) => !text.startsWith('These credentials')).map(warning),
    ...changes.map(({ name, action, reasons }) => {
      const said = reasons.length > 0 ? ` (${reasons.join(', ')})` : '';
      if (action === 'unchanged') return ok(`${name} is as this repository says${said}`);
      if (action === 'blocked') return wrong(`${name}: ${reasons.join(', ')}`);
      if (action === 'held') return warning(`${name} is held${said}`);
      const dead = reasons.some((reason) => /^membership|did not finish/.test(reason));
      const text =
        action === 'new'
          ? `${name} is not deployed yet`
          : action === 'orphan'
            ? `${name} is${said}`
            : `${name} differs${said}`;
      return (dead ? wrong : warning)(
        action === 'orphan' ? text.replace('is (', 'is ').replace(/\)$/, '') : `${text}. npm run setup:bots`,
      );
    }),
  ];
}

/** Of the last day, one line for each bot. */
async function failures(server: Server, { bots }: Actual, system: string): Promise<Finding[]> {
  const prefix = `${server.environment.name}/`;
  const ours = bots.flatMap(({ id, identifier }) => {
    const key = identifier?.find((one) => one.system === system && one.value?.startsWith(prefix))?.value;
    return key ? [{ id, name: key.slice(prefix.length) }] : [];
  });
  if (ours.length === 0) return [];
  const since = new Date(Date.now() - 24 * 60 * 60 * 1000).toISOString();
  const query = `entity=${ours.map(({ id }) => `Bot/${id}`).join(',')}&outcome=4,8&_lastUpdated=gt${since}&_count=1000`;
  const found = await server.send<Bundle<AuditEvent>>('GET', `AuditEvent?${query}&${EXECUTIONS}`);
  const events = (found.entry ?? []).map((entry) => entry.resource!);
  const failed = ours.flatMap(({ id, name }) => {
    const its = events.filter(({ entity }) => entity?.some(({ what }) => what?.reference === `Bot/${id}`));
    if (its.length === 0) return [];
    return [
      wrong(
        `${name} failed ${its.length} times in 24 hours, last at ${its[0]!.recorded}. npm run logs -- ${name} --failed`,
      ),
    ];
  });
  return failed.length > 0 ? failed : [ok('No run failed in the last 24 hours')];
}
