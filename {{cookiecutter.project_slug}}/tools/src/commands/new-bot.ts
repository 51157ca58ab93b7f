// `npm run new:bot -- <name>`: writes a bot, its test, its sample events, and its entry in medplum.config.json.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { Command } from 'commander';
import { bold } from '../terminal/output.ts';
import { UserError } from '../terminal/user-error.ts';
import type { BotConfig } from '../config/config.ts';
import { CONFIG_FILE, loadConfig, parseConfig } from '../config/config.ts';

const ID = '00000000-0000-4000-8000-000000000001';

/** The types of what the bot is given: on a schedule itself, and when somebody calls it anything, to begin with a Patient. */
function inputTypes({ cron, subscriptions }: BotConfig): string[] {
  const types = subscriptions.map(({ criteria }) => criteria.split('?')[0]!);
  if (cron) types.push('Bot');
  return types.length > 0 ? types : ['Patient'];
}

/** Events as the server sends them, by the file in tests/events. */
function sampleEvents(bot: BotConfig): [file: string, resourceType: string, event: object][] {
  const [type] = inputTypes(bot) as [string];
  const contentType = 'application/fhir+json';
  const events = bot.subscriptions
    .flatMap(({ interactions }) => interactions)
    .map((interaction) => {
      const headers = { 'X-Medplum-Subscription': ID, 'X-Medplum-Interaction': interaction };
      const deleted = { ...headers, 'X-Medplum-Deleted-Resource': `${type}/${ID}` };
      const resource = { resourceType: type, id: ID };
      if (interaction !== 'delete')
        return [interaction, type, { input: resource, contentType, headers }] as const;
      return [
        interaction,
        type,
        { input: { deletedResource: resource }, contentType, headers: deleted },
      ] as const;
    });
  const itself = { resourceType: 'Bot', id: ID, name: bot.name, cronString: bot.cron };
  const other = bot.cron
    ? (['cron', 'Bot', { input: itself, contentType, headers: {} }] as const)
    : ([
        'call',
        type,
        { input: { resourceType: type, id: ID }, contentType, headers: {} },
      ] as const);
  const all = bot.cron || events.length === 0 ? [...events, other] : events;
  return all.map(([occasion, resourceType, event]) => [
    `${bot.name}-${occasion}.json`,
    resourceType,
    event,
  ]);
}

function botSource(bot: BotConfig): string {
  const types = inputTypes(bot);
  const [subscription] = bot.subscriptions;
  const when = subscription ? [`on ${subscription.interactions.join(', ')} of a ${types[0]}`] : [];
  if (bot.cron) when.push('on its schedule');
  const deletes = subscription?.interactions.includes('delete');
  const input = [...types, ...(deletes ? [`{ deletedResource?: ${types[0]} }`] : [])].join(' | ');
  return `// ${bot.name}: runs ${when.join(' and ') || 'when it is called'}.
    import type { BotEvent, MedplumClient } from '@medplum/core';
    import type { ${types.toSorted().join(', ')} } from '@medplum/fhirtypes';

    /**
     * @param _medplum - Client for the project, with the rights of this bot.
     * @param event - What happened${deletes ? '; after a deletion, `input` holds the last version' : ''}.
     * @returns What it did. Return objects, never text, and log nothing that says who a patient is.
     */
    export async function handler(
      _medplum: MedplumClient, event: BotEvent<${input}>
    ): Promise<{ handled: string }> {
      const resource = ${deletes ? "'resourceType' in event.input ? event.input : event.input.deletedResource" : 'event.input'};
      return { handled: \`\${resource${deletes ? '?' : ''}.resourceType}/\${resource${deletes ? '?' : ''}.id}\` };
    }\n`;
}

function testSource(bot: BotConfig): string {
  const results = sampleEvents(bot).map(([file, resourceType]) => [file, `${resourceType}/${ID}`]);
  return `// ${bot.name}, run on its sample events.
    import { MedplumClient } from '@medplum/core';
    import { readFileSync } from 'node:fs';
    import { expect, test } from 'vitest';
    import { handler } from '../src/bots/${bot.name}.ts';

    test.each(${JSON.stringify(results)})('%s', async (file, handled) => {
      const event = JSON.parse(readFileSync(new URL(\`events/\${file}\`, import.meta.url), 'utf8'));
      const medplum = new MedplumClient({ fetch: () => Promise.reject(new Error('no network in this test')) });
      const result = await handler(medplum, { bot: { reference: 'Bot/${ID}' }, secrets: {}, ...event });
      expect(result).toEqual({ handled });
    });\n`;
}

interface NewBotOptions {
  on?: string;
  cron?: string;
}

export const command = new Command('new-bot')
  .description(
    'Write a new bot: its source, its test, sample events, and its entry in medplum.config.json',
  )
  .argument('<name>', 'lower-case letters, digits and dashes')
  .option('--on <criteria>', 'run on changes, for example Patient:create,update')
  .option('--cron <schedule>', 'run on a schedule, for example "*/15 * * * *"')
  .addHelpText('after', '\nExample: npm run new:bot -- task-reminder --on Task:create,update')
  .action(writeBot);

async function writeBot(name: string, values: NewBotOptions): Promise<void> {
  const { bots } = loadConfig();
  if (bots.some((bot) => bot.name === name || bot.previousNames.includes(name))) {
    throw new UserError(`There is or was a bot called "${name}": choose another name.`);
  }
  if (name.length > 60 || /^(con|prn|aux|nul|(com|lpt)\d)$/.test(name)) {
    throw new UserError(
      `"${name}" cannot be a file's name on every system: choose another, of at most 60 letters.`,
    );
  }
  const [criteria, interactions] = values.on?.split(/:(?=[a-z,]*$)/) ?? [];
  const raw = JSON.parse(readFileSync(CONFIG_FILE, 'utf8')) as { bots: object[] };
  raw.bots.push({
    name,
    source: `src/bots/${name}.ts`,
    dist: `dist/bots/${name}.js`,
    runtimeVersion: bots[0]?.runtimeVersion,
    cron: values.cron,
    subscriptions:
      values.on === undefined ? undefined : [{ criteria, interactions: interactions?.split(',') }],
    accessPolicy: criteria && [{ resourceType: criteria.split('?')[0], readonly: true }],
  });
  const config = JSON.stringify(raw, null, 2);
  const bot = parseConfig(config).bots.at(-1)!;
  const files = [
    [bot.source, botSource(bot)],
    [`tests/${name}.test.ts`, testSource(bot)],
    ...sampleEvents(bot).map(([file, , event]) => [
      `tests/events/${file}`,
      JSON.stringify(event, null, 2),
    ]),
  ] as [string, string][];
  const [taken] = files.find(([file]) => existsSync(file)) ?? [];
  if (taken)
    throw new UserError(`${taken} is there already: choose another name, or move it away.`);
  for (const [file, text] of [...files, [CONFIG_FILE, config] as const]) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, await format(text, { ...(await resolveConfig(file)), filepath: file }));
    console.log(`  ${file}`);
  }
  // When it runs, as npm may have kept --on without a trace, where its two dashes were left out.
  const [head] = botSource(bot).slice('// '.length).split('\n');
  console.log(`\n${bold(head!)} Next: write what it does, then npm run build && npm test`);
}
