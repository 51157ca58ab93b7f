// `npm run demo`: tells the whole story once. Exit 0 only if the external server ended as it should.
import { MedplumClient } from '@medplum/core';
import type { WithId } from '@medplum/core';
import type { Patient } from '@medplum/fhirtypes';
import { existsSync } from 'node:fs';
import { bold, dim, green, main, readArgs, red, table } from '../cli.ts';
import { loadConfig } from '../config.ts';
import { deploy } from '../deploy/deploy.ts';
import { LOCAL } from './access.ts';
import type { Run } from './bots.ts';
import { startLocal } from './local.ts';
import type { LocalServers } from './local.ts';
import { living, nameOf } from './page.ts';
import type { Store } from './store.ts';

/** How long a step may take, in milliseconds: bots retry, so it is generous. */
const PATIENCE = 15_000;

/** One step: what is done in Medplum, and what the external server has to show afterwards. */
interface Step {
  title: string;
  interaction: 'create' | 'update' | 'delete';
  run(medplum: MedplumClient): Promise<unknown>;
  expected: string[];
}

async function demo(): Promise<number> {
  readArgs({ options: {} });
  const { bots } = loadConfig();
  const listening = bots.filter(({ subscriptions }) =>
    subscriptions.some(({ criteria }) => /^Patient\b/.test(criteria)),
  );
  const syncs = listening.some(({ secrets }) => secrets.some(({ name }) => name === 'HAPI_BASE_URL'));
  const heard = listening.flatMap(({ subscriptions }) => subscriptions.flatMap(({ interactions }) => interactions));
  if (!existsSync('dist/manifest.json')) {
    const { bundle } = (await import('../../esbuild-script.mjs')) as { bundle(): Promise<unknown> };
    await bundle();
  }
  const servers = await startLocal();
  try {
    const medplum = new MedplumClient({ baseUrl: servers.medplum.baseUrl, fetch });
    await medplum.startClientLogin(LOCAL.clientId, LOCAL.clientSecret);
    console.log(
      `${bold('Two servers')}  Medplum ${servers.medplum.baseUrl}  external FHIR server ${servers.fhir.baseUrl}\n`,
    );
    process.env['MEDPLUM_BASE_URL'] = servers.medplum.baseUrl;
    const { failed } = await deploy({ yes: true, log: (line) => console.log(line) });
    if (failed.length > 0) return 1;
    const runs: Run[] = [];
    servers.medplum.events.on('run', (run) => runs.push(run));
    let asExpected = true;
    for (const step of story(syncs)) {
      const good = await tell(step, heard.includes(step.interaction), medplum, servers, runs, syncs);
      asExpected &&= good;
    }
    const good = syncs ? 'The external server followed every step.' : 'The bot ran whenever it had to.';
    const bad = syncs ? 'The external server did not end as it should.' : 'The bot did not run as it should.';
    console.log(asExpected ? green(good) : red(bad));
    if (asExpected) console.log(`Next: ${bold('npm run dev')}, and change a file in src/.`);
    return asExpected ? 0 : 1;
  } finally {
    await servers.stop();
  }
}

function story(syncs: boolean): Step[] {
  let patient: WithId<Patient>;
  const identifier = [{ system: 'https://example.com/mrn', value: 'MRN-1' }];
  const name = [{ family: 'Nightingale', given: ['Florence'] }];
  const create = async (medplum: MedplumClient): Promise<void> => {
    patient = await medplum.createResource<Patient>({ resourceType: 'Patient', active: true, identifier, name });
  };
  const update = async (medplum: MedplumClient): Promise<void> => {
    patient = await medplum.updateResource<Patient>({ ...patient, birthDate: '1820-05-12' });
  };
  const remove = (medplum: MedplumClient): Promise<unknown> => medplum.deleteResource('Patient', patient.id);
  const expected = (...rows: string[]): string[] => (syncs ? rows : []);
  return [
    {
      title: 'A patient is created in Medplum',
      interaction: 'create',
      run: create,
      expected: expected('Florence Nightingale'),
    },
    {
      title: 'She gets a birth date',
      interaction: 'update',
      run: update,
      expected: expected('Florence Nightingale, born 1820-05-12'),
    },
    { title: 'She is deleted', interaction: 'delete', run: remove, expected: [] },
  ];
}

/** @returns whether a bot ran, if one listens, without failing, and the external server shows what it has to */
async function tell(
  step: Step,
  heard: boolean,
  medplum: MedplumClient,
  servers: LocalServers,
  runs: Run[],
  syncs: boolean,
): Promise<boolean> {
  const { fhir } = servers;
  runs.length = 0;
  await step.run(medplum);
  const end = Date.now() + PATIENCE;
  let outside = patientsOf(fhir.store);
  const isThere = (): boolean => runs.length > 0 === heard && outside.join() === step.expected.join();
  while (!isThere() && Date.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    outside = patientsOf(fhir.store);
  }
  const inside = patientsOf(servers.medplum.repository.world.store);
  const good = isThere() && runs.every(({ success }) => success);
  console.log(`${good ? green('✔') : red('✘')} ${bold(step.title)}`);
  for (const { bot, milliseconds, success, log } of runs) {
    console.log(`  ${bot.name} ran ${milliseconds} ms${success ? '' : red(' and failed')}`);
    for (const line of log.split('\n').filter(Boolean)) console.log(dim(`    ${line}`));
  }
  const show = (list: string[]): string => list.join('; ') || 'nobody';
  const rows = [['Medplum', show(inside)], ...(syncs ? [['External server', show(outside)]] : [])];
  console.log(
    `${table(
      ['  Patients', ''],
      rows.map(([where, who]) => [`  ${where}`, who!]),
    )}\n`,
  );
  return good;
}

function patientsOf(store: Store): string[] {
  return living<Patient>(store, 'Patient').map(({ name, birthDate }) => {
    return birthDate ? `${nameOf(name)}, born ${birthDate}` : nameOf(name);
  });
}

if (import.meta.main) await main(demo);
