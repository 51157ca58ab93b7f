// `npm run demo`: tells the whole story once. Exit 0 only if the external server ended as it
// should.
import { MedplumClient } from '@medplum/core';
import type { Patient } from '@medplum/fhirtypes';
import { existsSync } from 'node:fs';
import { Command } from 'commander';
import { bold, dim, green, red, table } from '../terminal/output.ts';
import { loadConfig } from '../config/config.ts';
import { deploy } from '../deploy/deploy.ts';
import type { Run } from '../medplum/bot-execution.ts';
import { localTarget, startLocal } from '../local-servers.ts';
import type { LocalServers } from '../local-servers.ts';
import { living, nameOf } from '../page/store-view.ts';
import type { ExternalServer } from '../external-server.ts';

/** How long a step may take, in milliseconds: bots retry, so it is generous. */
const PATIENCE = 15_000;
const FLORENCE: Patient = {
  resourceType: 'Patient',
  active: true,
  identifier: [{ system: 'https://example.com/mrn', value: 'MRN-1' }],
  name: [{ given: ['Florence'], family: 'Nightingale' }],
};
/** What is done in Medplum, and what the external server has to show afterwards. */
const STORY = [
  {
    title: 'A patient is created in Medplum',
    interaction: 'create',
    expected: 'Florence Nightingale',
  },
  {
    title: 'She gets a birth date',
    interaction: 'update',
    expected: 'Florence Nightingale, born 1820-05-12',
  },
  { title: 'She is deleted', interaction: 'delete', expected: 'no one' },
] as const;

export const command = new Command('demo')
  .description('Start local servers, deploy, and show a patient being created, updated and deleted')
  .addHelpText('after', '\nExample: npm run demo')
  .action(async () => {
    process.exitCode = await demo();
  });

async function demo(): Promise<number> {
  const { bots } = loadConfig();
  const listening = bots.filter((bot) =>
    bot.subscriptions.some(({ criteria }) => /^Patient\b/.test(criteria)),
  );
  const heard = listening.flatMap(({ subscriptions }) =>
    subscriptions.flatMap(({ interactions }) => interactions),
  );
  const syncs = listening.some(({ secrets }) =>
    secrets.some(({ name }) => name === 'HAPI_BASE_URL'),
  );
  if (!existsSync('dist/manifest.json')) {
    const { bundle } = (await import('../../../esbuild-script.mjs')) as {
      bundle(): Promise<unknown>;
    };
    await bundle();
  }
  const servers = await startLocal();
  try {
    const { baseUrl } = servers.medplum;
    console.log(
      `${bold('Two servers')}  Medplum ${baseUrl}  external FHIR server ${servers.fhir?.baseUrl ?? 'none'}\n`,
    );
    const target = localTarget(servers);
    const { failed } = await deploy({ target, yes: true, log: (line) => console.log(line) });
    if (failed.length > 0) {
      return 1;
    }
    console.log();
    const medplum = new MedplumClient({ baseUrl, fetch });
    await medplum.startClientLogin(target.clientId, target.clientSecret);
    const runs: Run[] = [];
    servers.medplum.events.on('run', (run) => runs.push(run));
    let good = true;
    for (const { title, interaction, expected } of STORY) {
      runs.length = 0;
      await act(medplum, interaction);
      const reached = await wait(
        servers,
        runs,
        heard.includes(interaction),
        syncs ? expected : 'no one',
      );
      tell(title, reached, runs, servers, syncs);
      good &&= reached;
    }
    const verdict = good ? green : red;
    console.log(
      verdict(
        `The ${syncs ? 'external server' : 'bot'} ${good ? 'followed' : 'did not follow'} every step.`,
      ),
    );
    if (good) {
      console.log(`Next: ${bold('npm run dev')}, and change a file in src/.`);
    }
    return good ? 0 : 1;
  } finally {
    await servers.stop();
  }
}

async function act(
  medplum: MedplumClient,
  interaction: 'create' | 'update' | 'delete',
): Promise<unknown> {
  if (interaction === 'create') {
    return medplum.createResource(FLORENCE);
  }
  const patient = (await medplum.searchOne('Patient', '', { cache: 'reload' }))!;
  if (interaction === 'delete') {
    return medplum.deleteResource('Patient', patient.id);
  }
  return medplum.updateResource({ ...patient, birthDate: '1820-05-12' });
}

/**
 * @returns whether, in time, a bot ran (if one listens) without failing, and the external server
 *   shows who it has to
 */
async function wait(
  { fhir }: LocalServers,
  runs: Run[],
  heard: boolean,
  expected: string,
): Promise<boolean> {
  const isThere = (): boolean =>
    runs.length > 0 === heard && (fhir ? patientsOf(fhir.store) : expected) === expected;
  for (const end = Date.now() + PATIENCE; !isThere() && Date.now() < end;) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return isThere() && runs.every(({ success }) => success);
}

function tell(
  title: string,
  good: boolean,
  runs: Run[],
  { medplum, fhir }: LocalServers,
  syncs: boolean,
): void {
  console.log(`${good ? green('✔') : red('✘')} ${bold(title)}`);
  for (const { bot, milliseconds, success, log } of runs) {
    console.log(`  ${bot.name} ran ${milliseconds} ms${success ? '' : red(' and failed')}`);
    for (const line of log.split('\n').filter(Boolean)) {
      console.log(dim(`    ${line}`));
    }
  }
  const rows = [['  Medplum', patientsOf(medplum.repository.state.store)]];
  if (syncs && fhir) {
    rows.push(['  External server', patientsOf(fhir.store)]);
  }
  console.log(`${table(['  Patients', ''], rows)}\n`);
}

function patientsOf(store: ExternalServer['store']): string {
  const patients = living<Patient>(store, 'Patient').map(({ name, birthDate }) => {
    return birthDate ? `${nameOf(name)}, born ${birthDate}` : nameOf(name);
  });
  return patients.join('; ') || 'no one';
}
