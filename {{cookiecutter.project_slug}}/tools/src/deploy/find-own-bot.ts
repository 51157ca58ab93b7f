// Finds a deployed bot by the name that a command was given.
import { suggest } from '../terminal/suggest.ts';
import { UserError } from '../terminal/user-error.ts';
import { ownBots } from './identity.ts';
import type { OwnBot } from './identity.ts';
import { search } from './search.ts';
import type { Server } from './server.ts';
import type { Stored } from './stored.ts';
import type { Bot } from '@medplum/fhirtypes';

/** The bots of this repository in the server's environment. */
export async function readOwnBots(server: Server, system: string): Promise<OwnBot[]> {
  const query = `Bot?identifier=${encodeURIComponent(system)}|&_count=1000`;
  const bots = (await search(server, query)) as Stored<Bot>[];
  return ownBots(bots, system, server.environment.name);
}

/** @throws UserError if no bot has this name, or several have it */
export async function findOwnBot(
  server: Server,
  system: string,
  name: string,
): Promise<Stored<Bot>> {
  const own = await readOwnBots(server, system);
  const { name: environment } = server.environment;
  const [found, ...others] = own.filter((candidate) => candidate.name === name);
  if (!found) {
    const hint = suggest(
      name,
      own.map((candidate) => candidate.name),
    );
    throw new UserError(`${name} is not deployed to ${environment}.${hint}`);
  }
  if (others.length > 0) {
    throw new UserError(
      `${name} is twice on ${environment}: remove the identifier from one of the two Bots.`,
    );
  }
  return found.bot;
}
