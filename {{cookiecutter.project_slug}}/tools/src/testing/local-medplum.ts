// A Medplum inside a test: a server in this process with the bots of this repository, deployed from
// their sources.
import type { WithId } from '@medplum/core';
import { ContentType, MedplumClient } from '@medplum/core';
import type { Bot, Resource } from '@medplum/fhirtypes';
import { loadConfig } from '../config/config.ts';
import type { BotConfig } from '../config/config.ts';
import { deploy } from '../deploy/deploy.ts';
import { actorOf, findMembership } from '../medplum/access.ts';
import { LOCAL } from '../medplum/local-project.ts';
import { startMedplumServer } from '../medplum/server.ts';
import type { MedplumServer } from '../medplum/server.ts';
import { issueToken } from '../medplum/tokens.ts';
import { SELF_TRIGGER_LIMIT } from '../medplum/triggers/self-triggers.ts';
import { WorkerPool } from '../runtime/worker-pool.ts';
import { suggest } from '../terminal/suggest.ts';
import { UserError } from '../terminal/user-error.ts';
import { describeRun } from './bot-run.ts';
import type { BotRun } from './bot-run.ts';
import { buildForTests } from './bundles.ts';
import { resolveLinks } from '../deploy/links.ts';
import { seedResources } from './seed.ts';
import { setClock, withTestClock } from './test-clock.ts';

export interface LocalMedplumOptions {
  /**
   * Names of bots in medplum.config.json to deploy, with their subscriptions, schedules and access
   * policies.
   */
  bots?: readonly string[];
  /**
   * What is there from the start; resources in bundles too. No bot runs for them. They may refer to
   * these bots by name, such as `Bot/summary-bot`, as the files in resources/ do.
   */
  resources?: readonly Resource[];
  /** Values of the project's secrets, by name. */
  secrets?: Readonly<Record<string, string>>;
  /** What bots and this process take for the present; see `setTime`. */
  time?: Date | string;
}

export interface ExecuteOptions {
  /**
   * Of the input; `application/fhir+json` if left out. An HL7 message is
   * `x-application/hl7-v2+er7`.
   */
  contentType?: string;
  headers?: Record<string, string>;
}

/** Requests of a test reach the server also where it replaces `fetch` for its bots. */
const realFetch = globalThis.fetch;

/** Milliseconds that bots may take to finish. */
const SETTLE_LIMIT = 60_000;

/** One for all servers of this process: starting a thread takes longer than starting a server. */
let sharedWorkers: WorkerPool | undefined;

/**
 * Starts a Medplum for a test file. The first one in a process takes about a second, the others
 * some milliseconds.
 *
 * @param options - see LocalMedplumOptions
 * @returns the running server; end it with `stop()`
 * @throws UserError if a bot is unknown, cannot be built, or lacks a secret
 * @example
 * const medplum = await localMedplum({ bots: ['flag-high-blood-pressure'] });
 * afterAll(() => medplum.stop());
 *
 * test('a high blood pressure leads to a Task', async () => {
 *   await medplum.create(observation);
 *   expect(await medplum.client.searchResources('Task')).toHaveLength(1);
 * });
 */
export async function localMedplum(options: LocalMedplumOptions = {}): Promise<LocalMedplum> {
  const { bots = [], resources = [], secrets = {}, time } = options;
  checkBots(bots, secrets);
  const folder = bots.length > 0 ? await buildForTests(bots) : '';
  sharedWorkers ??= new WorkerPool();
  const server = await startMedplumServer({
    secrets,
    workers: withTestClock(sharedWorkers),
    runSchedules: false,
    selfTriggerLimit: SELF_TRIGGER_LIMIT,
  });
  const client = new MedplumClient({ baseUrl: server.baseUrl, fetch: realFetch, cacheTime: 0 });
  const medplum = new LocalMedplum(server, client, folder);
  try {
    await client.startClientLogin(LOCAL.clientId, LOCAL.clientSecret);
    const refersToBot = (resource: Resource): boolean =>
      bots.some((name) => JSON.stringify(resource).includes(`"Bot/${name}"`));
    const early = resources.filter((resource) => !refersToBot(resource));
    await seedResources(server.repository, client, early);
    await deployBots(server, folder, bots);
    const links = new Map(
      bots.map((name) => [`Bot/${name}`, medplum.referenceTo(name).reference] as const),
    );
    const linked = resolveLinks(resources.filter(refersToBot), links);
    await seedResources(server.repository, client, linked);
    if (time !== undefined) {
      medplum.setTime(time);
    }
    return medplum;
  } catch (error) {
    await medplum.stop();
    throw error;
  }
}

