// `npm run import -- <name or id>`: adopts a bot that exists on the server: its entry in medplum.config.json, and this
// repository's identifier on the Bot. Its code, settings and subscriptions stay as they are.
import { Command } from 'commander';
import type { Bot, Subscription } from '@medplum/fhirtypes';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { UserError } from '../terminal/user-error.ts';
import { CONFIG_FILE, loadConfig, parseConfig } from '../config/config.ts';
import { commandFor, readEnvironment } from '../config/environment.ts';
import { readActual } from '../deploy/actual.ts';
import { confirm } from '../deploy/confirm.ts';
import { EXPRESSION, INTERACTION } from '../deploy/desired-bot.ts';
import { ownBots } from '../deploy/identity.ts';
import { patch } from '../deploy/write.ts';
import { connect } from '../deploy/server.ts';

interface ImportOptions {
  env?: string;
  yes?: boolean;
}

export const command = new Command('import')
  .description(
    'Take over a bot that exists on the server: its entry in medplum.config.json and its identifier',
  )
  .argument('<bot>', 'its name or id')
  .option('--env <name>', 'the environment whose .env.<name> is read (default: local)')
  .option('--yes', 'do not ask before writing')
  .addHelpText('after', '\nExample: npm run import -- "My Bot" --env staging')
  .action(importBot);

async function importBot(wanted: string, values: ImportOptions): Promise<void> {
  const { identifierSystem: system, bots: known } = loadConfig();
  const environment = readEnvironment(values.env);
  const server = await connect(environment);
  const { bots, subscriptions } = await readActual(server);
  const [bot, ...others] = bots.filter((one) => one.id === wanted || one.name === wanted);
  if (!bot) throw new UserError(`The project has no Bot with the name or id ${wanted}.`);
  if (others.length > 0) {
    throw new UserError(
      `Several have this name. Give an id: ${[bot, ...others].map(({ id }) => id).join(', ')}`,
    );
  }
  const own = ownBots(bots, system, environment.name);
  const ours = own.find((one) => one.bot === bot);
  const words = bot.name?.toLowerCase().match(/[a-z0-9]+/g) ?? ['bot', bot.id.slice(0, 8)];
  const name = ours?.name ?? words.join('-');
  const other = own.find((one) => one.name === name && one.bot !== bot);
  if (other)
    throw new UserError(
      `${environment.name}/${name} is Bot/${other.bot.id} already. Rename one of the two.`,
    );

  const source = `src/bots/${name}.ts`;
  const endpoint = `Bot/${bot.id}`;
  const its = subscriptions.filter(
    ({ channel, status }) => status === 'active' && channel?.endpoint === endpoint,
  );
  const config = JSON.parse(readFileSync(CONFIG_FILE, 'utf8')) as { bots: object[] };
  const dist = `dist/bots/${name}.js`;
  const entry = { name, ...settingsOf(bot), source, dist, subscriptions: its.map(subscriptionOf) };
  config.bots.push(entry);
  const text = JSON.stringify(config, null, 2);
  const isNew = !known.some((one) => one.name === name);
  if (isNew) parseConfig(text);
  const identifier = { system, value: `${environment.name}/${name}` };
  await confirm(values, server, `give Bot/${bot.id} the identifier ${identifier.value}`);
  const { format, resolveConfig } = await import('prettier');
  const style = { ...(await resolveConfig(CONFIG_FILE)), filepath: CONFIG_FILE };
  if (isNew) writeFileSync(CONFIG_FILE, await format(text, style));
  if (!ours) await patch(server, bot, { identifier: [...(bot.identifier ?? []), identifier] });
  const members = isNew ? `with ${its.length} subscriptions` : 'as it stands';
  console.log(`Bot/${bot.id} is ${identifier.value} from now on, ${members} in ${CONFIG_FILE}.`);
  if (!existsSync(source)) await fetchSource(bot, source);
  console.log(
    `What it runs was not changed. Next: npm run build && ${commandFor(environment.name, 'plan')}`,
  );
}

function settingsOf({
  description,
  runtimeVersion,
  timeout,
  cronString: cron,
  runAsUser,
  ...bot
}: Bot): object {
  const { auditEventTrigger, auditEventDestination } = bot;
  // JSON leaves out what is undefined.
  return {
    description,
    runtimeVersion,
    timeout,
    cron,
    auditEventTrigger,
    auditEventDestination,
    runAsUser,
  };
}

function subscriptionOf({ id, criteria, channel, extension = [] }: Subscription): object {
  const foreign = extension.find(({ url }) => url !== INTERACTION && url !== EXPRESSION);
  if (foreign)
    throw new UserError(
      `Subscription/${id} has the extension ${foreign.url}, which ${CONFIG_FILE} cannot hold.`,
    );
  const interactions = extension.flatMap(({ valueCode }) => valueCode ?? []);
  const expression = extension.find(({ url }) => url === EXPRESSION)?.valueString;
  return {
    criteria,
    ...(interactions.length > 0 && { interactions }),
    expression,
    headers: channel?.header,
  };
}

/** Medplum's own editor and command line store the source beside the code. */
async function fetchSource({ sourceCode }: Bot, path: string): Promise<void> {
  const response = sourceCode?.url?.startsWith('http') ? await fetch(sourceCode.url) : undefined;
  if (!response?.ok) return console.log(`Its source is not on the server: write ${path}.`);
  writeFileSync(path, await response.text());
  console.log(`${path} is as it was stored on the server. See whether it is what you want.`);
}
