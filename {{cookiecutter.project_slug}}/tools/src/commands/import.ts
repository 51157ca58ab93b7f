// `npm run import -- <name or id>`: adopts a bot that exists on the server. What it runs stays as
// it is.
import { Command } from 'commander';
import { existsSync, readFileSync } from 'node:fs';
import { CONFIG_FILE, loadConfig, parseConfig } from '../config/config.ts';
import { commandFor, readEnvironment } from '../config/environment.ts';
import { readActual } from '../deploy/actual.ts';
import { confirm } from '../deploy/confirm.ts';
import { keyOf } from '../deploy/identity.ts';
import { configEntry, findBotToImport, readStoredSource, sourceFile } from '../deploy/import.ts';
import type { StoredSource } from '../deploy/import.ts';
import { connect } from '../deploy/server.ts';
import { patch } from '../deploy/write.ts';
import { replaceFile } from '../terminal/replace-file.ts';

interface ImportOptions {
  env?: string;
  yes?: boolean;
}

export const command = new Command('import')
  .description(
    'Take over a bot that exists on the server: its entry in medplum.config.json ' +
      'and its identifier',
  )
  .argument('<bot>', 'its name or id')
  .option('--env <name>', 'the environment whose .env.<name> is read (default: local)')
  .option('--yes', 'do not ask before writing')
  .addHelpText('after', '\nExample: npm run import -- "My Bot" --env staging')
  .action(importBot);

async function importBot(wanted: string, options: ImportOptions): Promise<void> {
  const { identifierSystem: system, bots: known } = loadConfig();
  const environment = readEnvironment(options.env);
  const server = await connect(environment);
  const found = findBotToImport(await readActual(server), system, environment.name, wanted);
  const { bot, name } = found;
  const isNew = !known.some((entry) => entry.name === name);
  const config = JSON.parse(readFileSync(CONFIG_FILE, 'utf8')) as { bots: object[] };
  config.bots.push(configEntry(found));
  const text = JSON.stringify(config, null, 2);
  if (isNew) {
    parseConfig(text);
  }
  const key = keyOf(environment.name, name);
  await confirm(options, server, `give Bot/${bot.id} the identifier ${key}`);
  if (isNew) {
    await writeFormatted(CONFIG_FILE, text);
  }
  if (!found.isOwn) {
    const identifier = [...(bot.identifier ?? []), { system, value: key }];
    await patch(server, bot, { identifier });
  }
  const entry = isNew ? `with ${found.subscriptions.length} subscriptions` : 'as it is';
  console.log(`Bot/${bot.id} is ${key} from now on, ${entry} in ${CONFIG_FILE}.`);
  const file = sourceFile(name);
  if (!existsSync(file)) {
    writeSource(file, await readStoredSource(server, bot));
  }
  const plan = commandFor(environment.name, 'plan');
  console.log(`Its code was not changed. Next: npm run build && ${plan}`);
}

async function writeFormatted(path: string, text: string): Promise<void> {
  const { format, resolveConfig } = await import('prettier');
  const style = { ...(await resolveConfig(path)), filepath: path };
  replaceFile(path, await format(text, style));
}

function writeSource(file: string, source: StoredSource): void {
  switch (source.type) {
    case 'missing':
      console.log(`Its source is not on the server: write ${file}.`);
      break;
    case 'placeholder':
      console.log(
        'The server has only the source that Medplum gives a new bot, ' +
          `not that of the code that runs: write ${file}.`,
      );
      break;
    case 'unencrypted':
      console.log(
        'The server names an address of its source that begins with http. It was not read, ' +
          `as it could be changed on the way: write ${file}.`,
      );
      break;
    case 'source':
      replaceFile(file, source.text);
      console.log(
        `${file} was copied from the server. Check that it is the source of the code that runs.`,
      );
  }
}