/** A running Medplum, and what tests do with it. */
export class LocalMedplum {
  /** With a slash at the end. */
  readonly baseUrl: string;
  /**
   * Acts as a project admin. Bots that its writes start run later: `create`, `update` and `delete`
   * wait for them.
   */
  readonly client: MedplumClient;
  readonly #server: MedplumServer;
  readonly #folder: string;
  #forgotten = new Set<string>();
  /** Why a bot was stopped that started itself again and again. */
  #selfTriggered: string | undefined;

  constructor(server: MedplumServer, client: MedplumClient, folder: string) {
    this.#server = server;
    this.baseUrl = server.baseUrl;
    this.client = client;
    this.#folder = folder;
    server.events.on('selfTriggered', (text) => {
      this.#selfTriggered = text;
    });
  }

  /**
   * Creates a resource, and waits until the bots that this starts have run, and those that they
   * start.
   *
   * @returns the resource as it was created; read it again if a bot changes it
   */
  async create<T extends Resource>(resource: T): Promise<WithId<T>> {
    const created = await this.client.createResource(resource);
    await this.settled();
    return created;
  }

  /** Updates a resource, and waits as `create` does. */
  async update<T extends Resource>(resource: WithId<T>): Promise<WithId<T>> {
    const updated = await this.client.updateResource(resource);
    await this.settled();
    return updated;
  }

  /** Deletes a resource, and waits as `create` does. */
  async delete(resource: WithId<Resource>): Promise<void> {
    await this.client.deleteResource(resource.resourceType, resource.id);
    await this.settled();
  }

  /** Runs a bot as its schedule does, and waits as `create` does. */
  async runCron(name: string): Promise<BotRun> {
    await this.#server.runCron(this.#bot(name));
    await this.settled();
    return this.#lastRunOf(name);
  }

  /**
   * Runs a bot with `$execute`, and waits as `create` does.
   *
   * @param input - JSON, or a text for other content types
   * @returns the run; where the bot throws, its `error` tells
   */
  async execute(name: string, input: unknown, options: ExecuteOptions = {}): Promise<BotRun> {
    const { contentType = ContentType.FHIR_JSON, headers = {} } = options;
    const bot = this.#bot(name);
    await realFetch(`${this.baseUrl}fhir/R4/Bot/${bot.id}/$execute`, {
      method: 'POST',
      headers: {
        Authorization: `Bearer ${this.client.getAccessToken()}`,
        'Content-Type': contentType,
        ...headers,
      },
      body: typeof input === 'string' ? input : JSON.stringify(input),
    });
    await this.settled();
    return this.#lastRunOf(name);
  }

  /** @param name - of a deployed bot */
  referenceTo(name: string): { reference: string } {
    return { reference: `Bot/${this.#bot(name).id}` };
  }

  /** The runs so far, oldest first. */
  get runs(): BotRun[] {
    return this.#runs().map((run) => describeRun(run, this.#folder));
  }

  /** The runs of one bot, oldest first. */
  runsOf(name: string): BotRun[] {
    return this.runs.filter(({ bot }) => bot === name);
  }

  /** Forgets the runs so far. */
  clearRuns(): void {
    this.#forgotten = new Set(this.#server.runs.list().map(({ id }) => id));
  }

