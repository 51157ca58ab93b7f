// `npm run doctor -- --target`: lets hapi-sync-bot check the external server, from where it runs
// and with its secrets.
import { loadConfig } from '../config/config.ts';
import { readEnvironment } from '../config/environment.ts';
import { readActual } from '../deploy/actual.ts';
import type { Finding } from '../deploy/doctor.ts';
import { ownBots } from '../deploy/identity.ts';
import { connect, RequestError } from '../deploy/server.ts';
import { UserError } from '../terminal/user-error.ts';

const CHECKING_BOT = 'hapi-sync-bot';

interface TargetCheck {
  what: string;
  isMet: boolean;
}

/**
 * Checks what the sync needs of the external server. This creates and deletes one empty Basic
 * resource there.
 *
 * @param environmentName - The environment whose Medplum runs the bot.
 * @returns A finding for each need.
 * @throws UserError if the bot is not deployed, or cannot reach the server.
 */
export async function examineTarget(environmentName: string | undefined): Promise<Finding[]> {
  const environment = readEnvironment(environmentName);
  const server = await connect(environment);
  const { bots } = await readActual(server);
  const own = ownBots(bots, loadConfig().identifierSystem, environment.name);
  const bot = own.find(({ name }) => name === CHECKING_BOT)?.bot;
  if (!bot) {
    throw new UserError(`--target needs ${CHECKING_BOT} to be deployed: npm run setup:bots`);
  }
  try {
    const { checks } = await server.send<{ checks: TargetCheck[] }>(
      'POST',
      `Bot/${bot.id}/$execute`,
      { check: 'target' },
    );
    return checks.map(findingOf);
  } catch (error) {
    if (error instanceof RequestError) {
      throw new UserError(
        'The bot could not reach the external server. See why: npm run logs -- --failed',
      );
    }
    throw error;
  }
}

function findingOf({ what, isMet }: TargetCheck): Finding {
  if (isMet) {
    return { level: 'ok', check: 'target', text: `the external server ${what}` };
  }
  const text =
    `the external server ${what}: ` + 'it does not, so it cannot be a target (docs/syncing.md)';
  return { level: 'error', check: 'target', text };
}
