// The servers of `npm run dev`, `local` and `demo`: a Medplum, and a FHIR server where the sync
// examples need one.
import { MedplumClient } from '@medplum/core';
import type { Bundle, Resource } from '@medplum/fhirtypes';
import type { Command } from 'commander';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { collect } from './command-line.ts';
import type { Environment } from './config/environment.ts';
import { noteRunningServer } from './config/running-server.ts';
import { readVariables } from './config/text-file.ts';
import { hasFhirServer, loadFhirServer } from './external-server.ts';
import type { ExternalServer } from './external-server.ts';
import { LOCAL } from './medplum/local-project.ts';
import type { ClientSecrets } from './medplum/local-project.ts';
import { addMedplumOptions, toMedplumOptions } from './medplum/server-options.ts';
import type { TypedMedplumOptions } from './medplum/server-options.ts';
import type { MedplumServer, MedplumServerOptions } from './medplum/server.ts';
import { bold, dim, table } from './terminal/output.ts';
import { UserError } from './terminal/user-error.ts';

export interface LocalServers {
  medplum: MedplumServer;
  /** The external FHIR server; only repositories with the sync examples have one. */
  fhir: ExternalServer | undefined;
  /** Of the two clients of the local project. */
  clientSecrets: ClientSecrets;
  stop(): Promise<void>;
}

export interface LocalOptions {
  /** Of the Medplum server; 0 takes a free one. */
  port?: number;
  /** Of the FHIR server; 0 takes a free one. */
  fhirPort?: number;
  /** Of the FHIR server, such as `503:times=2`. */
  faults?: string[];
  /** Values of the project's secrets. */
  secrets?: Record<string, string>;
  /** Of the two clients; new ones if left out. */
  clientSecrets?: ClientSecrets;
  /** Only for this process: other commands do not find it. */
  isPrivate?: boolean;
  /** Of the Medplum server: its version, a quota, a stale cache. */
  medplumOptions?: Partial<MedplumServerOptions>;
}

/**
 * Starts the local servers. Bots find the address of the FHIR server in the secret HAPI_BASE_URL.
 *
 * @throws UserError if a port is taken or a fault is unknown
 */
export async function startLocal(options: LocalOptions = {}): Promise<LocalServers> {
  const { port = 0, fhirPort = 0, faults = [], secrets = {} } = options;
  const { startMedplumServer } = await import('./medplum/server.ts');
  const { addPage } = await import('./page/page.ts');
  const { addCommandApi } = await import('./command-api.ts');
  const clientSecrets = options.clientSecrets ?? newClientSecrets();
  const fhir = await startFhirServer(fhirPort, faults);
  try {
    const medplum = await startMedplumServer({
      ...options.medplumOptions,
      port,
      secrets: { ...(fhir && { HAPI_BASE_URL: fhir.baseUrl }), ...secrets },
      clientSecrets,
      extend: (app, server) => {
        addCommandApi(app, server);
        addPage(app, server, fhir);
      },
    });
    const { projectId, clientId } = LOCAL;
    const { clientSecret } = clientSecrets;
    const { baseUrl } = medplum;
    const forget = options.isPrivate
      ? (): void => undefined
      : noteRunningServer({ baseUrl, projectId, clientId, clientSecret });
    process.once('exit', forget);
    const stop = async (): Promise<void> => {
      process.off('exit', forget);
      forget();
      await Promise.all([medplum.stop(), fhir?.stop()]);
    };
    return { medplum, fhir, clientSecrets, stop };
  } catch (error) {
    await fhir?.stop();
    throw isPortTaken(error) ? new UserError(portIsTaken(port, 'port')) : error;
  }
}

function newClientSecrets(): ClientSecrets {
  return {
    clientSecret: randomBytes(24).toString('base64url'),
    noAdminSecret: randomBytes(24).toString('base64url'),
  };
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
  return (
    `Port ${port} is taken: stop what uses it, or ` +
    `choose another with -- --${flag} (0 takes a free one).`
  );
}

/** Of `--persist` without a folder. Git ignores it. */
const DEFAULT_DATA_FOLDER = join('node_modules', '.cache', 'medplum-bots', 'local-medplum');

export interface ServerOptions extends TypedMedplumOptions {
  /** Port numbers as they were typed; 0 takes a free one. */
  port: string;
  fhirPort?: string;
  /** Faults of the external FHIR server, such as `503:times=2`. */
  fault?: string[];
  /** Files with resources and bundles that are there from the start. */
  seed: string[];
  /** The folder that keeps what is stored; true for the default one. */
  persist?: string | true;
}

/**
 * Adds `--port`, `--seed`, `--persist`, the options of the local Medplum and, where this repository
 * has a local FHIR server, `--fhir-port` and `--fault`.
 */