  /**
   * @param name - of a deployed bot
   * @returns a client that may do what the bot may do
   */
  clientOf(name: string): MedplumClient {
    const { store } = this.#server.repository.state;
    const bot = this.#bot(name);
    const membership = findMembership(store, `Bot/${bot.id}`);
    if (!membership) {
      throw new UserError(`${name} has no ProjectMembership.`);
    }
    actorOf(store, membership); // throws where its access policy cannot be read
    const client = new MedplumClient({ baseUrl: this.baseUrl, fetch: realFetch, cacheTime: 0 });
    client.setAccessToken(issueToken(membership, this.baseUrl));
    return client;
  }

  /**
   * Sets what this process and the bots take for the present, until `stop()`. The clock goes on
   * from there. Schedules do not run by themselves: see `runCron`. `vi.setSystemTime` works as
   * well.
   *
   * @param time - a Date, or a text such as `2026-03-01T08:00:00Z`
   */
  setTime(time: Date | string): void {
    setClock(new Date(time));
  }

  /**
   * Waits until no bot runs any more, and none is about to.
   *
   * @throws UserError that names the bots that do not finish, or one that starts itself again and
   *   again
   */
  async settled(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), SETTLE_LIMIT);
    });
    const outcome = await Promise.race([this.#server.settled(), limit]);
    clearTimeout(timer);
    if (this.#selfTriggered !== undefined) {
      const text = this.#selfTriggered;
      this.#selfTriggered = undefined;
      throw new UserError(text);
    }
    if (outcome === 'late') {
      const running = this.#runs().filter(({ state }) => state === 'running');
      const names = [...new Set(running.map(({ bot }) => bot.name))].join(', ');
      throw new UserError(`Still running after ${SETTLE_LIMIT / 1000} s: ${names}.`);
    }
  }

  async stop(): Promise<void> {
    setClock(undefined);
    await this.#server.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #runs(): ReturnType<MedplumServer['runs']['list']> {
    const runs = this.#server.runs.list().toReversed();
    return runs.filter(({ id }) => !this.#forgotten.has(id));
  }

  #lastRunOf(name: string): BotRun {
    const run = this.runsOf(name).at(-1);
    if (!run) {
      throw new UserError(`${name} did not run.`);
    }
    return run;
  }

  #bot(name: string): WithId<Bot> {
    const { store } = this.#server.repository.state;
    const versions = [...store.all('Bot')].filter(({ deleted }) => !deleted);
    const bots = versions.map(({ resource }) => resource as WithId<Bot>);
    const found = bots.find((bot) => bot.name === name);
    if (!found) {
      const names = bots.map((bot) => bot.name ?? '');
      throw new UserError(
        `${name} is not deployed here: localMedplum({ bots: ['${name}'] }).${suggest(name, names)}`,
      );
    }
    return found;
  }
}

/** @throws UserError if a name is unknown, or a secret is missing */
function checkBots(names: readonly string[], secrets: Readonly<Record<string, string>>): void {
  if (names.length === 0) {
    return;
  }
  const known = loadConfig().bots;
  for (const name of names) {
    const bot = known.find((entry) => entry.name === name);
    if (!bot) {
      const hint = suggest(
        name,
        known.map((entry) => entry.name),
      );
      throw new UserError(`There is no bot "${name}" in medplum.config.json.${hint}`);
    }
    const missing = missingSecret(bot, secrets);
    if (missing !== undefined) {
      throw new UserError(
        `${name} needs the secret ${missing}: localMedplum({ secrets: { ${missing}: '…' } }).`,
      );
    }
  }
}

function missingSecret(
  bot: BotConfig,
  secrets: Readonly<Record<string, string>>,
): string | undefined {
  return bot.secrets.find(({ name, optional }) => !optional && secrets[name] === undefined)?.name;
}

async function deployBots(
  server: MedplumServer,
  folder: string,
  bots: readonly string[],
): Promise<void> {
  for (const only of bots) {
    const { failed } = await deploy({
      root: folder,
      sourceRoot: process.cwd(),
      target: { name: 'local', baseUrl: server.baseUrl, ...LOCAL },
      only,
      yes: true,
      log: () => undefined,
    });
    if (failed[0]) {
      throw new UserError(`${failed[0].name}: ${failed[0].message}`);
    }
  }
}
