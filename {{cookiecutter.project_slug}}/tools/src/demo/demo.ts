// The demo: a patient is created, changed and deleted in Medplum, and the bots run.
import { MedplumClient } from '@medplum/core';
import { existsSync } from 'node:fs';
import { isAbsolute, relative } from 'node:path';
import { STEPS } from './steps.ts';
import type { Step } from './steps.ts';
import { describePatients, patientsOf } from './patients.ts';
import { loadConfig } from '../config/config.ts';
import type { BotConfig } from '../config/config.ts';
import { deploy } from '../deploy/deploy.ts';
import { localTarget, startLocal } from '../local-servers.ts';
import type { LocalServers } from '../local-servers.ts';
import type { Run } from '../medplum/bot-runs.ts';
import { bold, dim, green, red, table } from '../terminal/output.ts';

/** How long a step may take, in milliseconds. It is generous, because bots retry. */
const STEP_LIMIT = 15_000;
const POLL_INTERVAL = 20;

/** What the bots of this repository do with patients. */
interface Expectation {
  /** The interactions with patients that start a bot. */
  interactions: string[];
  /** Whether a bot copies patients to the external server. */
  syncs: boolean;
}

/** @returns whether every step ended as it should */
export async function runDemo(): Promise<boolean> {
  const { bots } = loadConfig();
  await buildOnce();
  const servers = await startLocal();
  try {
    return await show(servers, expectationOf(bots));
  } finally {
    await servers.stop();
  }
}

async function buildOnce(): Promise<void> {
  if (existsSync('dist/manifest.json')) {
    return;
  }
  const { bundle } = (await import('../../../esbuild-script.mjs')) as {
    bundle(): Promise<unknown>;
  };
  await bundle();
}

function expectationOf(bots: readonly BotConfig[]): Expectation {
  const listening = bots.filter(({ subscriptions }) => {
    return subscriptions.some(({ criteria }) => /^Patient\b/.test(criteria));
  });
  const subscriptions = listening.flatMap((bot) => bot.subscriptions);
  return {
    interactions: subscriptions.flatMap(({ interactions }) => interactions),
    syncs: listening.some(({ secrets }) => secrets.some(({ name }) => name === 'HAPI_BASE_URL')),
  };
}

async function show(servers: LocalServers, expectation: Expectation): Promise<boolean> {
  const { baseUrl } = servers.medplum;
  const external = servers.fhir ? `  external FHIR server ${servers.fhir.baseUrl}` : '';
  const title = servers.fhir ? 'Two servers' : 'A local server';
  console.log(`${bold(title)}  Medplum ${baseUrl}${external}\n`);
  const target = localTarget(servers);
  const { failed } = await deploy({ target, yes: true, log: (line) => console.log(line) });
  if (failed.length > 0) {
    return false;
  }
  console.log();
  const medplum = new MedplumClient({ baseUrl, fetch });
  await medplum.startClientLogin(target.clientId, target.clientSecret);
  let succeeded = true;
  for (const step of STEPS) {
    const earlier = new Set(servers.medplum.runs.list());
    const runs = (): Run[] => servers.medplum.runs.list().filter((run) => !earlier.has(run));
    await step.act(medplum);
    const ended = await waitForStep(servers, step, expectation, runs);
    report(servers, step, expectation, runs(), ended);
    succeeded &&= ended;
  }
  printOutcome(succeeded, expectation);
  return succeeded;
}

/**
 * Waits until the bots have run, and the external server holds the patients that it should.
 *
 * @returns whether that happened in time, without a failed run
 */
async function waitForStep(
  { fhir }: LocalServers,
  { interaction, expected }: Step,
  { interactions, syncs }: Expectation,
  runs: () => Run[],
): Promise<boolean> {
  const startsBot = interactions.includes(interaction);
  const wanted = describePatients(syncs ? expected : []);
  const hasEnded = (): boolean => {
    const ended = runs().filter(({ state }) => state !== 'running');
    const hasRun = ended.length > 0 === startsBot && ended.length === runs().length;
    return hasRun && (!fhir || describePatients(patientsOf(fhir.store)) === wanted);
  };
  const end = Date.now() + STEP_LIMIT;
  while (!hasEnded() && Date.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL));
  }
  return hasEnded() && runs().every(({ success }) => success);
}

function report(
  { medplum, fhir }: LocalServers,
  { title }: Step,
  { syncs }: Expectation,
  runs: readonly Run[],
  succeeded: boolean,
): void {
  console.log(`${succeeded ? green('✔') : red('✘')} ${bold(title)}`);
  for (const { bot, milliseconds, success, log } of runs) {
    console.log(`  ${bot.name} ran ${milliseconds} ms${success ? '' : red(' and failed')}`);
    for (const line of log.split('\n').filter(Boolean)) {
      console.log(dim(`    ${line}`));
    }
  }
  const ofMedplum = patientsOf(medplum.repository.state.store);
  const rows = [['  Medplum', describePatients(ofMedplum)]];
  if (syncs && fhir) {
    rows.push(['  External server', describePatients(patientsOf(fhir.store))]);
  }
  console.log(`${table(['  Patients', ''], rows)}\n`);
}

function printOutcome(succeeded: boolean, { syncs }: Expectation): void {
  const subject = syncs ? 'The external server' : 'The bot';
  if (!succeeded) {
    console.log(red(`${subject} did not follow every step.`));
    return;
  }
  console.log(green(`${subject} followed every step.`));
  if (isStartedInRepository()) {
    console.log(`Next: ${bold('npm run dev')}, and change a file in src/.`);
  }
}

/** With `npm --prefix <folder> run demo`, `npm run dev` would fail in the user's folder. */
function isStartedInRepository(): boolean {
  const path = relative(process.cwd(), process.env['INIT_CWD'] ?? process.cwd());
  return !path.startsWith('..') && !isAbsolute(path);
}
