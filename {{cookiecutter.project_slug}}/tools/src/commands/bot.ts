// `npm run bot -- <name> --event tests/events/<event>.json`: one built bot, one event, in the sandbox of its runtime.
// With a debugger: node --inspect-brk tools/bin/medplum-bots.cjs bot <name> --event <file>
import { MedplumClient } from '@medplum/core';
import nodeFetch from 'node-fetch';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import inspector from 'node:inspector';
import { resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { Command } from 'commander';
import { bold, dim, red, table, yellow } from '../terminal/output.ts';
import { suggest } from '../terminal/suggest.ts';
import { UserError } from '../terminal/user-error.ts';
import { loadConfig } from '../config/config.ts';
import type { Config } from '../config/config.ts';
import { readEnvironment } from '../config/environment.ts';
import { mapStack } from '../runtime/source-maps.ts';
import { runInSandbox } from '../runtime/sandbox.ts';
import type { BotEvent } from '../runtime/sandbox.ts';

const EVENTS = 'tests/events';
type Bot = Config['bots'][number];

export const command = new Command('bot')
  .description('Run one built bot on one event, in the sandbox of its runtime')
  .argument('[name]', 'the name of the bot')
  .option('--event <file>', 'the event, such as tests/events/patient-created.json')
  .addHelpText(
    'after',
    '\nExample: npm run bot -- hapi-sync-bot --event tests/events/patient-created.json',
  )
  .action(runBot);

async function runBot(name: string | undefined, values: { event?: string }): Promise<void> {
  const bot = findBot(loadConfig().bots, name);
  const event = readEvent(values.event);
  if (!existsSync(bot.dist))
    throw new UserError(`${bot.dist} is not there. Build it first: npm run build`);
  const { medplum, secrets } = await connect(bot);
  const requests: (string | number)[][] = [];
  globalThis.fetch = recorded(globalThis.fetch, requests);
  const started = performance.now();
  const { result, log, error } = await runInSandbox(readFileSync(bot.dist, 'utf8'), {
    runtime: bot.runtimeVersion === 'vmcontext' ? 'vmcontext' : 'awslambda',
    medplum,
    fetch: recorded(nodeFetch as typeof fetch, requests),
    event: {
      contentType: 'application/fhir+json',
      headers: {},
      ...event,
      bot: { display: bot.name },
      secrets,
    },
    // A debugger finds the source map by the file's name, and may stand still for long.
    ...(inspector.url()
      ? { filename: resolve(bot.dist), timeout: 86_400 }
      : { timeout: bot.timeout ?? 10 }),
  });
  const time = Math.round(performance.now() - started);
  const map = `${bot.dist}.map`;
  // What the runtime adds to the log of a bot that throws is told below; its own frames help nobody.
  const own = log.filter(
    (line) =>
      !error || (!line.startsWith('Unhandled error: ') && line !== `Error ${error.message}`),
  );
  const stack = error?.stack
    .split('\n')
    .filter((line) => !/^ {4}at .*(\/tools\/|node:)/.test(line));
  const readable = (text: string): string =>
    existsSync(map) ? mapStack(text, readFileSync(map, 'utf8')) : text;
  console.log(`${bold('log')}\n${own.join('\n') || dim('(nothing)')}\n`);
  if (requests.length > 0)
    console.log(`${table(['request', 'where', 'status', 'ms'], requests)}\n`);
  console.log(
    error
      ? `${red('failed')}  ${readable(stack?.join('\n') ?? '')}`
      : `${bold('result')}  ${JSON.stringify(result, null, 2)}`,
  );
  console.log(`${bold('time')}  ${time} ms`);
  process.exitCode = error ? 1 : 0;
}

function findBot(bots: readonly Bot[], name: string | undefined): Bot {
  const names = bots.map((bot) => bot.name);
  const found = bots.find((bot) => bot.name === name);
  if (found) return found;
  const known = `Bots here: ${names.join(', ')}.`;
  if (!name)
    throw new UserError(
      `Which bot? npm run bot -- <name> --event ${EVENTS}/<event>.json. ${known}`,
    );
  throw new UserError(
    `There is no bot "${name}" in medplum.config.json.${suggest(name, names)} ${known}`,
  );
}

function readEvent(file: string | undefined): Pick<BotEvent, 'input'> {
  const samples = existsSync(EVENTS) ? readdirSync(EVENTS).join(', ') : 'none';
  if (!file)
    throw new UserError(`Which event? Add --event ${EVENTS}/<file>. There are: ${samples}.`);
  if (!existsSync(file))
    throw new UserError(`${file} is not there. In ${EVENTS} there are: ${samples}.`);
  try {
    const event = JSON.parse(readFileSync(file, 'utf8')) as Pick<BotEvent, 'input'>;
    if (typeof event === 'object' && 'input' in event) return event;
  } catch {
    throw new UserError(`${file} is no JSON.`);
  }
  throw new UserError(`${file} is no event: it needs an "input" (see ${EVENTS}).`);
}

/** A client of the local server, and its project's secrets; variables and .env.local win over these. */
async function connect(
  bot: Bot,
): Promise<{ medplum: MedplumClient; secrets: BotEvent['secrets'] }> {
  const { baseUrl, clientId, clientSecret, projectId } = readEnvironment('local');
  // Late, so that its requests are noted too.
  const medplum = new MedplumClient({
    baseUrl,
    fetch: (url: string, options?: RequestInit) => fetch(url, options),
  });
  const secrets: BotEvent['secrets'] = {};
  try {
    await medplum.startClientLogin(clientId, clientSecret);
    const { project } = (await medplum.get(`admin/projects/${projectId}`)) as {
      project: { secret?: { name: string }[] };
    };
    for (const secret of project.secret ?? []) secrets[secret.name] = secret;
  } catch {
    console.log(
      `${yellow('note')}  No Medplum answers at ${baseUrl}: start one with "npm run local", in another terminal.\n`,
    );
  }
  const given = {
    ...(existsSync('.env.local') ? parseEnv(readFileSync('.env.local', 'utf8')) : {}),
    ...process.env,
  };
  for (const { name } of bot.secrets)
    if (given[name]) secrets[name] = { name, valueString: given[name] };
  return { medplum, secrets };
}

/** Notes each request without what could tell of a patient: no id, no query, no body. */
function recorded(send: typeof fetch, requests: (string | number)[][]): typeof fetch {
  return async (input, options) => {
    const { origin, pathname } = new URL(input instanceof Request ? input.url : input);
    const [upToType = pathname] = /^.*?\/[A-Z][A-Za-z]+(?=\/|$)/.exec(pathname) ?? [];
    const started = performance.now();
    const note = (status: string): void => {
      const ms = Math.round(performance.now() - started);
      requests.push([options?.method ?? 'GET', origin + upToType, status, ms]);
    };
    return await send(input, options).then(
      (response) => (note(String(response.status)), response),
      (error: Error) => {
        note('no answer');
        throw error;
      },
    );
  };
}
