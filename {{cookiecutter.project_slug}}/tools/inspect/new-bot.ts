// `npm run new:bot -- <name>`: writes a bot, its test, its sample events, and its entry in medplum.config.json.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { bold, main, readArgs, UserError } from '../cli.ts';
import { CONFIG_FILE, loadConfig, parseConfig } from '../config.ts';
import type { BotConfig } from '../config.ts';

/** What a bot is called with that has neither subscription nor schedule; change it to what yours takes. */
const CALLED_WITH = 'Patient';
const ID = '00000000-0000-4000-8000-000000000001';

/** One way in which the bot gets to run, as a sample event shows it. */
interface Occasion {
  /** Of the file in tests/events. */
  file: string;
  event: { input: unknown; contentType: string; headers: Record<string, string> };
}

function occasions({ name, cron, subscriptions }: BotConfig): Occasion[] {
  const occasion = (suffix: string, input: unknown, headers: Record<string, string> = {}): Occasion => {
    return { file: `${name}-${suffix}.json`, event: { input, contentType: 'application/fhir+json', headers } };
  };
  const found = subscriptions.flatMap(({ criteria, interactions }) =>
    interactions.map((interaction) => {
      const resourceType = criteria.split('?')[0]!;
      const resource = { resourceType, id: ID };
      const suffix = subscriptions.length > 1 ? `${resourceType.toLowerCase()}-${interaction}` : interaction;
      const headers = { 'X-Medplum-Subscription': ID, 'X-Medplum-Interaction': interaction };
      if (interaction !== 'delete') return occasion(suffix, resource, headers);
      const more = { ...headers, 'X-Medplum-Deleted-Resource': `${resourceType}/${ID}` };
      return occasion(suffix, { deletedResource: resource }, more);
    }),
  );
  // On a schedule, a bot is given itself.
  if (cron) found.push(occasion('cron', { resourceType: 'Bot', id: ID, name, cronString: cron }));
  return found.length > 0 ? found : [occasion('call', { resourceType: CALLED_WITH, id: ID })];
}

/** The types of what the bot is given, and in words when it runs. */
function inputOf({ cron, subscriptions }: BotConfig): { types: string[]; deletes: boolean; when: string } {
  const typeOf = (criteria: string): string => criteria.split('?')[0]!;
  const types = subscriptions.map(({ criteria }) => typeOf(criteria));
  const when = subscriptions.map(({ criteria, interactions }) => {
    return `on ${interactions.join(', ').replace(/, (\w+)$/, ' and $1')} of a ${typeOf(criteria)}`;
  });
  if (cron) {
    types.push('Bot');
    when.push('on its schedule');
  }
  const deletes = subscriptions.some(({ interactions }) => interactions.includes('delete'));
  const sorted = [...new Set(types.length > 0 ? types : [CALLED_WITH])].toSorted();
  return { types: sorted, deletes, when: when.join(', ') || 'when it is called' };
}

function botSource(bot: BotConfig): string {
  const { types, deletes, when } = inputOf(bot);
  const input = types.join(' | ');
  const resource = deletes
    ? `// After a deletion, \`input\` holds the last version of what was deleted.
      const resource = 'resourceType' in event.input ? event.input : event.input.deletedResource;`
    : 'const resource = event.input;';
  return `// ${bot.name}: runs ${when}.
    import type { BotEvent, MedplumClient } from '@medplum/core';
    import type { ${types.join(', ')} } from '@medplum/fhirtypes';

    /**
     * Runs ${when}.
     *
     * @param _medplum - Client for the project, with the rights of this bot.
     * @param event - What happened.
     * @returns What it did. Return objects, never text, and log nothing that says who a patient is.
     */
    export async function handler(
      _medplum: MedplumClient,
      event: BotEvent<${deletes ? `${input} | { deletedResource?: ${input} }` : input}>,
    ): Promise<{ handled: string }> {
      ${resource}
      return { handled: \`\${resource${deletes ? '?' : ''}.resourceType}/\${resource${deletes ? '?' : ''}.id}\` };
    }\n`;
}

function testSource(bot: BotConfig): string {
  const results = occasions(bot).map(({ file, event }) => {
    const input = event.input as { resourceType?: string; deletedResource?: { resourceType: string } };
    return [file, `${input.resourceType ?? input.deletedResource?.resourceType}/${ID}`];
  });
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

await main(async () => {
  const options = { on: { type: 'string', multiple: true }, cron: { type: 'string' } } as const;
  const { values, positionals } = readArgs({ options, allowPositionals: true });
  const [name, ...more] = positionals;
  if (!name || more.length > 0) {
    throw new UserError('Say one name: npm run new:bot -- <name> [--on Patient:create,update] [--cron "*/15 * * * *"]');
  }
  const { bots } = loadConfig();
  if (bots.some((bot) => bot.name === name || bot.previousNames.includes(name))) {
    throw new UserError(`There is or was a bot called "${name}": choose another name.`);
  }
  const subscriptions = values.on?.map((on) => {
    const [criteria, interactions] = on.split(/:(?=[a-z,]*$)/);
    return { criteria, ...(interactions === undefined ? {} : { interactions: interactions.split(',') }) };
  });
  const types = new Set(subscriptions?.map(({ criteria }) => criteria!.split('?')[0]));
  const accessPolicy = [...types].map((resourceType) => ({ resourceType, readonly: true }));
  const entry = {
    name,
    source: `src/bots/${name}.ts`,
    dist: `dist/bots/${name}.js`,
    ...(bots[0]?.runtimeVersion ? { runtimeVersion: bots[0].runtimeVersion } : {}),
    ...(values.cron === undefined ? {} : { cron: values.cron }),
    ...(subscriptions ? { subscriptions, accessPolicy } : {}),
  };
  const raw = JSON.parse(readFileSync(CONFIG_FILE, 'utf8')) as { bots: object[] };
  raw.bots.push(entry);
  const bot = parseConfig(JSON.stringify(raw)).bots.at(-1)!;

  const files = new Map([
    [bot.source, botSource(bot)],
    [`tests/${name}.test.ts`, testSource(bot)],
    ...occasions(bot).map(({ file, event }) => [`tests/events/${file}`, JSON.stringify(event, null, 2)] as const),
  ]);
  const taken = [...files.keys()].find((file) => existsSync(file));
  if (taken) throw new UserError(`${taken} is there already: choose another name, or move it away.`);
  files.set(CONFIG_FILE, JSON.stringify(raw, null, 2));
  for (const [file, text] of files) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, await format(text, { ...(await resolveConfig(file)), filepath: file }));
    console.log(`  ${file}`);
  }
  console.log(`\n${bold(`${name} is there.`)} Next: write what it does, then npm run build && npm test`);
});
