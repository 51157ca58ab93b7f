// `npm run dev`: both local servers, all bots deployed, and each again as soon as its bundle changes.
import { existsSync, globSync, readFileSync, watch } from 'node:fs';
import { Command } from 'commander';
import { bold, dim, green, red, yellow } from '../terminal/output.ts';
import { CONFIG_FILE } from '../config/config.ts';
import { deploy } from '../deploy/deploy.ts';
import type { Run } from '../medplum/bot-execution.ts';
import { addServerOptions, describe, startServers, useLocalCredentials } from '../local-servers.ts';
import type { ServerOptions } from '../local-servers.ts';
import { causeOf, readableLog } from '../page/page.ts';

/** Editors write a file in several steps: how long nothing has to happen, in milliseconds. */
const SETTLE = 20;

/**
 * Bundles all bots in one go, which takes esbuild some milliseconds, and deploys those whose code or settings changed.
 *
 * @returns whether it worked; if not, the servers keep what they had
 */
export async function update(): Promise<boolean> {
  const start = performance.now();
  try {
    const { bundle } = (await import('../../../esbuild-script.mjs')) as {
      bundle(): Promise<unknown>;
    };
    await bundle();
    const lines: string[] = [];
    const { changed, failed } = await deploy({ yes: true, log: (line) => lines.push(line) });
    const time = dim(`${Math.round(performance.now() - start)} ms`);
    const reasonOf = (name: string): string =>
      lines.find((line) => line.includes(`${name} `))?.split(/\s{2,}/)[1] ?? '';
    for (const name of changed)
      console.log(`${green('deployed')} ${bold(name)} ${reasonOf(name)} ${time}`);
    for (const { name, message } of failed)
      console.error(`${red('failed')} ${bold(name)} ${message}`);
    if (changed.length + failed.length === 0) console.log(dim(`no bundle changed ${time}`));
    return failed.length === 0;
  } catch (error) {
    console.error(withSourceLines((error as Error).message));
    console.error(yellow('The last good version keeps running.'));
    return false;
  }
}

/** Puts the line of the source below each `file:line:column: message`. */
function withSourceLines(message: string): string {
  const shown = message.split('\n').map((text) => {
    const [, file = '', line = '', column = ''] = /^(\S+?):(\d+):(\d+): /.exec(text) ?? [];
    if (!file) return red(text);
    const source = readFileSync(file, 'utf8').split('\n')[Number(line) - 1] ?? '';
    const margin = `  ${line} | `;
    return `${red(text)}\n${dim(margin)}${source}\n${' '.repeat(margin.length + Number(column) - 1)}${red('^')}`;
  });
  return shown.join('\n');
}

function tell(run: Run): void {
  const { bot, milliseconds, success } = run;
  console.log(
    `${success ? green('ran') : red('threw')} ${bold(bot.name ?? '')} ${causeOf(run)} ${dim(`${milliseconds} ms`)}`,
  );
  const log = readableLog(run).replaceAll(/\n {4}at .*(evalmachine|node:|tools\/local).*/g, '');
  if (log) console.log(log.replaceAll(/^/gm, '  '));
}

/** Calls back when files have settled after a change, never twice at once. */
function watchSources(changed: () => Promise<unknown>): void {
  let timer: NodeJS.Timeout | undefined;
  let work = Promise.resolve<unknown>(undefined);
  // Folders, one by one: a watched file is lost when an editor puts a new one in its place, also below `recursive`.
  const folders = new Set<string>();
  const watchFolders = (): void => {
    for (const folder of [
      'src',
      ...globSync('src/**/').map((path) => path.replace(/[\\/]$/, '')),
    ]) {
      if (folders.has(folder) || !existsSync(folder)) continue;
      folders.add(folder);
      watch(folder, later).on('error', () => folders.delete(folder));
    }
  };
  const later = (): void => {
    watchFolders();
    clearTimeout(timer);
    timer = setTimeout(() => void (work = work.then(changed)), SETTLE);
  };
  watchFolders();
  watch('.', (_event, file) => file === CONFIG_FILE && later());
}

export const command = addServerOptions(new Command('dev'))
  .description(
    'Start local servers, deploy all bots, and deploy each again when its source changes',
  )
  .addHelpText('after', '\nExample: npm run dev')
  .action(async (options: ServerOptions) => {
    const servers = await startServers(options);
    useLocalCredentials(servers.medplum.baseUrl);
    console.log(`${describe(servers)}\n`);
    servers.medplum.events.on('run', tell);
    await update();
    watchSources(update);
    console.log(dim('Watching src/ and medplum.config.json; end with Ctrl+C.'));
  });
