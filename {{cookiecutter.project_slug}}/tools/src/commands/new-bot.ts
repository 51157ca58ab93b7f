// `npm run new:bot -- <name>`: writes a bot, its test, sample events, and its entry in
// medplum.config.json.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Command } from 'commander';
import { format, resolveConfig } from 'prettier';
import { appendBots } from '../config/append-bots.ts';
import { CONFIG_FILE, loadConfig, parseConfig } from '../config/config.ts';
import type { Config } from '../config/config.ts';
import type { NewBot } from '../new-bot/new-bot-files.ts';
import { plainBot, plainEntry } from '../new-bot/plain-bot.ts';
import { botFromTemplate, listTemplates } from '../new-bot/templates.ts';
import { bold, table } from '../terminal/output.ts';
import { UserError } from '../terminal/user-error.ts';

/** Windows keeps these for devices. */
const RESERVED = /^(con|prn|aux|nul|(com|lpt)\d)$/i;
const MAX_LENGTH = 60;

interface NewBotOptions {
  on?: string;
  cron?: string;
  template?: string;
  list?: boolean;
}

export const command = new Command('new-bot')
  .description(
    'Write a new bot: its source, its test, sample events, and its entry in medplum.config.json',
  )
  .argument('[name]', 'letters, digits and dashes')
  .option('--on <criteria>', 'run on changes, for example Patient:create,update')
  .option('--cron <schedule>', 'run on a schedule, for example "*/15 * * * *"')
  .option('--template <name>', 'start from a working bot of this kind; --list shows them')
  .option('--list', 'show the templates')
  .addHelpText(
    'after',
    '\nExample: npm run new:bot -- task-reminder --on Task:create,update\n' +
      'Example: npm run new:bot -- lab-webhook --template webhook',
  )
  .action(newBot);

async function newBot(name: string | undefined, options: NewBotOptions): Promise<void> {
  if (options.list) {
    const rows = listTemplates().map((template) => [template.name, template.description]);
    console.log(table(['template', 'what the bot does'], rows));
    return;
  }
  if (name === undefined) {
    throw new UserError('Give the new bot a name: npm run new:bot -- <name>');
  }
  const repository = loadConfig();
  checkName(name, repository.bots);
  const { config, files, summary } = describeBot(name, repository, options);
  const [taken] = Object.keys(files).filter((file) => existsSync(file));
  if (taken !== undefined) {
    throw new UserError(`${taken} is there already: choose another name, or move it away.`);
  }
  for (const [file, text] of Object.entries({ ...files, [CONFIG_FILE]: config })) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, await format(text, { ...(await resolveConfig(file)), filepath: file }));
    console.log(`  ${file}`);
  }
  // When it runs: npm may have taken --on for itself without a trace, if its two dashes were left
  // out.
  console.log(`\n${bold(summary)} Next: write what it does, then npm run build && npm test`);
}

function checkName(name: string, bots: readonly { name: string; previousNames: string[] }[]): void {
  if (!/^[A-Za-z0-9]+([-_][A-Za-z0-9]+)*$/.test(name)) {
    throw new UserError(
      `"${name}" cannot be the name of a bot: use letters, digits, single dashes ` +
        'and underscores, like "task-reminder".',
    );
  }
  const lower = name.toLowerCase();
  const names = bots.flatMap((bot) => [bot.name, ...bot.previousNames]);
  if (names.some((other) => other.toLowerCase() === lower)) {
    throw new UserError(`There is or was a bot called "${name}": choose another name.`);
  }
  if (name.length > MAX_LENGTH || RESERVED.test(name)) {
    throw new UserError(
      `"${name}" cannot be a file's name on every system: choose another, ` +
        `of at most ${MAX_LENGTH} letters.`,
    );
  }
}

/** What is to be written: the whole text of medplum.config.json, and the files of the bot. */
function describeBot(
  name: string,
  repository: Config,
  { on, cron, template }: NewBotOptions,
): Omit<NewBot, 'entry'> & { config: string } {
  if (template !== undefined && (on !== undefined || cron !== undefined)) {
    throw new UserError(
      'A template brings its own --on and --cron: change them in medplum.config.json.',
    );
  }
  const fromTemplate =
    template === undefined ? undefined : botFromTemplate(template, name, repository);
  const entry = {
    name,
    source: `src/bots/${name}.ts`,
    dist: `dist/bots/${name}.js`,
    runtimeVersion: repository.bots[0]?.runtimeVersion,
    ...(fromTemplate?.entry ?? plainEntry(on, cron)),
  };
  const config = appendBots(readFileSync(CONFIG_FILE, 'utf8'), [entry]);
  const bot = parseConfig(config).bots.at(-1)!;
  return { ...(fromTemplate ?? plainBot(bot)), config };
}
