// Command line options that make the local Medplum behave like another version, or badly.
import type { Command } from 'commander';
import { SERVER_VERSIONS } from './server-version.ts';
import type { MedplumServerOptions } from './server.ts';
import { UserError } from '../terminal/user-error.ts';

/** As they were typed. */
export interface TypedMedplumOptions {
  serverVersion?: string;
  quota?: string;
  staleCache?: boolean;
  feature?: string[];
}

/** Adds `--server-version`, `--quota`, `--stale-cache` and `--feature`. */
export function addMedplumOptions(command: Command): Command {
  return command
    .option('--server-version <version>', `behave like Medplum ${SERVER_VERSIONS.join(' or ')}`)
    .option(
      '--quota <points>',
      'FHIR quota points a minute for each login; a real server has 50000',
    )
    .option('--stale-cache', "imitate a fault of Medplum's cache: deleted resources that come back")
    .option('--feature <names...>', 'features of the project beside bots and cron, such as email');
}

/**
 * @returns what `startMedplumServer` takes
 * @throws UserError where a value is not supported
 */
export function toMedplumOptions(
  typed: TypedMedplumOptions,
): Pick<MedplumServerOptions, 'version' | 'quota' | 'staleCache' | 'features'> {
  const { serverVersion: version, quota, staleCache = false, feature: features = [] } = typed;
  if (version !== undefined && !SERVER_VERSIONS.some((known) => known === version)) {
    throw new UserError(
      `--server-version ${version} is not known: give ${SERVER_VERSIONS.join(' or ')}.`,
    );
  }
  if (quota !== undefined && !/^[1-9]\d*$/.test(quota)) {
    throw new UserError(`--quota ${quota} is not a number of points: give 50000, for example.`);
  }
  return {
    ...(version !== undefined && { version }),
    ...(quota !== undefined && { quota: Number(quota) }),
    staleCache,
    features,
  };
}
