// `npm run import -- <name or id>`: adopts a bot that exists on the server: its entry in medplum.config.json, and this
// repository's identifier on the Bot. Its code, settings and subscriptions stay as they are.
import type { Bot, Subscription } from '@medplum/fhirtypes';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { UserError, main, readArgs } from '../cli.ts';
import { CONFIG_FILE, loadConfig, parseConfig } from '../config.ts';
import { readEnvironment } from '../env.ts';
import { readActual } from './actual.ts';
import { patch } from './apply.ts';
import { confirm } from './deploy.ts';
import { EXPRESSION, INTERACTION } from './desired.ts';
import { connect } from './server.ts';

await main(async () => {
  const options = { env: { type: 'string' }, yes: { type: 'boolean' } } as const;
  const { values, positionals } = readArgs({ allowPositionals: true, options });
  const [wanted, ...more] = positionals;
  if (!wanted || more.length > 0) throw new UserError('Name one bot: npm run import -- <name or id> [--env <name>]');
  const config = loadConfig();
  const environment = readEnvironment(values.env);
  const server = await connect(environment);
  const { bots, subscriptions } = await readActual(server);
  const found = bots.filter(({ id, name }) => id === wanted || name === wanted);
  const [bot] = found;
  if (!bot) throw new UserError(`The project has no Bot with the name or id ${wanted}.`);
  if (found.length > 1)
    throw new UserError(`Several have this name. Give an id: ${found.map(({ id }) => id).join(', ')}`);
  const owner = bot.identifier?.find(({ system }) => system === config.identifierSystem)?.value;
  if (owner?.startsWith(`${environment.name}/`))
    throw new UserError(`Bot/${bot.id} is of this repository already: ${owner}.`);

  const name = (bot.name ?? bot.id)
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '');
  const key = `${environment.name}/${name}`;
  const taken = bots.find(({ identifier }) =>
    identifier?.some(({ system, value }) => system === config.identifierSystem && value === key),
  );
  if (taken)
    throw new UserError(`Bot/${taken.id} has the identifier ${key} already, so Bot/${bot.id} cannot have it too.`);
  const source = `src/bots/${name}.ts`;
  if (!config.bots.some((one) => one.name === name)) {
    const its = subscriptions.filter(
      ({ channel, status }) => status === 'active' && channel?.endpoint === `Bot/${bot.id}`,
    );
    const raw = JSON.parse(readFileSync(CONFIG_FILE, 'utf8')) as { bots: object[] };
    raw.bots.push({
      name,
      ...settingsOf(bot),
      source,
      dist: `dist/bots/${name}.js`,
      subscriptions: its.map(subscriptionOf),
    });
    const text = `${JSON.stringify(raw, null, 2)}\n`;
    parseConfig(text);
    await confirm(values, server, `give Bot/${bot.id} the identifier ${key}`);
    writeFileSync(CONFIG_FILE, text);
    console.log(`${CONFIG_FILE}: ${name} added, with ${its.length} subscription${its.length === 1 ? '' : 's'}.`);
  } else {
    await confirm(values, server, `give Bot/${bot.id} the identifier ${key}`);
  }
  await patch(server, bot, {
    identifier: [...(bot.identifier ?? []), { system: config.identifierSystem, value: key }],
  });
  console.log(`Bot/${bot.id} is ${key} from now on. What it runs was not changed.`);
  if (!existsSync(source)) await fetchSource(bot, source);
  console.log('Next: npm run build && npm run plan');
});

function settingsOf(bot: Bot): object {
  const {
    description,
    runtimeVersion,
    timeout,
    cronString: cron,
    auditEventTrigger,
    auditEventDestination,
    runAsUser,
  } = bot;
  // JSON leaves out what is undefined.
  return { description, runtimeVersion, timeout, cron, auditEventTrigger, auditEventDestination, runAsUser };
}

function subscriptionOf({ id, criteria, channel, extension = [] }: Subscription): object {
  const foreign = extension.find(({ url }) => url !== INTERACTION && url !== EXPRESSION);
  if (foreign)
    throw new UserError(`Subscription/${id} has the extension ${foreign.url}, which ${CONFIG_FILE} cannot hold.`);
  const interactions = extension.flatMap(({ url, valueCode }) => (url === INTERACTION && valueCode ? [valueCode] : []));
  const expression = extension.find(({ url }) => url === EXPRESSION)?.valueString;
  return { criteria, ...(interactions.length > 0 && { interactions }), expression, headers: channel?.header };
}

/** The source, where whoever deployed the bot stored it: Medplum's own editor and command line do. */
async function fetchSource({ sourceCode }: Bot, path: string): Promise<void> {
  const response = sourceCode?.url?.startsWith('http') ? await fetch(sourceCode.url) : undefined;
  if (!response?.ok) return console.log(`Its source is not on the server: write ${path}.`);
  mkdirSync('src/bots', { recursive: true });
  writeFileSync(path, await response.text());
  console.log(`${path}: as it was stored on the server. Look whether it is what you want.`);
}
