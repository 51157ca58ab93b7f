// The build before a deployment.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { commandFor } from '../config/environment.ts';
import { UserError } from '../terminal/user-error.ts';
import { MANIFEST_FILE, readManifest } from './bundle-code.ts';

const COMMAND_LINE = fileURLToPath(new URL('../../bin/medplum-bots.cjs', import.meta.url));

/**
 * Builds as `npm run build -- --production` does, and prints the same.
 *
 * @param options - of the deployment: `only` and `skipFailed` say that it is wanted also if some
 *   bots cannot be built
 * @param environment - that is deployed to
 * @throws UserError if the build has an error, and nothing says to go on without the bots that have
 *   it
 */
export function buildForDeployment(
  { only, skipFailed }: { only?: string; skipFailed?: boolean },
  environment = 'local',
): void {
  const { status } = spawnSync(process.execPath, [COMMAND_LINE, 'build', '--production'], {
    stdio: 'inherit',
  });
  if (status === 0) {
    return;
  }
  if (!existsSync(MANIFEST_FILE)) {
    throw new UserError('Nothing was deployed, because the build did not end.');
  }
  // Whether one of the bots that --only names has the error is checked when the bundles are read.
  if (only === undefined && !skipFailed) {
    const failed = Object.keys(readManifest('.').failed);
    const cause =
      failed.length > 0 ? `${failed.join(', ')} could not be built` : 'the build has an error';
    const others = commandFor(environment, 'setup:bots', '--skip-failed');
    throw new UserError(
      `Nothing was deployed, because ${cause}. To deploy the bots without an error: ${others}`,
    );
  }
}
