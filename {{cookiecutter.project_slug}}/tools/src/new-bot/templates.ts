// Bots to start from: each folder of templates/ is one, written as the bot `my-bot`.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { suggest } from '../terminal/suggest.ts';
import { UserError } from '../terminal/user-error.ts';
import type { NewBot } from './new-bot-files.ts';

const FOLDER = new URL('./templates/', import.meta.url);
/** What a template has in place of the name of its bot, and of identifierSystem. */
const PLACEHOLDER = /\bmy-bot\b/g;
const SYSTEM_PLACEHOLDER = /\bidentifier-system\b/g;

export interface Template {
  name: string;
  description: string;
  /** Members of its entry in medplum.config.json. */
  entry: Record<string, unknown>;
}

/** What the files of a bot depend on. */
export interface Repository {
  identifierSystem: string;
  /** The folder of other FHIR resources. */
  resources: string;
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
 * @param repository - that it is for
 * @throws UserError if there is no such template
 */
export function botFromTemplate(template: string, bot: string, repository: Repository): NewBot {
  const templates = listTemplates();
  const found = templates.find(({ name }) => name === template);
  if (!found) {
    const names = templates.map(({ name }) => name);
    const hint = suggest(template, names) || ` There are: ${names.join(', ')}.`;
    throw new UserError(`There is no template "${template}".${hint}`);
  }
  const read = (file: string): string =>
    readTemplateFile(template, file)
      .replaceAll(PLACEHOLDER, bot)
      .replaceAll(SYSTEM_PLACEHOLDER, repository.identifierSystem)
      .replaceAll("'resources/", `'${repository.resources}/`);
  const files: Record<string, string> = {
    [`src/bots/${bot}.ts`]: read('bot.ts'),
    [`tests/${bot}.test.ts`]: read('test.ts'),
    [`tests/events/${bot}.json`]: read('event.json'),
  };
  if (existsSync(new URL(`${template}/resource.json`, FOLDER))) {
    files[`${repository.resources}/${bot}.json`] = read('resource.json');
  }
  return {
    entry: found.entry,
    files,
    summary: `${bot} ${found.description}.`,
  };
}

function readTemplateFile(template: string, file: string): string {
  return readFileSync(new URL(`${template}/${file}`, FOLDER), 'utf8');
}
