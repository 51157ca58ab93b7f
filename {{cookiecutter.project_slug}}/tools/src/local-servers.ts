// The servers of `npm run dev`, `local` and `demo`: a Medplum, and a FHIR server where the sync examples need one.
import type { Command } from 'commander';
import { collect } from './command-line.ts';
import { hasFhirServer, loadFhirServer } from './external-server.ts';
import type { ExternalServer } from './external-server.ts';
import { LOCAL } from './medplum/local-project.ts';
import { addMedplumOptions, toMedplumOptions } from './medplum/server-options.ts';
import type { TypedMedplumOptions } from './medplum/server-options.ts';
import type { MedplumServer, MedplumServerOptions } from './medplum/server.ts';
import { bold, dim, table } from './terminal/output.ts';
import { UserError } from './terminal/user-error.ts';

export interface LocalServers {
  medplum: MedplumServer;
  /** The external FHIR server; only repositories with the sync examples have one. */
  fhir: ExternalServer | undefined;
  stop(): Promise<void>;
}

/**
 * Starts the local servers. Bots find the FHIR server's address in the secret HAPI_BASE_URL.
 *
 * @param port - of the Medplum server; 0 takes a free one
 * @param fhirPort - of the FHIR server; 0 takes a free one
 * @param faults - of the FHIR server, such as `503:times=2`
 * @param medplumOptions - of the Medplum server: its version, a quota, a stale cache
 * @throws UserError where a port is taken or a fault is not known
 */
export async function startLocal(
  port = 0,
  fhirPort = 0,
  faults: string[] = [],
  medplumOptions: Partial<MedplumServerOptions> = {},
): Promise<LocalServers> {
  const { startMedplumServer } = await import('./medplum/server.ts');
  const { addPage } = await import('./page/page.ts');
  const fhir = await startFhirServer(fhirPort, faults);
  try {
    const medplum = await startMedplumServer({
      ...medplumOptions,
      port,
      secrets: fhir ? { HAPI_BASE_URL: fhir.baseUrl } : {},
      extend: (app, server) => addPage(app, server, fhir),
    });
    const stop = async (): Promise<void> => {
      await Promise.all([medplum.stop(), fhir?.stop()]);
    };
    return { medplum, fhir, stop };
  } catch (error) {
    await fhir?.stop();
    throw isPortTaken(error) ? new UserError(portIsTaken(port, 'port')) : error;
  }
}

/** @returns undefined where this repository has no FHIR server */
async function startFhirServer(
  port: number,
  faults: string[],
): Promise<ExternalServer | undefined> {
  if (!hasFhirServer()) {
    return undefined;
  }
  const { startFhirServer, parseFault } = await loadFhirServer();
  const parsed = faults.map((text) => {
    try {
      return parseFault(text);
    } catch (error) {
      throw new UserError((error as Error).message);
    }
  });
  try {
    const server = await startFhirServer({ port });
    server.faults.add(...parsed);
    return server;
  } catch (error) {
    throw isPortTaken(error) ? new UserError(portIsTaken(port, 'fhir-port')) : error;
  }
}

function isPortTaken(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
}

function portIsTaken(port: number, flag: string): string {
  return `Port ${port} is taken: stop what uses it, or choose another with -- --${flag} (0 takes a free one).`;
}

export interface ServerOptions extends TypedMedplumOptions {
  /** Port numbers as they were typed; 0 takes a free one. */
  port: string;
  fhirPort?: string;
  /** Faults of the external FHIR server, such as `503:times=2`. */
  fault?: string[];
}

/** Adds `--port`, the local Medplum's options and, where there is a local FHIR server, `--fhir-port` and `--fault`. */
export function addServerOptions(command: Command): Command {
  command.option('--port <port>', 'of the local Medplum; 0 takes a free one', '8103');
  if (hasFhirServer()) {
    command
      .option('--fhir-port <port>', 'of the local FHIR server; 0 takes a free one', '8080')
      .option(
        '--fault <fault>',
        'let the FHIR server fail, such as 503:times=2 (may be repeated)',
        collect,
        [],
      );
  }
  return addMedplumOptions(command);
}

/** Starts the local servers and ends them with the process. */
export async function startServers({
  port,
  fhirPort = '0',
  fault = [],
  ...typed
}: ServerOptions): Promise<LocalServers> {
  const servers = await startLocal(
    toPort(port, 'port'),
    toPort(fhirPort, 'fhir-port'),
    fault,
    toMedplumOptions(typed),
  );
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => process.exit(0));
  }
  servers.medplum.events.on('warning', (text) => console.log(`${bold('warning')}  ${text}`));
  return servers;
}

function toPort(text: string, flag: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= 65_535) return port;
  throw new UserError(
    `--${flag} ${text} is not a port: give a number from 0 to 65535 (0 takes a free one).`,
  );
}

/** Commands of this process talk to the local server from now on, whatever the environment says. */
export function useLocalCredentials(baseUrl: string): void {
  process.env['MEDPLUM_BASE_URL'] = baseUrl;
  process.env['MEDPLUM_PROJECT_ID'] = LOCAL.projectId;
  process.env['MEDPLUM_CLIENT_ID'] = LOCAL.clientId;
  process.env['MEDPLUM_CLIENT_SECRET'] = LOCAL.clientSecret;
}

/** @returns what to type into other programs, as a table */
export function describe({ medplum, fhir }: LocalServers): string {
  const rows = [
    ['Medplum, and a page to watch it', medplum.baseUrl],
    ...(fhir ? [['External FHIR server', fhir.baseUrl]] : []),
    ['MEDPLUM_PROJECT_ID', LOCAL.projectId],
    ['MEDPLUM_CLIENT_ID', LOCAL.clientId],
    ['MEDPLUM_CLIENT_SECRET', LOCAL.clientSecret],
    [dim('a client without admin rights'), dim(`${LOCAL.noAdminId} ${LOCAL.noAdminSecret}`)],
  ];
  return table(['Local servers', ''], rows);
}
