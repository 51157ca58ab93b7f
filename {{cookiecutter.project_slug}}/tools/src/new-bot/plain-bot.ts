// The code of a new bot without a template: it returns what it was given, for the criteria and the
// schedule of the command line.
import type { BotConfig } from '../config/config.ts';
import type { INTERACTIONS } from '../config/subscription.ts';
import type { NewBot } from './new-bot-files.ts';

const ID = '00000000-0000-4000-8000-000000000001';
const CONTENT_TYPE = 'application/fhir+json';

interface SampleEvent {
  /** In tests/events. */
  file: string;
  resourceType: string;
  event: object;
}

/**
 * The members of its entry in medplum.config.json.
 *
 * @param on - `Patient:create,update`
 * @param cron - `0 3 * * *`
 */
export function plainEntry(on: string | undefined, cron: string | undefined): NewBot['entry'] {
  const [criteria, interactions] = on?.split(/:(?=[a-z,]*$)/) ?? [];
  const type = criteria?.split('?')[0] ?? (cron === undefined ? 'Patient' : 'Bot');
  return {
    ...(cron !== undefined && { cron }),
    ...(criteria !== undefined && {
      subscriptions: [
        { criteria, ...(interactions !== undefined && { interactions: interactions.split(',') }) },
      ],
    }),
    accessPolicy: [{ resourceType: type, readonly: true }],
  };
}

/**
 * @param bot - its entry, as it was read
 * @returns its source, its test and its sample events
 */
export function plainBot(bot: BotConfig): Omit<NewBot, 'entry'> {
  const events = sampleEvents(bot);
  const files: Record<string, string> = {
    [bot.source]: sourceOf(bot),
    [`tests/${bot.name}.test.ts`]: testOf(bot, events),
  };
  for (const { file, event } of events) {
    files[`tests/events/${file}`] = JSON.stringify(event);
  }
  return { files, summary: summaryOf(bot) };
}

function summaryOf({ name, subscriptions: [subscription], cron }: BotConfig): string {
  const type = subscription?.criteria.split('?')[0] ?? '';
  const article = /^[AEIOU]/.test(type) ? 'an' : 'a';
  const occasions = [
    ...(subscription ? [`on ${subscription.interactions.join(', ')} of ${article} ${type}`] : []),
    ...(cron === undefined ? [] : ['on its schedule']),
  ];
  return `${name}: runs ${occasions.join(' and ') || 'when it is called'}.`;
}

/**
 * The resource types of the bot's input: of its subscriptions; a schedule gives it its own Bot; if
 * it is only called, the input may be anything, and the examples have a Patient.
 */
function inputTypes({ cron, subscriptions }: BotConfig): string[] {
  const types = subscriptions.map(({ criteria }) => criteria.split('?')[0]!);
  if (cron !== undefined) {
    types.push('Bot');
  }
  return types.length > 0 ? types : ['Patient'];
}

/** Events as the server sends them. */
function sampleEvents(bot: BotConfig): SampleEvent[] {
  const [type] = inputTypes(bot) as [string];
  const heard = bot.subscriptions.flatMap(({ interactions }) => interactions);
  const events = heard.map((interaction) => ({
    file: `${bot.name}-${interaction}.json`,
    resourceType: type,
    event: subscriptionEvent(interaction, type),
  }));
  if (bot.cron !== undefined) {
    const input = { resourceType: 'Bot', id: ID, name: bot.name, cronString: bot.cron };
    const event = { input, contentType: CONTENT_TYPE, headers: {} };
    return [...events, { file: `${bot.name}-cron.json`, resourceType: 'Bot', event }];
  }
  if (events.length === 0) {
    const input = { resourceType: type, id: ID };
    const event = { input, contentType: CONTENT_TYPE, headers: {} };
    return [{ file: `${bot.name}-call.json`, resourceType: type, event }];
  }
  return events;
}

function subscriptionEvent(interaction: (typeof INTERACTIONS)[number], type: string): object {
  const headers = { 'X-Medplum-Subscription': ID, 'X-Medplum-Interaction': interaction };
  const resource = { resourceType: type, id: ID };
  if (interaction === 'delete') {
    return {
      input: { deletedResource: resource },
      contentType: CONTENT_TYPE,
      headers: { ...headers, 'X-Medplum-Deleted-Resource': `${type}/${ID}` },
    };
  }
  return { input: resource, contentType: CONTENT_TYPE, headers };
}

function sourceOf(bot: BotConfig): string {
  const types = inputTypes(bot);
  const hearsDeletes = bot.subscriptions[0]?.interactions.includes('delete') === true;
  const inputs = hearsDeletes ? [...types, `{ deletedResource?: ${types[0]} }`] : types;
  const resource = hearsDeletes
    ? "'resourceType' in event.input ? event.input : event.input.deletedResource"
    : 'event.input';
  const access = hearsDeletes ? 'resource?' : 'resource';
  const afterDeletion = hearsDeletes ? '; after a deletion, `input` holds the last version' : '';
  return `// ${summaryOf(bot)}
    import type { BotEvent, MedplumClient } from '@medplum/core';
    import type { ${types.toSorted().join(', ')} } from '@medplum/fhirtypes';

    /**
     * @param _medplum - client for the project, with the rights of this bot
     * @param event - what happened${afterDeletion}
     * @returns What it did. Return objects, never text, and log nothing that says who a patient is.
     */
    export async function handler(
      _medplum: MedplumClient, event: BotEvent<${inputs.join(' | ')}>
    ): Promise<{ handled: string }> {
      const resource = ${resource};
      return { handled: \`\${${access}.resourceType}/\${${access}.id}\` };
    }\n`;
}

function testOf(bot: BotConfig, events: readonly SampleEvent[]): string {
  const cases = events.map(({ file, resourceType }) => [file, `${resourceType}/${ID}`]);
  return `// ${bot.name}, run on its sample events by a local Medplum.
    import { readFileSync } from 'node:fs';
    import { afterAll, beforeAll, expect, test } from 'vitest';
    import { localMedplum } from 'medplum-bot-tools/testing';
    import type { LocalMedplum } from 'medplum-bot-tools/testing';

    let medplum: LocalMedplum;
    beforeAll(async () => {
      medplum = await localMedplum({ bots: ['${bot.name}'] });
    });
    afterAll(() => medplum.stop());

    test.each(${JSON.stringify(cases)})('%s', async (file, handled) => {
      const { input, contentType, headers } = JSON.parse(
        readFileSync(new URL(\`events/\${file}\`, import.meta.url), 'utf8'),
      );
      const run = await medplum.execute('${bot.name}', input, { contentType, headers });
      expect(run).toMatchObject({ success: true, result: { handled } });
    });\n`;
}
