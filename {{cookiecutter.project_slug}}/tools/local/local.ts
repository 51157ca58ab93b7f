// `npm run local`: a Medplum server and an external FHIR server on this machine, until they are stopped.
import { UserError, bold, dim, main, readArgs, table } from '../cli.ts';
import { LOCAL } from './access.ts';
import { parseFault } from './faults.ts';
import type { Fault } from './faults.ts';
import type { FhirServer } from './fhir-server.ts';
import type { MedplumServer } from './medplum-server.ts';

export interface LocalServers {
  medplum: MedplumServer;
  fhir: FhirServer;
  stop(): Promise<void>;
}

/**
 * Starts both; bots find the FHIR server's address in the secret HAPI_BASE_URL.
 *
 * @param port - of the Medplum server; 0 takes a free one
 * @param fhirPort - of the FHIR server; 0 takes a free one
 * @throws UserError where a port is taken
 */
export async function startLocal(port = 0, fhirPort = 0): Promise<LocalServers> {
  const { startFhirServer } = await import('./fhir-server.ts');
  const { startMedplumServer } = await import('./medplum-server.ts');
  const { addPage } = await import('./page.ts');
  const fhir = await startFhirServer({ port: fhirPort }).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'EADDRINUSE' ? new UserError(portIsTaken(fhirPort, 'fhir-port')) : error;
  });
  try {
    const secrets = { HAPI_BASE_URL: fhir.baseUrl };
    const medplum = await startMedplumServer({ port, secrets, extend: (app, server) => addPage(app, server, fhir) });
    return { medplum, fhir, stop: async () => void (await Promise.all([medplum.stop(), fhir.stop()])) };
  } catch (error) {
    await fhir.stop();
    throw (error as NodeJS.ErrnoException).code === 'EADDRINUSE' ? new UserError(portIsTaken(port, 'port')) : error;
  }
}

function portIsTaken(port: number, flag: string): string {
  return `Port ${port} is taken: stop what uses it, or choose another with -- --${flag} (0 takes a free one).`;
}

/** Reads `--port`, `--fhir-port` and `--fault`, starts both servers and ends them with the process. */
export async function startFromCommandLine(): Promise<LocalServers> {
  const options = {
    port: { type: 'string' },
    'fhir-port': { type: 'string' },
    fault: { type: 'string', multiple: true },
  } as const;
  const { values } = readArgs({ options });
  const faults = (values.fault ?? []).map(toFault);
  const servers = await startLocal(
    toPort(values.port ?? '8103', 'port'),
    toPort(values['fhir-port'] ?? '8080', 'fhir-port'),
  );
  servers.fhir.faults.add(...faults);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(0));
  servers.medplum.events.on('warning', (text) => console.log(`${bold('warning')}  ${text}`));
  return servers;
}

function toPort(text: string, flag: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= 65_535) return port;
  throw new UserError(`--${flag} ${text} is no port: give a number from 0 to 65535 (0 takes a free one).`);
}

/** Commands of this process talk to the local server from now on, whatever the environment says. */
export function useLocalCredentials(baseUrl: string): void {
  process.env['MEDPLUM_BASE_URL'] = baseUrl;
  process.env['MEDPLUM_PROJECT_ID'] = LOCAL.projectId;
  process.env['MEDPLUM_CLIENT_ID'] = LOCAL.clientId;
  process.env['MEDPLUM_CLIENT_SECRET'] = LOCAL.clientSecret;
}

/** `503:times=2`: the external server fails so (faults.ts has all of them). */
function toFault(text: string): Fault {
  try {
    return parseFault(text);
  } catch (error) {
    throw new UserError((error as Error).message);
  }
}

/** @returns what to type into other programs, as a table */
export function describe({ medplum, fhir }: LocalServers): string {
  const rows = [
    ['Medplum, and a page to watch it', medplum.baseUrl],
    ['External FHIR server', fhir.baseUrl],
    ['MEDPLUM_PROJECT_ID', LOCAL.projectId],
    ['MEDPLUM_CLIENT_ID', LOCAL.clientId],
    ['MEDPLUM_CLIENT_SECRET', LOCAL.clientSecret],
    [dim('a client without admin rights'), dim(`${LOCAL.noAdminId} ${LOCAL.noAdminSecret}`)],
  ];
  return table(['Local servers', ''], rows);
}

if (import.meta.main) {
  await main(async () => {
    const servers = await startFromCommandLine();
    console.log(
      `${describe(servers)}\n${dim('Everything is in memory, and gone with Ctrl+C. `npm run dev` also deploys and watches.')}`,
    );
  });
}
