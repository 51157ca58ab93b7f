// Bots to start from: each folder of templates/ is one, written as the bot `my-bot`.
import { readFileSync, readdirSync } from 'node:fs';
import { suggest } from '../terminal/suggest.ts';
import { UserError } from '../terminal/user-error.ts';
import type { NewBot } from './new-bot-files.ts';

const FOLDER = new URL('./templates/', import.meta.url);
/** The name that a template has in place of its bot's. */
const PLACEHOLDER = /\bmy-bot\b/g;

export interface Template {
  name: string;
  description: string;
  /** Members of its entry in medplum.config.json. */
  entry: Record<string, unknown>;
}

/** @returns all templates, by name */
export function listTemplates(): Template[] {
  return readdirSync(FOLDER)
    .toSorted()
    .map((name) => {
      const text = readTemplateFile(name, 'template.json');
      return { name, ...(JSON.parse(text) as Omit<Template, 'name'>) };
    });
}

/**
 * @param template - its name
 * @param bot - the name of the new bot
 * @throws UserError if there is no such template
 */
export function botFromTemplate(template: string, bot: string): NewBot {
  const templates = listTemplates();
  const found = templates.find(({ name }) => name === template);
  if (!found) {
    const names = templates.map(({ name }) => name);
    const hint = suggest(template, names) || ` There are: ${names.join(', ')}.`;
    throw new UserError(`There is no template "${template}".${hint}`);
  }
  const read = (file: string): string =>
    readTemplateFile(template, file).replaceAll(PLACEHOLDER, bot);
  return {
    entry: found.entry,
    files: {
      [`src/bots/${bot}.ts`]: read('bot.ts'),
      [`tests/${bot}.test.ts`]: read('test.ts'),
      [`tests/events/${bot}.json`]: read('event.json'),
    },
    summary: `${bot} ${found.description}.`,
  };
}

function readTemplateFile(template: string, file: string): string {
  return readFileSync(new URL(`${template}/${file}`, FOLDER), 'utf8');
}
