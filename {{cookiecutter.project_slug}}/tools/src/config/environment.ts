// Which Medplum project a command talks to, and as whom.
import { existsSync } from 'node:fs';
import { UserError } from '../terminal/user-error.ts';
import { parseBaseUrl, refuseUnencrypted } from './address.ts';
import { findRunningServer } from './running-server.ts';
import { readVariables } from './text-file.ts';

export interface Environment {
  /** `local`, `staging`, …: part of every deployed bot's identifier. */
  name: string;
  /** With a slash at the end. */
  baseUrl: string;
  clientId: string;
  clientSecret: string;
  /** The project that the credentials must belong to. */
  projectId: string;
}

/**
 * Reads `.env.<name>`; real environment variables win over the file. What neither says about
 * `local` is that of the local Medplum that runs.
 *
 * @param name - the environment
 * @throws UserError that names the missing variable and the file; for an address that must not be
 *   used
 */
export function readEnvironment(name = 'local'): Environment {
  if (!/^[a-z0-9][a-z0-9-]*$/.test(name)) {
    throw new UserError(
      `"${name}" is not a valid name for an environment: ` +
        'use lower-case letters, digits and dashes.',
    );
  }
  const file = `.env.${name}`;
  const set = {
    ...(existsSync(file) ? given(readVariables(file)) : {}),
    ...given(process.env),
  };
  const variables =
    name === 'local' ? { ...ofRunningServer(set['MEDPLUM_BASE_URL']), ...set } : set;
  const names = [
    'MEDPLUM_BASE_URL',
    'MEDPLUM_PROJECT_ID',
    'MEDPLUM_CLIENT_ID',
    'MEDPLUM_CLIENT_SECRET',
  ];
  const values = names.map((variable) => variables[variable]?.trim() ?? '');
  const missing = names.filter((_, index) => !values[index]).join(', ');
  if (name === 'local' && values.every((value) => !value)) {
    throw new UserError(
      'No local Medplum is running. Start one in another terminal with: npm run dev',
    );
  }
  if (missing) {
    throw new UserError(
      `Not set: ${missing}. Write into ${file} (see .env.example), or set as variables.`,
    );
  }
  const [address = '', projectId = '', clientId = '', clientSecret = ''] = values;
  const baseUrl = parseBaseUrl(address, file);
  refuseUnencrypted(baseUrl, file);
  return { name, baseUrl, projectId, clientId, clientSecret };
}

/** What to type, such as `npm run rollback -- sync-bot --env staging`; `local` need not be said. */
export function commandFor(environment: string, script: string, ...args: string[]): string {
  const all = [...args, ...(environment === 'local' ? [] : ['--env', environment])];
  return [`npm run ${script}`, ...(all.length > 0 ? ['--', ...all] : [])].join(' ');
}

function ofRunningServer(baseUrl: string | undefined): Record<string, string> {
  const server = findRunningServer(baseUrl);
  if (!server) {
    return {};
  }
  return {
    MEDPLUM_BASE_URL: server.baseUrl,
    MEDPLUM_PROJECT_ID: server.projectId,
    MEDPLUM_CLIENT_ID: server.clientId,
    MEDPLUM_CLIENT_SECRET: server.clientSecret,
  };
}

/** A variable that CI sets to nothing (a secret that is not there) counts as not set. */
function given(variables: Record<string, string | undefined>): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(variables).filter(([, value]) => value));
}