export function addServerOptions(command: Command): Command {
  command
    .option('--port <port>', 'the port of the local Medplum; 0 takes a free one', '8103')
    .option(
      '--seed <file>',
      'start with the resources of a JSON file: a resource, a list or a bundle (may be repeated)',
      collect,
      [],
    )
    .option(
      '--persist [folder]',
      `keep resources, versions and project secrets for the next start (${DEFAULT_DATA_FOLDER})`,
    );
  if (hasFhirServer()) {
    command
      .option('--fhir-port <port>', 'the port of the local FHIR server; 0 takes a free one', '8080')
      .option(
        '--fault <fault>',
        'let the FHIR server fail, such as 503:times=2 (may be repeated)',
        collect,
        [],
      );
  }
  return addMedplumOptions(command);
}

/**
 * Starts the local servers and ends them with the process.
 *
 * @param options - see ServerOptions
 * @param selfTriggerLimit - see MedplumServerOptions
 */
export async function startServers(
  options: ServerOptions,
  selfTriggerLimit?: number,
): Promise<LocalServers> {
  const { port, fhirPort = '0', fault = [], seed, persist, ...medplumOptions } = options;
  const resources = seed.flatMap(readSeed);
  const clientSecret = chosenClientSecret();
  const servers = await startLocal({
    port: toPort(port, 'port'),
    fhirPort: toPort(fhirPort, 'fhir-port'),
    faults: fault,
    secrets: readLocalSecrets(),
    medplumOptions: {
      ...toMedplumOptions(medplumOptions),
      persist: persist === true ? DEFAULT_DATA_FOLDER : persist,
      selfTriggerLimit,
    },
    ...(clientSecret !== undefined && { clientSecrets: { ...newClientSecrets(), clientSecret } }),
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => process.exit(0));
  }
  servers.medplum.events.on('warning', (text) => console.log(`${bold('warning')}  ${text}`));
  servers.medplum.events.on('selfTriggered', (text) => console.log(`${bold('stopped')}  ${text}`));
  if (resources.length > 0 && servers.medplum.isRestored) {
    console.log(
      `${bold('note')}  --seed was not read: --persist has the resources of an earlier start`,
    );
  } else if (resources.length > 0) {
    await seedServer(servers, resources);
  }
  return servers;
}

/** @returns the client secret to use, where variables or `.env.local` have one */
function chosenClientSecret(): string | undefined {
  const given = process.env['MEDPLUM_CLIENT_SECRET'] || variablesIn('.env.local');
  return typeof given === 'string' ? given : given['MEDPLUM_CLIENT_SECRET'] || undefined;
}

/** The file with the values of the secrets of the local project. Git ignores it. */
export const LOCAL_SECRETS_FILE = '.env.local.secrets';

/** @returns the secrets of the local project, as far as the file has them */
export function readLocalSecrets(): Record<string, string> {
  return variablesIn(LOCAL_SECRETS_FILE);
}

function variablesIn(file: string): Record<string, string> {
  const variables = existsSync(file) ? readVariables(file) : {};
  return Object.fromEntries(
    Object.entries(variables).flatMap(([name, value]) => (value ? [[name, value]] : [])),
  );
}

/** @throws UserError if the file holds no resources */
function readSeed(file: string): Resource[] {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new UserError(`--seed ${file} cannot be read: ${(error as Error).message}`);
  }
  const resources = [content].flat() as (Resource | Bundle | undefined)[];
  const wrong = resources.find((resource) => typeof resource?.resourceType !== 'string');
  if (wrong !== undefined || resources.includes(undefined)) {
    throw new UserError(`--seed ${file}: everything in it needs a "resourceType".`);
  }
  return resources as Resource[];
}

async function seedServer(servers: LocalServers, resources: Resource[]): Promise<void> {
  const { seedResources } = await import('./testing/seed.ts');
  const { baseUrl, repository } = servers.medplum;
  const client = new MedplumClient({ baseUrl, fetch });
  await client.startClientLogin(LOCAL.clientId, servers.clientSecrets.clientSecret);
  await seedResources(repository, client, resources);
}

function toPort(text: string, flag: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= 65_535) {
    return port;
  }
  throw new UserError(
    `--${flag} ${text} is not a port: give a number from 0 to 65535 (0 takes a free one).`,
  );
}

/** @returns the local server as a target of deployments */
export function localTarget({ medplum, clientSecrets }: LocalServers): Environment {
  return {
    name: 'local',
    baseUrl: medplum.baseUrl,
    projectId: LOCAL.projectId,
    clientId: LOCAL.clientId,
    clientSecret: clientSecrets.clientSecret,
  };
}

/** @returns what to type into other programs, as a table */
export function describe({ medplum, fhir, clientSecrets }: LocalServers): string {
  const rows = [
    ['Medplum, and a page to watch it', medplum.baseUrl],
    ...(fhir ? [['External FHIR server', fhir.baseUrl]] : []),
    ['MEDPLUM_PROJECT_ID', LOCAL.projectId],
    ['MEDPLUM_CLIENT_ID', LOCAL.clientId],
    ['MEDPLUM_CLIENT_SECRET', clientSecrets.clientSecret],
    [
      dim('a client without admin rights'),
      dim(`${LOCAL.noAdminId} ${clientSecrets.noAdminSecret}`),
    ],
  ];
  return table(['Local servers', ''], rows);
}
